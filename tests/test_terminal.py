"""Output: characters that the terminal lacks, a reader that goes away, notices of libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run_python(code: str, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        encoding=encoding,
        timeout=60,
        check=False,
        cwd=ROOT,
        env=environment,
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_missing_characters_are_escaped(encoding: str) -> None:
    code = (
        "from digitcnn import terminal\n"
        "terminal.run(lambda: terminal.announce('手') or terminal.log('手') or 0)"
    )
    done = run_python(code, encoding)
    assert done.stdout == done.stderr == "\\u624b\n"


@pytest.mark.parametrize("arguments", [["data", "list"], ["--help"], ["train", "--help"]])
def test_a_closed_pipe_is_not_an_error(arguments: list[str], data_dir: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "digitcnn", *arguments],
            stdout=write_end,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
            cwd=ROOT,
            env={**os.environ, "DIGITCNN_DATA": str(data_dir)},
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


def test_matplotlib_keeps_quiet_about_its_font_cache() -> None:
    done = run_python(
        "import logging\n"
        "from digitcnn import terminal\n"
        "log = logging.getLogger('matplotlib.font_manager')\n"
        "terminal.run(lambda: log.warning('building the font cache') or 0)"
    )
    assert (done.returncode, done.stderr) == (0, "")
