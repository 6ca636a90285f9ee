"""The results of the Compare tab, step by step, and as one self-contained HTML page.

Updates name the page's components; the components themselves are not used here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import gradio as gr
from markupsafe import Markup

from digitcnn.analysis.comparison import Comparison, check_number
from digitcnn.analysis.events import Notify
from digitcnn.digits.names import joined
from digitcnn.errors import ConfigError, DigitSetError
from digitcnn.services.evaluation import compare_models
from digitcnn.ui import compare_view as view
from digitcnn.ui.background import status_update, updates_of
from digitcnn.ui.models import Models
from digitcnn.ui.parts import ViewUpdate, status_line
from digitcnn.ui.set_chooser import MOST_SETS
from digitcnn.ui.subject import Subject, names_in
from digitcnn.ui.wording import lettered
from digitcnn.web import bundle
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace


def comparison_subject(workspace: Workspace, models: Models, chosen: Any, sets: Any) -> Subject:
    """Check a page's choice of models and test sets, of any type.

    The models' names have the letters of their slots. Raises DigitCNNError for what cannot be
    compared.
    """
    keys, names = names_in(chosen), names_in(sets)
    check_number(len(keys))
    if not 1 <= len(names) <= MOST_SETS:
        raise DigitSetError(
            f"{len(names)} test sets are chosen; choose 1 to {MOST_SETS}.", field="digits"
        )
    subject = Subject.of(workspace, models, keys, names)
    return replace(subject, names=lettered(subject.names))


def comparison_steps(
    workspace: Workspace, models: Models, subject: Subject
) -> Iterator[ViewUpdate]:
    """Yield what the page shows from the press of the button to the end.

    Raises DigitCNNError for models or sets that are gone.
    """
    checkpoints = subject.checkpoints(models)
    digit_sets = [workspace.catalog.open(name, "test") for name in subject.sets]

    def work(notify: Notify) -> list[Comparison]:
        return [
            compare_models(
                checkpoints,
                digit_set,
                predict=workspace.predict,
                names=subject.names,
                notify=notify,
            )
            for digit_set in digit_sets
        ]

    comparisons = yield from updates_of(work, status_update)
    names = subject.names
    titles = joined([comparison.title for comparison in comparisons])
    yield {
        "status": status_line(f"Compared {len(names)} models on {titles} images."),
        **view.overview(comparisons, checkpoints, workspace.runs.digests()),
        "set": gr.Dropdown(subject.set_choices, value=subject.sets[-1]),
        "first": gr.Dropdown(list(names), value=names[0]),
        "second": gr.Dropdown(list(names), value=names[1]),
        "images": view.differences(comparisons[-1], digit_sets[-1], 0, 1),
        "digit_tables": view.digit_tables(comparisons[-1], 0, 1),
    }


def differences_of(
    workspace: Workspace, models: Models, shown: Subject, name: Any, a: Any, b: Any
) -> tuple[Markup, Markup]:
    """Render the images on which two of the compared models differ, and tables per digit.

    Raises DigitCNNError for models or sets that are not shown or gone.
    """
    checkpoints, digit_set = shown.open(workspace, models, name)
    if a not in shown.names or b not in shown.names:
        raise ConfigError("These models were not compared; choose models and press Compare.")
    if a == b:
        raise ConfigError(f"Both models are {a}; choose two different models.", field="second")
    comparison = compare_models(
        checkpoints, digit_set, predict=workspace.predict, names=shown.names
    )
    places = shown.names.index(a), shown.names.index(b)
    return (
        view.differences(comparison, digit_set, *places),
        view.digit_tables(comparison, *places),
    )


STYLES = (
    "charts.css",
    "report.css",
    "scroll_shadow.css",
    "tables.css",
    "tiles.css",
    "verdicts.css",
    "comparison_page.css",
)


def export_page(
    workspace: Workspace, models: Models, subject: Subject, measured: Mapping[str, str]
) -> str:
    """Return the page of the comparison that a page shows.

    measured: robustness figure and table as the app rendered them, with the ``stamp`` of what they
    are of; empty before they are measured. Raises DigitCNNError where there are no results yet, or
    a model or set is gone.
    """
    if not subject.names:
        raise ConfigError("There is no comparison yet; press Compare first.")
    checkpoints = subject.checkpoints(models)
    digit_sets = [workspace.catalog.open(name, "test") for name in subject.sets]
    comparisons = [
        compare_models(checkpoints, digit_set, predict=workspace.predict, names=subject.names)
        for digit_set in digit_sets
    ]
    last, names = comparisons[-1], subject.names
    measured = measured if measured.get("stamp") == subject.stamp else {}
    return str(
        render(
            "compare/page.html",
            style=Markup(bundle.style(*STYLES)),
            title=", ".join(names),
            created=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
            **view.overview(comparisons, checkpoints, workspace.runs.digests()),
            differences=[
                view.differences(last, digit_sets[-1], pair.a, pair.b) for pair in last.pairs
            ],
            robustness=[
                Markup(measured[part]) for part in ("figure", "table") if measured.get(part)
            ],
            digits=[view.digit_tables(last, pair.a, pair.b) for pair in last.pairs],
            provenance=[
                (name, checkpoint.digest, checkpoint.details.created or "–")
                for name, checkpoint in zip(names, checkpoints, strict=True)
            ],
            sets=[(one.title, one.n, one.predictions[0].fingerprint) for one in comparisons],
        )
    )
