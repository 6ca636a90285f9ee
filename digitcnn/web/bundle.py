"""Join the ES modules of ``scripts/`` into one classic script, and the sheets of ``styles/``.

An inline script cannot import: Gradio's ``head`` and a page opened from a file have no address to
import from. So each module becomes a function that returns its exports. The bundler accepts only
these forms: ``import { a, b } from "./name.js";``, ``import "./name.js";`` and ``export`` before a
declaration.

Gradio takes what its events run in the browser as text: ``handler`` and ``on_load`` return the
functions of ``handlers.js`` one by one.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent

_IMPORT = re.compile(r'^import (?:\{([^}]*)\} from )?"\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(
    r"^export (?=(?:const|class|function|async function) ([A-Za-z_$][\w$]*))", re.MULTILINE
)


@cache
def script(entry: str, folder: Path = FOLDER / "scripts") -> str:
    """Return one script with the module ``entry`` and all that it imports, dependencies first.

    Raises ValueError for a module that is not written in the forms above, for an import that its
    module does not export, for two exports of one name, and for modules that import each other.
    """
    exports: dict[str, list[str]] = {}
    parts: list[str] = []
    _add(folder / entry, exports, parts, ())
    text = '(() => {\n"use strict";\n' + "".join(parts) + "})();\n"
    if "</script" in text.lower():
        raise ValueError(f"{entry} holds the end tag of a script element.")
    return text


def handler(name: str, *arguments: object, folder: Path = FOLDER / "scripts") -> str:
    """Return a function of ``handlers.js`` as text, for the ``js=`` of an event of Gradio's.

    arguments: JSON values that it gets before the event's inputs. Raises ValueError for a function
    that is not there.
    """
    function = _function(name, folder)
    if not arguments:
        return function
    given = json.dumps(arguments)[1:-1]
    return f"(...inputs) => ({function})({given}, ...inputs)"


def on_load(name: str) -> str:
    """Return a call of a function of ``handlers.js``, for the ``js_on_load=`` of a ``gr.HTML``."""
    return f"({_function(name, FOLDER / 'scripts')})({{ element, trigger, props, watch }});"


@cache
def _function(name: str, folder: Path) -> str:
    source = (folder / "handlers.js").read_text("utf-8")
    found = re.search(rf"^export (function {name}\(.*?^}})$", source, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"handlers.js exports no function {name}.")
    return found.group(1)


def style(*names: str) -> str:
    """Return the sheets ``styles/<name>``, one after the other."""
    return "".join((FOLDER / "styles" / name).read_text("utf-8") for name in names)


def _add(
    module: Path, exports: dict[str, list[str]], parts: list[str], path: tuple[str, ...]
) -> None:
    """Append a module to ``parts`` after its imports. path: the modules that led to it."""
    name = module.name
    if name in path:
        raise ValueError(f"Modules import each other: {' -> '.join([*path, name])}.")
    if name in exports:
        return
    source = module.read_text("utf-8")
    for names, other in _IMPORT.findall(source):
        _add(module.with_name(other), exports, parts, (*path, name))
        for imported in filter(None, map(str.strip, names.split(","))):
            if imported not in exports[other]:
                raise ValueError(f"{name} imports {imported!r}, which {other} does not export.")
    own = _EXPORT.findall(source)
    if taken := {each for others in exports.values() for each in others} & set(own):
        raise ValueError(f"{name} exports {', '.join(sorted(taken))} once more.")
    exports[name] = own
    body = _EXPORT.sub("", _IMPORT.sub("", source))
    if left := re.search(r"^(?:import|export)\b.*", body, re.MULTILINE):
        raise ValueError(f"{name} has a line that the bundler does not know: {left.group()}")
    names_of = ", ".join(own)
    start, end = (f"const {{ {names_of} }} = ", f"return {{ {names_of} }};\n") if own else ("", "")
    parts.append(f"{start}(() => {{\n{body}{end}}})();\n")
