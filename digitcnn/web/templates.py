"""Render the HTML templates. Every value is escaped unless it is ``Markup`` already."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@cache
def environment() -> Environment:
    """Return the environment that all templates share."""
    return Environment(
        loader=PackageLoader("digitcnn.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(name: str, /, **context: Any) -> Markup:
    """Render ``templates/<name>`` with ``context``.

    Raises ``jinja2.UndefinedError`` where the template uses a value that ``context`` lacks.
    """
    return Markup(environment().get_template(name).render(context))
