"""The worksheet of an experiment: a page to print, from the same data as its card."""

from __future__ import annotations

from markupsafe import Markup

from digitcnn.experiments.experiment import Experiment
from digitcnn.web import bundle
from digitcnn.web.templates import render


def worksheet(experiment: Experiment) -> str:
    """Return a self-contained HTML page: question, prediction, tables to fill, discussion."""
    if experiment.questions:
        rows = [arm.label for arm in experiment.arms]
        differences = [
            f"{one.a} minus {one.b}" + (f", {one.test}" if one.test else "")
            for one in experiment.questions
        ]
    else:
        rows = [f"seed {seed}" for seed in range(experiment.seeds)]
        differences = ["best minus worst"]
    return render(
        "experiments/worksheet.html",
        experiment=experiment,
        rows=rows,
        differences=differences,
        style=Markup(bundle.style("worksheet.css")),
    )
