"""What the README says to type works, and what it names is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from running_app import ROOT

from digitcnn import cli
from digitcnn.analysis import figures

README = (ROOT / "README.md").read_text("utf-8")
# Left to --help.
UNNAMED = {"--output-dir", "--checkpoint-dir", "--device"}

COMMANDS = sorted(
    set(re.findall(r"^python -m digitcnn .+$|(?<=`)python -m digitcnn [^`]+", README, re.M))
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood(command: str) -> None:
    arguments = shlex.split(command)[3:]
    if arguments == ["figures"]:
        arguments += ["--checkpoint", "some.pt"]  # named in passing
    args = cli.parser().parse_args(arguments)
    assert callable(args.command)


def test_every_option_of_the_app_is_one() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    options = set(re.findall(r"--[a-z-]+", done.stdout))
    typed = " ".join(re.findall(r"python app\.py[^`\n]*", README))
    assert set(re.findall(r"--[a-z-]+", typed)) <= options
    assert {"--host", "--share", "--root-path", "--auth-file", "--open"} <= options
    assert not {option for option in options if option not in README} - UNNAMED


def test_the_nine_figures_are_named_as_they_are() -> None:
    assert tuple(re.findall(r"^\d\. `(\d\d_\w+)`", README, re.M)) == figures.NAMES


def test_every_file_of_the_map_is_there() -> None:
    start = README.index("## The house")
    map_ = README[start : README.index("```", README.index("```", start) + 3)]
    names = re.findall(r"^( *)([\w.]+/?) +\S", map_, re.M)
    assert len(names) > 10
    for indent, name in names:
        folder = ROOT / "digitcnn" if indent else ROOT
        assert (folder / name).exists(), name


def test_the_space_runs_a_gradio_that_the_requirements_allow() -> None:
    found = re.search(r"sdk_version: ([\d.]+)", README)
    assert found is not None
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    gradio = next(Requirement(line) for line in lines if line.startswith("gradio"))
    assert gradio.specifier.contains(found[1])


def test_ci_runs_the_readmes_test_command_to_the_letter() -> None:
    command = re.search(r"^python3 -m venv .*pytest$", README, re.M)
    assert command is not None
    assert command[0] in Path(ROOT / ".ci" / "run").read_text().splitlines()
