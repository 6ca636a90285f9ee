"""The report of a run: one self-contained HTML page with everything needed to cite the run.

The page has no script and loads nothing: figures and styles are inside. The template is
``web/templates/report/report.html``.
"""

from __future__ import annotations

import base64
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from markupsafe import Markup

from digitcnn import web
from digitcnn.analysis.settings_text import UNKNOWN, setting_name, setting_text
from digitcnn.digits.names import result_title
from digitcnn.files import atomic_write
from digitcnn.intervals import accuracy_text, percent
from digitcnn.training.events import EpochResult
from digitcnn.training.run import Run
from digitcnn.training.run_record import RunRecord
from digitcnn.web.charts import STYLE as CHART_STYLE
from digitcnn.web.charts import Series, chart, count_axis, linear_axis
from digitcnn.web.templates import render

# Bytes of all figures, in Base64; those beyond are named instead of shown.
MAX_FIGURES = 4_500_000
LOG_LINES = 60
# Characters of a line: a log may hold a tensor printed in full.
LINE_LENGTH = 400
# Bytes of the log that are read.
MAX_LOG = 256 << 10

REPORT = "report.html"
STYLE = Path(web.__file__).with_name("styles") / "report.css"

Json = Mapping[str, Any]
Table = list[list[str]]


def write_report(run: Run) -> None:
    """Write ``report.html`` from what the folder holds now. Raises RunError or OSError.

    Files that are missing or damaged are left out: a partial report is better than none.
    """
    figures = {
        Path(name).stem: run.read_file(name)
        for name in run.list_files()
        if name.startswith("figures/") and name.endswith(".png")
    }
    results = run.results
    page = report(
        run.record(),
        results.history(),
        results.metrics(),
        results.stabilities(),
        figures,
        _log_text(run),
    )
    with atomic_write(run.folder / REPORT) as file:
        # A lone surrogate in a text cannot be encoded.
        file.write(page.encode("utf-8", "replace"))


def report(
    record: RunRecord,
    history: Sequence[EpochResult] = (),
    metrics: Json = MappingProxyType({}),
    stabilities: Sequence[Json] = (),
    figures: Mapping[str, bytes] = MappingProxyType({}),
    log: str = "",
) -> str:
    """Return the report as one HTML page.

    metrics, stabilities: as ``RunResults`` reads them. figures: PNG files by their names without
    suffix. log: the text of the run's log.
    """
    config = record.config.to_json()
    lines = log.splitlines()
    # The test set of the model's own kind, other sets, held-out images.
    names = sorted(metrics, key=lambda name: (name == "held_out", name != record.config.digits))
    tested = [(result_title(name, record.config.digits), metrics[name]) for name in names]
    shown, left_out = _figures(figures)
    return render(
        "report/report.html",
        style=Markup("".join(path.read_text("utf-8") for path in (CHART_STYLE, STYLE))),
        run=record,
        started=f"{record.created[:16].replace('T', ' ')} UTC" if record.created else "",
        headline=next((f"{_accuracy(one)} on {title}" for title, one in tested), ""),
        results=[_result(title, one) for title, one in tested],
        per_digit=[
            (title, [_digit(row) for row in one["per_digit"]])
            for title, one in tested
            if "per_digit" in one
        ],
        charts=_charts(history, record.config.augmentation) if history else [],
        epochs=[_epoch(row) for row in history],
        stabilities=[_stability(one) for one in stabilities],
        settings=[[setting_name(key), setting_text(config, key)] for key in config],
        provenance=[
            (name, value)
            for name, value in (
                ("SHA-256 of the training images", record.fingerprint),
                ("Checkpoint", record.checkpoint),
                ("SHA-256 of its tensors", record.digest),
            )
            if value
        ],
        command=training_command(config),
        log="\n".join(line[:LINE_LENGTH] for line in lines[-LOG_LINES:]),
        log_lines=len(lines),
        most_log_lines=LOG_LINES,
        figures=shown,
        left_out=left_out,
    )


def training_command(config: Json) -> str:
    """Return the command line that trains with this configuration."""
    words = ["python", "-m", "digitcnn", "train"]
    for key, value in config.items():
        if value is None:
            continue
        if isinstance(value, bool):
            value = "on" if value else "off"
        words += [f"--{str(key).replace('_', '-')}", shlex.quote(str(value))]
    return " ".join(words)


def _result(title: str, one: Json) -> list[str]:
    scores = (_number(one.get("nll")), _number(one.get("brier")))
    shares = (_percent(one.get("ece")), _percent(one.get("macro_f1")))
    return [title, f"{one['n']:,}", _accuracy(one), *scores, *shares]


def _digit(row: Json) -> list[str]:
    scores = (_percent(row[key]) for key in ("precision", "recall", "f1"))
    return [str(row["digit"]), str(row["support"]), *scores]


def _charts(history: Sequence[EpochResult], augmented: bool) -> list[Markup]:
    trained_on = "Augmented images" if augmented else "Training images"

    def draw(title: str, held_out: str, trained: str, factor: float) -> Markup:
        series = [
            Series(
                name=name,
                points=[(row.epoch, factor * getattr(row, key)) for row in history],
                colour=colour,
                marker="circle",
                dashed=colour == 2,
            )
            for colour, (name, key) in enumerate(
                [("Held-out images", held_out), (trained_on, trained)], start=1
            )
        ]
        values = [value for one in series for _, value in one.points]
        axis = count_axis("Epoch", history[-1].epoch)
        return chart(title, axis, linear_axis("", values), series)

    return [
        draw("Loss per epoch (nats)", "held_out_loss", "loss", 1),
        draw("Accuracy per epoch (%)", "accuracy", "training_accuracy", 100),
    ]


def _epoch(row: EpochResult) -> list[str]:
    return [
        str(row.epoch),
        _number(row.loss),
        _percent(row.training_accuracy),
        _number(row.held_out_loss),
        accuracy_text(row.accuracy, row.held_out),
        _number(row.seconds, 1),
    ]


def _stability(one: Json) -> list[str]:
    mean, std, least, most = (one[key] for key in ("mean", "std", "min", "max"))
    return [
        one.get("digits", UNKNOWN),
        f"{one['n']:,}" if one.get("n") else UNKNOWN,  # the oldest runs do not have it
        one["masks"],
        str(one["passes"]),
        _percent(mean),
        _number(None if std is None else 100 * std, 3),
        _percent(least),
        _percent(most),
    ]


def _figures(figures: Mapping[str, bytes]) -> tuple[list[tuple[str, str]], str]:
    """Return title and Base64 data of the figures that fit, and the names of the others."""
    shown, left_out = [], []
    room = MAX_FIGURES
    for name, content in sorted(figures.items()):
        data = base64.b64encode(content).decode()
        if len(data) > room:
            left_out.append(f"{name}.png")
            continue
        room -= len(data)
        title = name.lstrip("0123456789_").replace("_", " ").capitalize()
        shown.append((title or name, data))
    return shown, ", ".join(left_out)


def _number(value: float | None, decimals: int = 4) -> str:
    return UNKNOWN if value is None or math.isnan(value) else f"{value:.{decimals}f}"


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else percent(value)


def _accuracy(one: Json) -> str:
    return accuracy_text(one["accuracy"], one["n"])


def _log_text(run: Run) -> str:
    """Return the end of log.txt, empty where it cannot be read."""
    try:
        with (run.folder / "log.txt").open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - MAX_LOG))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
