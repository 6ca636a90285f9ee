"""The bundler: what it joins, what it refuses, and what no sheet may hold."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from digitcnn.web import bundle


def write(folder: Path, **sources: str) -> None:
    for name, source in sources.items():
        (folder / f"{name}.js").write_text(source, "utf-8")


@pytest.mark.skipif(shutil.which("node") is None, reason="node is a development tool")
def test_modules_run_in_the_order_of_their_imports_and_keep_their_names_apart(
    tmp_path: Path,
) -> None:
    write(
        tmp_path,
        main='import { twice } from "./math.js";\nimport { say } from "./say.js";\n'
        "say(twice(21));\n",
        say='import { twice } from "./math.js";\nconst own = 1;\n'
        "export function say(value) { console.log(JSON.stringify([value, own, twice(own)])); }\n",
        math="const own = 2;\nexport const twice = (value) => own * value;\n",
    )
    script = bundle.script("main.js", tmp_path)
    ran = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == [42, 1, 2]


@pytest.mark.parametrize(
    ("main", "other", "reason"),
    [
        ('import { a } from "./other.js";\n', "const a = 1;\n", "does not export"),
        ('import { a } from "./other.js";\nexport const a = 1;\n', "export const a = 2;\n", "once"),
        ('import "./other.js";\n', 'import "./main.js";\n', "import each other"),
        ('import a from "./other.js";\n', "", "does not know"),
        ("export default 1;\n", "", "does not know"),
        ("export let a = 1;\n", "", "does not know"),
        ('const a = "</script>";\n', "", "end tag"),
    ],
)
def test_modules_that_cannot_be_joined_are_refused(
    tmp_path: Path, main: str, other: str, reason: str
) -> None:
    write(tmp_path, main=main, other=other)
    with pytest.raises(ValueError, match=reason):
        bundle.script("main.js", tmp_path)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is a development tool")
def test_a_handler_gets_its_arguments_before_the_inputs_of_the_event(tmp_path: Path) -> None:
    write(
        tmp_path,
        handlers="/** A comment. */\nexport function first(a, b) {\n  return [b, a];\n}\n\n"
        "export function second() {\n  return 1;\n}\n",
    )
    given = bundle.handler("first", 'a "name"', folder=tmp_path)
    calls = f"[({given})(2), ({bundle.handler('second', folder=tmp_path)})()]"
    script = f"console.log(JSON.stringify({calls}))"
    ran = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == [[2, 'a "name"'], 1]
    with pytest.raises(ValueError, match="no function third"):
        bundle.handler("third", folder=tmp_path)


def test_no_style_sheet_contains_gradios_placeholders() -> None:
    for sheet in (bundle.FOLDER / "styles").glob("*.css"):
        assert not re.search(r"\$\{|\{\{", sheet.read_text("utf-8")), sheet.name
