"""What is declared in requirements.txt is exactly what the package imports."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import digitcnn

PACKAGE = Path(digitcnn.__file__).parent
ROOT = PACKAGE.parent

# Declared as extras in pyproject.toml: a feature that lacks one of them says so.
EXTRAS = {"onnx", "onnxruntime", "psycopg"}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported_modules() -> dict[str, str]:
    """Top-level modules that are neither Python's nor ours, each with a file that imports it."""
    found: dict[str, str] = {}
    for path in (ROOT / "app.py", *sorted(PACKAGE.rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            for name in names:
                found.setdefault(name.partition(".")[0], str(path.relative_to(ROOT)))
    ours = {*sys.stdlib_module_names, "digitcnn", "app"}
    return {name: path for name, path in found.items() if name not in ours}


def declared() -> set[str]:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    return {normalised(re.split(r"[\[<>=!~; ]", line)[0]) for line in lines if line.strip()}


def test_declared_requirements_are_the_imported_ones() -> None:
    distributions = packages_distributions()
    imported = {
        normalised(distributions.get(module, [module])[0]): path
        for module, path in imported_modules().items()
        if module not in EXTRAS
    }
    undeclared = {name: path for name, path in imported.items() if name not in declared()}
    assert undeclared == {}, "declare them in requirements.txt"
    assert declared() - set(imported) == set(), "nothing imports them; remove them"
