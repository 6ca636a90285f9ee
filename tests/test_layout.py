"""The layout of the package: imports point one way, and only the page imports Gradio."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import digitcnn

PACKAGE = Path(digitcnn.__file__).parent

# What each part may import besides itself, lowest layer first.
SHARED = {"errors", "files", "folders", "intervals", "options", "shared_cache"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "files": {"errors"},
    "process": set(),
    "folders": set(),
    "intervals": set(),
    "options": {"errors"},
    "shared_cache": set(),
    "terminal": set(),
    "web": set(),
    "digits": SHARED,
    "feedback": SHARED | {"digits"},
    "network": SHARED | {"web", "digits"},
    "analysis": SHARED | {"web", "digits", "network"},
    "training": SHARED | {"web", "process", "digits", "network", "analysis"},
    "experiments": SHARED | {"web", "digits", "network", "analysis", "training"},
    "workspace": SHARED | {"digits", "network", "analysis", "training", "experiments", "feedback"},
    "services": SHARED
    | {"web", "digits", "network", "analysis", "training", "experiments", "feedback", "workspace"},
}
# Parts of the top layer, which may import every lower one.
TOP = {"ui", "commands", "cli", "__main__", "__init__"}


def part_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(module: Path) -> Iterator[str]:
    """Every name that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from names_of(node)


def names_of(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    else:
        assert node.level == 0, f"relative import in line {node.lineno}"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_imported(module: Path) -> set[str]:
    """The parts of digitcnn that a file imports, without its own part and the version."""
    names = {name.split(".")[1] for name in imported_names(module) if name.startswith("digitcnn.")}
    return names - {"__version__", part_of(module)}


MODULES = sorted(PACKAGE.rglob("*.py"))


def test_every_part_has_a_place_in_the_layout() -> None:
    assert {part_of(module) for module in MODULES} == set(MAY_IMPORT) | TOP


def test_imports_point_one_way() -> None:
    forbidden = {"ui": {"commands", "cli"}, "commands": {"ui"}, "cli": {"ui"}}
    wrong = {}
    for module in MODULES:
        part = part_of(module)
        if part in MAY_IMPORT:
            extra = parts_imported(module) - MAY_IMPORT[part]
        else:
            extra = parts_imported(module) & forbidden.get(part, set())
        if extra:
            wrong[str(module.relative_to(PACKAGE))] = extra
    assert not wrong


def test_the_app_starts_without_matplotlib() -> None:
    """Only the modules of ``analysis.figures`` import the package of figures as they load."""
    figures = PACKAGE / "analysis" / "figures"
    importing = {
        str(module.relative_to(PACKAGE))
        for module in MODULES
        if figures not in module.parents
        for node in ast.parse(module.read_text("utf-8")).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        and any("analysis.figures" in name or "matplotlib" in name for name in names_of(node))
    }
    assert not importing


def test_only_the_page_imports_gradio() -> None:
    importing = {
        part_of(module)
        for module in MODULES
        for name in imported_names(module)
        if name.split(".")[0] == "gradio"
    }
    assert importing == {"ui"}
