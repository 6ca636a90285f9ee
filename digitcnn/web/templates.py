"""Render the HTML templates. Every value is escaped unless it is ``Markup`` already.

One is a template of Gradio's: see ``source``. What is rendered here never becomes one, since Gradio
would evaluate ``${}`` and ``{{}}`` in it.

The filter ``explained`` marks the terms in a text that ``web.terms`` explains.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from digitcnn.web.terms import explain


@cache
def environment() -> Environment:
    """Return the environment that all templates share."""
    made = Environment(
        loader=PackageLoader("digitcnn.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["explained"] = explain
    return made


def render(name: str, /, **context: Any) -> Markup:
    """Render ``templates/<name>`` with ``context``.

    Raises ``jinja2.UndefinedError`` where the template uses a value that ``context`` lacks.
    """
    return Markup(environment().get_template(name).render(context))


def source(name: str) -> str:
    """Return ``templates/<name>`` unrendered, for a component's ``html_template``."""
    return (Path(__file__).parent / "templates" / name).read_text("utf-8")
