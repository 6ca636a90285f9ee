"""What the documentation tells people to type works, and what it names exists."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from running_app import ROOT

from digitcnn import cli
from digitcnn.options import FIGURES

README = (ROOT / "README.md").read_text("utf-8")
PAGES = {
    str(page.relative_to(ROOT)): page.read_text("utf-8")
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"))
}
# Options that are left to --help.
UNDOCUMENTED = {"--output-dir", "--checkpoint-dir", "--device"}
COMMAND = r"^python -m digitcnn .+$|(?<=`)python -m digitcnn [^`]+"
COMMANDS = sorted({line for page in PAGES.values() for line in re.findall(COMMAND, page, re.M)})


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_commands_parse(command: str) -> None:
    arguments = shlex.split(command)[3:]
    if arguments == ["figures"]:
        arguments += ["--checkpoint", "some.pt"]  # mentioned in passing
    args = cli.parser().parse_args(arguments)
    assert importlib.util.find_spec(f"digitcnn.commands.{args.module}") is not None


def test_documented_options_of_the_app_exist() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    options = set(re.findall(r"--[a-z-]+", done.stdout))
    text = "\n".join(PAGES.values())
    typed = " ".join(re.findall(r"python app\.py[^`\n]*", text))
    assert set(re.findall(r"--[a-z-]+", typed)) <= options
    assert {"--host", "--share", "--root-path", "--auth-file", "--open"} <= options
    assert not {option for option in options if option not in text} - UNDOCUMENTED


def test_the_nine_figures_are_documented_by_name() -> None:
    reference = PAGES["docs/reference.md"]
    assert tuple(re.findall(r"^\d\. `(\d\d_\w+)`", reference, re.M)) == FIGURES


def test_the_project_layout_names_existing_paths() -> None:
    page = PAGES["CONTRIBUTING.md"]
    start = page.index("## Project layout")
    layout = page[start : page.index("```", page.index("```", start) + 3)]
    entries = re.findall(r"^( *)([\w.]+/?) +\S", layout, re.M)
    assert len(entries) > 10
    for indent, name in entries:
        folder = ROOT / "digitcnn" if indent else ROOT
        assert (folder / name).exists(), name


@pytest.mark.parametrize("name", sorted(PAGES))
def test_links_between_pages_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", PAGES[name]):
        assert (page.parent / target).exists(), target


def test_the_space_uses_an_allowed_gradio_version() -> None:
    version = re.search(r"sdk_version: ([\d.]+)", PAGES["docs/deploy.md"])
    assert version is not None
    assert requirement("gradio").specifier.contains(version[1])


def test_constraints_pin_every_requirement_to_an_allowed_version() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines():
        allowed = Requirement(line)
        assert allowed.specifier.contains(Version(pins[allowed.name])), line
    assert not [pin for pin in pins if pin.startswith(("nvidia", "triton", "cuda"))]
    assert not [version for version in pins.values() if "+" in version]


def test_ci_runs_the_documented_test_command_to_the_letter() -> None:
    command = re.search(r"^python3 -m venv .*pytest$", README, re.M)
    assert command is not None
    assert command[0] in Path(ROOT / ".ci" / "run").read_text().splitlines()


def requirement(name: str) -> Requirement:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return next(found for found in map(Requirement, lines) if found.name == name)
