"""A comparison as one self-contained HTML page, without scripts and without further files."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

from markupsafe import Markup

from digitcnn.errors import ConfigError
from digitcnn.services.evaluation import compare_models
from digitcnn.ui import compare_pair_view as pair_view
from digitcnn.ui import compare_view as view
from digitcnn.ui.models import Models
from digitcnn.ui.subject import Subject
from digitcnn.web import bundle
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

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
                pair_view.differences(last, digit_sets[-1], pair.a, pair.b) for pair in last.pairs
            ],
            robustness=[
                Markup(measured[part]) for part in ("figure", "table") if measured.get(part)
            ],
            digits=[pair_view.digit_tables(last, pair.a, pair.b) for pair in last.pairs],
            provenance=[
                (name, checkpoint.digest, checkpoint.details.created or "–")
                for name, checkpoint in zip(names, checkpoints, strict=True)
            ],
            sets=[(one.title, one.n, one.predictions[0].fingerprint) for one in comparisons],
        )
    )
