"""The plan of the house: imports point one way, and only the page knows Gradio."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import digitcnn

HOUSE = Path(digitcnn.__file__).parent

# What each room may import besides itself, downstairs first.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "files": {"errors"},
    "heap": set(),
    "intervals": set(),
    "digits": {"errors", "files"},
    "network": {"errors", "files", "intervals", "digits"},
    "feedback": {"errors", "files", "intervals", "digits"},
    "analysis": {"errors", "files", "intervals", "digits", "network"},
    "training": {"errors", "files", "heap", "intervals", "digits", "network", "analysis"},
}
UPSTAIRS = {"workspace", "ui", "commands", "cli", "__main__", "__init__"}


def room_of(module: Path) -> str:
    return module.relative_to(HOUSE).parts[0].removesuffix(".py")


def imported(module: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


MODULES = sorted(HOUSE.rglob("*.py"))


def test_every_room_is_on_the_plan() -> None:
    assert {room_of(module) for module in MODULES} == set(MAY_IMPORT) | UPSTAIRS


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(HOUSE)))
def test_imports_point_one_way(module: Path) -> None:
    room = room_of(module)
    names = list(imported(module))
    rooms = {name.split(".")[1] for name in names if name.startswith("digitcnn.")}
    if room in MAY_IMPORT:
        # digitcnn itself holds the version and nothing else.
        assert rooms - {"__version__", room} <= MAY_IMPORT[room]
    if room == "ui":
        assert not rooms & {"commands", "cli"}
    if room in ("commands", "cli"):
        assert "ui" not in rooms
    if room != "ui":
        assert not [name for name in names if name.split(".")[0] == "gradio"]
