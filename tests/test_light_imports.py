"""Help and ``data list`` answer at once: they import none of the libraries that take seconds."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sample_feedback import sample

from digitcnn.cli import main, parser
from digitcnn.feedback.file_format import count_labelled
from digitcnn.feedback.store import FeedbackStore

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "gradio", "matplotlib", "sqlalchemy"}

# Runs command lines in this process and prints which of the heavy libraries they imported.
PROBE = f"""
import importlib
import json
import sys
for arguments in json.loads(sys.argv[2]):
    try:
        status = importlib.import_module(sys.argv[1]).main(arguments)
    except SystemExit as leaving:
        status = leaving.code
    assert not status, status
    print("imported:", arguments, *sorted({HEAVY} & set(sys.modules)))
"""

COMMANDS = [
    "train",
    "evaluate",
    "compare",
    "stability",
    "figures",
    "predict",
    "experiment",
    "export",
    "data",
]


def heavy_imports(*lines: list[str], main: str = "digitcnn.cli") -> list[str]:
    """Return each command line after which a heavy library was there, and which."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, main, json.dumps(lines)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [line for line in done.stdout.splitlines() if line.startswith("imported: ")]
    assert len(found) == len(lines)
    return [line for line in found if not line.endswith("]")]


def test_every_command_is_listed_here() -> None:
    listed = re.findall(r"^    (\w+)(?: |$)", parser().format_help(), re.MULTILINE)
    assert listed == COMMANDS


def test_help_imports_nothing_heavy() -> None:
    commands = [[], *([name] for name in COMMANDS), ["data", "add"]]
    assert heavy_imports(*([*command, "--help"] for command in commands)) == []


def test_the_apps_help_imports_nothing_heavy() -> None:
    assert heavy_imports(["--help"], main="digitcnn.ui.launcher") == []


def test_data_list_imports_nothing_heavy(tmp_path: Path, data_dir: Path) -> None:
    folders = ["--data-dir", str(data_dir), "--output-dir", str(tmp_path)]
    assert heavy_imports(["data", "list", *folders]) == []


def test_data_list_counts_the_feedback_of_the_output_folder_without_heavy_imports(
    tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = FeedbackStore(tmp_path / "feedback.sqlite3")
    for sketch, digit in (("one", 3), ("two", 5), ("three", None)):
        store.record(sample(sketch_id=sketch, true_digit=digit))
    folders = ["--data-dir", str(data_dir), "--output-dir", str(tmp_path)]
    assert heavy_imports(["data", "list", *folders]) == []
    assert main(["data", "list", *folders]) == 0
    assert re.search(r"^feedback +test +2$", capsys.readouterr().out, re.MULTILINE)
    assert count_labelled(tmp_path / "feedback.sqlite3") == store.count_labelled() == 2


def test_a_file_that_is_not_feedback_is_left_to_the_store(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but as long as the header of one " * 9)
    with closing(sqlite3.connect(tmp_path / "foreign")) as foreign:
        foreign.execute("CREATE TABLE verdicts (true_digit)")
    assert count_labelled(tmp_path / "text") is None
    assert count_labelled(tmp_path / "foreign") is None
    assert count_labelled(tmp_path / "absent") == 0


@pytest.mark.long
def test_reading_a_checkpoint_and_distorting_images_need_only_pytorch() -> None:
    program = (
        "import sys, digitcnn.analysis.robustness\n"
        "from digitcnn.folders import SHIPPED_FILE\n"
        "from digitcnn.network.checkpoint import load\n"
        "load(SHIPPED_FILE)\n"
        "print({'torchvision', 'onnx', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.long
def test_the_probe_sees_heavy_imports(tmp_path: Path, data_dir: Path) -> None:
    add = ["data", "add", str(data_dir / "small"), "--name", "mine", "--data-dir", str(tmp_path)]
    (line,) = heavy_imports(add)
    assert "torch" in line
