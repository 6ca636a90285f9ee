"""The worksheet of an experiment: a page to print, from the same data as its card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from digitcnn.experiments.experiment import Experiment
from digitcnn.web import bundle
from digitcnn.web.templates import render

# Headers and the names of the rows, whose other cells are empty.
Table = tuple[Sequence[str], Sequence[str]]


def worksheet(experiment: Experiment) -> str:
    """Return a self-contained HTML page: question, prediction, tables to fill, discussion."""
    return render(
        "experiments/worksheet.html",
        experiment=experiment,
        tables=list(_tables(experiment)),
        style=Markup(bundle.style("worksheet.css")),
    )


def _tables(experiment: Experiment) -> Iterator[Table]:
    """Yield a table for each kind of number in the outcome."""
    measured = [f"Accuracy{_on(test.label)} (%)" for test in experiment.tests]
    measured += [
        f"The {test.digit}s are predicted as" for test in experiment.tests if test.digit is not None
    ]
    if experiment.training_curve:
        measured.append("Training accuracy (%)")
    if experiment.questions:
        yield ["Trained with", *measured], [arm.label for arm in experiment.arms]
        differences = [f"{one.a} minus {one.b}{_on(one.test)}" for one in experiment.questions]
    else:
        yield ["Trained with", *measured], [f"seed {seed}" for seed in range(experiment.seeds)]
        differences = ["best minus worst"]
    yield ["Difference", "Points", "95% interval", "Is zero inside?"], differences
    if experiment.label_errors:
        yield (
            ["The list of label errors", "Share (%)"],
            ["named labels that are wrong", "wrong labels that are named"],
        )


def _on(test: str) -> str:
    return f", {test}" if test else ""
