"""Check an installed wheel: page and command line read a digit from an empty folder.

    PYTHON .ci/check_wheel.py

PYTHON belongs to the environment that the wheel is installed in. Fails, with what went wrong, when
a shipped model is not offered or anything in the installed package changed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from gradio_client import Client, handle_file
from PIL import Image, ImageDraw

SITE = Path(sysconfig.get_paths()["purelib"]) / "digitcnn"
SCRIPT = Path(sys.executable).with_name("digitcnn")
MODELS = ["digitcnn-hands", "digitcnn-mnist"]


def installed_files() -> dict[str, tuple[int, int]]:
    """Return size and time of change of all installed files, by path."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in SITE.rglob("*")
        if path.suffix != ".pyc"
    }


def draw_one(path: Path) -> None:
    """Write an image file that shows a 1."""
    image = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(image).line([(104, 30), (96, 170)], fill=0, width=16)
    image.save(path)


def command(*arguments: str) -> Any:
    """Run ``digitcnn`` with ``--json``; return its result."""
    done = subprocess.run(
        [SCRIPT, *arguments, "--json"], stdout=subprocess.PIPE, text=True, check=True, timeout=120
    )
    return json.loads(done.stdout)


def serve_and_ask() -> Any:
    """Start the page, ask its API for the models and for the digit, and end it."""
    with subprocess.Popen(
        [SCRIPT, "--device", "cpu"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            starting, line = (process.stdout.readline() for _ in range(2))
            assert line.startswith("digitcnn is running at "), starting + line
            client = Client(line.split()[-1], verbose=False)
            models = [model["name"] for model in client.predict(api_name="/models")]
            assert sorted(models) == MODELS, models
            return client.predict(handle_file("one.png"), "", api_name="/predict")
        finally:
            process.terminate()
            process.wait(30)


def main() -> None:
    """Run all checks."""
    before = installed_files()
    for model in MODELS:
        assert any(path.endswith(f"shipped/{model}.pt") for path in before), f"no {model}.pt"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        draw_one(Path("one.png"))
        for model in MODELS:
            by_command = command("predict", "--checkpoint", model, "one.png")["one.png"]
            assert by_command["digit"] == 1, by_command
        by_page = serve_and_ask()
        assert by_page["digit"] == 1, by_page
        assert any(row["name"] == "synthetic" for row in command("data", "list")["sets"])
        left = [path.name for path in Path().iterdir()]
        assert left == ["one.png"], left
        os.chdir(SITE)  # for the folder is deleted
    assert installed_files() == before, "the installed package was changed"
    print("The wheel serves and reads a digit from an empty folder.")


if __name__ == "__main__":
    main()
