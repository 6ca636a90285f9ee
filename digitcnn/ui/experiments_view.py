"""What the Experiments section shows: the card, the running experiment, and its outcome."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import PurePath
from typing import Any

import torch
from markupsafe import Markup

from digitcnn.digits.digit_set import HELD_OUT_SHARE, SIDE
from digitcnn.digits.names import written
from digitcnn.experiments.experiment import Experiment
from digitcnn.experiments.groups import Group
from digitcnn.experiments.job import SEED, ExperimentView
from digitcnn.experiments.outcome import Outcome, Point, Tile, curve
from digitcnn.experiments.worksheet import worksheet
from digitcnn.training.run_record import RUNNING
from digitcnn.ui.job_status import elapsed_text, job_status
from digitcnn.ui.parts import base64_of, image_address, status_line
from digitcnn.ui.tables import Cell, Value, share_cell, table
from digitcnn.ui.wording import counted, rough_duration
from digitcnn.web.charts import Axis, Interval, Series, chart, count_axis, intervals, linear_axis
from digitcnn.web.templates import render

_NO_PREDICTION = " No predictions yet: choose one above."


def card(experiment: Experiment) -> Markup:
    """Return the question, what is done, and a link to the worksheet."""
    page = worksheet(experiment).encode("utf-8")
    return render("experiments/card.html", experiment=experiment, worksheet=base64_of(page))


def status(
    view: ExperimentView, group: Group | None, people: int | None, other: str = ""
) -> Markup:
    """Return a line on the experiment: running, waiting for another, or how it ended.

    people: how many predictions there are of an outcome that is still unknown, else None. other:
    as ``ExclusiveLock.busy`` while another kind of job runs.
    """
    predicted = ""
    if people is not None:
        predicted = f" {counted(people, 'prediction')} so far." if people else _NO_PREDICTION
    if view.state == RUNNING and view.experiment is not None:
        facts, name = progress_facts(view), view.experiment.name
        bar = {"label": "Experiment progress", "share": view.share, "facts": facts}
        phase = "stopping" if view.stopping else view.phase
        line = f"{elapsed_text(view, phase)}.{predicted}"
        spoken = f"Experiment {name}, {facts.partition(' · ')[0]}: {phase}"
        return job_status(view, line, subject=name, bar=bar, spoken=spoken)
    waits = f" {other}; an experiment can start once it has finished." if other else ""
    if group is None:
        return status_line(f"Not run yet.{predicted}{waits}")
    ended = ExperimentView(state="interrupted" if group.state == RUNNING else group.state)
    message = group.message or "The process ended during the experiment; run it again."
    when = group.created[:16].replace("T", " ")
    spoken = f"Experiment {group.experiment}: {message}"
    if group.outcome is not None:
        spoken += f" {group.outcome['verdict']}"
    return job_status(ended, f"{message} Started {when} UTC.{predicted}{waits}", spoken=spoken)


def progress_facts(view: ExperimentView) -> str:
    """Return how far a running experiment is: its run, its epoch and about the time left."""
    training, progress = view.training, view.training.progress
    if view.experiment is None or view.started is None:
        return ""
    trainings = view.experiment.trainings(SEED)
    arm, seed = trainings[training.number - 1]
    facts = [f"run {training.number} of {len(trainings)}", f"{arm.label}, seed {seed}"]
    if progress is not None:
        facts.append(f"epoch {progress.epoch} of {progress.epochs}")
    left = view.seconds_left((datetime.now(timezone.utc) - view.started).total_seconds())
    if left is not None:
        facts.append(f"about {rough_duration(left)} left")
    return " · ".join(facts)


def running(view: ExperimentView) -> Markup:
    """Return the curves of a running experiment as far as they are known."""
    experiment = view.experiment
    if experiment is None or not view.histories:
        return Markup()
    curves = []
    for arm in experiment.arms:
        own = [rows for (label, _), rows in view.histories if label == arm.label]
        curves.append((arm.label, curve(own, arm.settings["epochs"])))
    return render(
        "experiments/result.html", outcome=None, note="", chart=_chart(experiment, curves)
    )


def result(experiment: Experiment, group: Group) -> Markup:
    """Return the outcome of a finished experiment; empty where there is none."""
    outcome = group.outcome
    if outcome is None:
        return Markup()
    note = Markup()
    if group.digits != "mnist":
        text = f"MNIST is not downloaded, so this ran on {written(group.digits)}, which are easier."
        note = render("paragraphs.html", sentences=[text])
    rows: list[list[Value]] = [
        [
            arm["label"],
            *map(Cell, arm["accuracies"], arm["means"]),
            share_cell(arm["curve"][-1]["held_out"]),
            share_cell(arm["curve"][-1]["training"]),
        ]
        for arm in outcome["arms"]
    ]
    headers = [f"Accuracy on {title} (95%)" for title in outcome["tests"]]
    runs: list[list[Value]] = [
        [
            run["run"],
            run["arm"],
            Cell(str(run["seed"]), run["seed"]),
            share_cell(run["accuracy"]),
            PurePath(run["checkpoint"]).stem,
        ]
        for run in outcome["runs"]
    ]
    came_true = experiment.outcome(100 * outcome["difference"])
    counts = group.predictions if any(group.predictions) else ()
    return render(
        "experiments/result.html",
        outcome=outcome,
        experiment=experiment,
        note=note,
        held_out=f"{experiment.images // HELD_OUT_SHARE:,}",
        answer=_answer(experiment, outcome),
        chart=_chart(experiment, [(arm["label"], arm["curve"]) for arm in outcome["arms"]]),
        table=table(
            ["Trained with", *headers, "Held-out accuracy", "Training accuracy"],
            rows,
            label="Accuracies, mean over the seeds",
        ),
        predictions=[
            {"text": choice.text, "count": count, "came_true": place == came_true}
            for place, (choice, count) in enumerate(zip(experiment.choices, counts, strict=False))
        ],
        sides=[
            (f"Images that only “{side}” gets right", _tiles(tiles))
            for side, tiles in (
                (outcome["a"], outcome["only_a"]),
                (outcome["b"], outcome["only_b"]),
            )
        ],
        runs=table(
            ["Run", "Trained with", "Seed", f"Accuracy on {outcome['tests'][0]}", "Checkpoint"],
            runs,
            label="Runs of this experiment",
        ),
    )


def _answer(experiment: Experiment, outcome: Outcome) -> Markup:
    """Draw the accuracies that the prediction is about: those on the first question's test."""
    if not experiment.questions:
        return Markup()
    test = [each.label for each in experiment.tests].index(experiment.questions[0].test)
    rows = []
    for arm in outcome["arms"]:
        mean = arm["means"][test]
        low, high = arm["bounds"][test] if "bounds" in arm else (mean, mean)
        text = arm["accuracies"][test]
        rows.append(Interval(arm["label"], 100 * mean, 100 * low, 100 * high, text))
    return intervals(f"Accuracy on {outcome['tests'][test]} (%)", rows, bounds=(0, 100))


def _chart(experiment: Experiment, curves: Sequence[tuple[str, Sequence[Point]]]) -> Markup:
    """Draw the accuracy of every arm in one chart: means over the seeds, lowest to highest."""
    same = len({arm.settings["epochs"] for arm in experiment.arms}) == 1
    epochs = experiment.arms[0].settings["epochs"]
    series, values = [], []
    for colour, (label, points) in enumerate(curves, 1):
        at = [point["epoch"] if same else 100 * point["share"] for point in points]
        held_out = [100 * point["held_out"] for point in points]
        band = [
            (x, 100 * point["held_out_low"], 100 * point["held_out_high"])
            for x, point in zip(at, points, strict=True)
        ]
        values += [low for _, low, _ in band]
        series.append(
            Series(
                name=label,
                points=list(zip(at, held_out, strict=True)),
                colour=colour,
                marker="circle" if epochs <= 30 else None,
                band=band,
            )
        )
        if experiment.training_curve:
            training = [100 * point["training"] for point in points]
            values += training
            series.append(
                Series(
                    name=f"{label}, training images",
                    points=list(zip(at, training, strict=True)),
                    colour=colour,
                    dashed=True,
                )
            )
    shares = [(part, str(part)) for part in range(0, 101, 25)]
    return chart(
        f"Accuracy on the held-out{' and the training' * experiment.training_curve} images (%)",
        count_axis("Epoch", epochs) if same else Axis("Part of training (%)", 0, 100, shares),
        linear_axis("Accuracy (%)", [*(values or [90.0]), 100.0], bounds=(0, 100)),
        series,
        empty="Accuracy after each epoch will appear here",
        legend=True,
    )


def _tiles(tiles: Sequence[Tile]) -> list[dict[str, Any]]:
    return [
        {
            **tile,
            "address": image_address(
                torch.frombuffer(
                    bytearray(base64.b64decode(tile["pixels"])), dtype=torch.uint8
                ).view(SIDE, SIDE)
            ),
        }
        for tile in tiles
    ]
