"""The report of a run: one self-contained HTML page with everything needed to cite the run.

The page has no script and loads nothing: figures and styles are inside. The template is
``web/templates/report/report.html``. Values from the run's folder may be malformed, so each passes
one of the small functions below.
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
from digitcnn.analysis.settings_text import setting_name, setting_text
from digitcnn.digits.names import result_title
from digitcnn.files import atomic_write
from digitcnn.intervals import accuracy_text
from digitcnn.training.events import EpochResult
from digitcnn.training.run import Run
from digitcnn.training.run_files import list_files, read_file
from digitcnn.training.run_record import RunRecord
from digitcnn.web.charts import STYLE as CHART_STYLE
from digitcnn.web.charts import Series, chart, count_axis, linear_axis
from digitcnn.web.templates import render

# Bytes of the whole page; figures that do not fit are named instead of shown.
MAX_SIZE = 5_000_000
LOG_LINES = 60
# Characters of a line: a log may hold a tensor printed in full.
LINE_LENGTH = 400
# Bytes of the log that are read.
MAX_LOG = 256 << 10

REPORT = "report.html"
DASH = "–"
STYLE = Path(web.__file__).with_name("styles") / "report.css"

Json = Mapping[str, Any]
Table = list[list[str]]
# Names of digit sets with their metrics.
Tested = Sequence[tuple[str, Json]]


def write_report(run: Run) -> None:
    """Write ``report.html`` from what the folder holds now. Raises RunError or OSError.

    Files that are missing or damaged are left out: a partial report is better than none.
    """
    figures = {
        Path(name).stem: read_file(run, name)
        for name in list_files(run)
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
        file.write(page.encode("utf-8", "replace"))


def report(
    record: RunRecord,
    history: Sequence[EpochResult] = (),
    metrics: Json = MappingProxyType({}),
    stabilities: Sequence[Json] = (),
    figures: Mapping[str, bytes] = MappingProxyType({}),
    log: str = "",
) -> str:
    """Return the report as one HTML page of at most ``MAX_SIZE`` bytes in UTF-8.

    metrics, stabilities: as ``RunResults`` reads them. figures: PNG files by their names without
    suffix. log: the text of the run's log.
    """
    config = record.config.to_json()
    lines = log.splitlines()
    # The test set of the model's own kind, other sets, held-out images.
    tested = sorted(
        ((name, values) for name, values in metrics.items() if isinstance(values, Mapping)),
        key=lambda one: (one[0] == "held_out", one[0] != record.config.digits),
    )
    context: dict[str, Any] = {
        "style": Markup("".join(path.read_text("utf-8") for path in (CHART_STYLE, STYLE))),
        "name": _text(record.name),
        "state": _text(record.state),
        "message": _text(record.message),
        "started": _text(f"{record.created[:16].replace('T', ' ')} UTC" if record.created else ""),
        "device": _text(record.device) if record.device else "",
        "headline": _headline(tested, config),
        "results": _results(tested, config),
        "per_digit": _per_digit(tested, config),
        "charts": _charts(history, record.config.augmentation),
        "epochs": _epochs(history),
        "stabilities": _stabilities(stabilities),
        "settings": [[_text(setting_name(k)), _text(setting_text(config, k))] for k in config],
        "versions": [[_text(key), _text(value)] for key, value in record.versions.items()],
        "provenance": [
            [name, _text(value)]
            for name, value in (
                ("SHA-256 of the training images", record.fingerprint),
                ("Checkpoint", record.checkpoint),
                ("SHA-256 of its tensors", record.digest),
            )
            if value
        ],
        "command": _text(training_command(config)),
        "log": _text("\n".join(line[:LINE_LENGTH] for line in lines[-LOG_LINES:])) if lines else "",
        "log_lines": len(lines),
        "most_log_lines": LOG_LINES,
        "figures": [],
        "left_out": "",
    }
    page = render("report/report.html", **context)
    if figures:
        room = MAX_SIZE - len(page.encode("utf-8"))
        context["figures"], context["left_out"] = _figures(figures, room)
        page = render("report/report.html", **context)
    return str(page)


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


def _headline(tested: Tested, config: Json) -> str:
    """Return the accuracy to lead with, and of what it is; empty before any is known."""
    for name, values in tested:
        text = _accuracy(values.get("accuracy"), values.get("n"))
        if text != DASH:
            return f"{text} on {_title(name, config)}"
    return ""


def _results(tested: Tested, config: Json) -> Table:
    return [
        [
            _title(name, config),
            _count(values["n"]),
            _accuracy(values.get("accuracy"), values["n"]),
            _number(values.get("nll"), 4),
            _number(values.get("brier"), 4),
            _percent(values.get("ece")),
            _percent(values.get("macro_f1")),
        ]
        for name, values in tested
        if _whole(values.get("n")) is not None
    ]


def _per_digit(tested: Tested, config: Json) -> list[tuple[str, Table]]:
    tables = []
    for name, values in tested:
        digits = values.get("per_digit")
        if isinstance(digits, list) and all(isinstance(row, Mapping) for row in digits):
            rows = [
                [
                    _text(row.get("digit")),
                    _text(row.get("support")),
                    *(_percent(row.get(key)) for key in ("precision", "recall", "f1")),
                ]
                for row in digits[:10]
            ]
            tables.append((_title(name, config), rows))
    return tables


def _charts(history: Sequence[EpochResult], augmented: bool) -> list[Markup]:
    if not history:
        return []
    trained_on = "Augmented images" if augmented else "Training images"

    def draw(title: str, held_out: str, trained: str, factor: float) -> Markup:
        series = [
            Series(
                name=name,
                points=[
                    (_finite(row.epoch), factor * _finite(getattr(row, key))) for row in history
                ],
                colour=colour,
                marker="circle",
                dashed=colour == 2,
            )
            for colour, (name, key) in enumerate(
                [("Held-out images", held_out), (trained_on, trained)], start=1
            )
        ]
        points = [point for one in series for point in one.points]
        last = max((x for x, _ in points if x < 1e6), default=1.0)
        return chart(
            title, count_axis("Epoch", int(last)), linear_axis("", [y for _, y in points]), series
        )

    return [
        draw("Loss per epoch (nats)", "held_out_loss", "loss", 1),
        draw("Accuracy per epoch (%)", "accuracy", "training_accuracy", 100),
    ]


def _epochs(history: Sequence[EpochResult]) -> Table:
    return [
        [
            _text(row.epoch),
            _number(row.loss, 4),
            _percent(row.training_accuracy),
            _number(row.held_out_loss, 4),
            _accuracy(row.accuracy, row.held_out),
            _number(row.seconds, 1),
        ]
        for row in history
    ]


def _stabilities(stabilities: Sequence[Json]) -> Table:
    return [
        [
            _text(row.get("digits")),
            _count(row.get("n")),
            _text(row.get("masks")),
            _text(row.get("passes")),
            _percent(row.get("mean")),
            _number(100 * _finite(row.get("std")), 3),
            _percent(row.get("min")),
            _percent(row.get("max")),
        ]
        for row in stabilities
    ]


def _figures(figures: Mapping[str, bytes], room: int) -> tuple[list[tuple[str, str]], str]:
    """Return title and Base64 data of the figures that fit, and the names of the others."""
    shown, left_out = [], []
    room -= 2_000  # for the sentence that names those left out
    for name, content in sorted(figures.items()):
        title = _text(name.lstrip("0123456789_").replace("_", " ").capitalize() or name)
        data = base64.b64encode(content).decode()
        size = len(data) + 2 * len(Markup.escape(title).encode()) + 120
        if size > room:
            left_out.append(_text(f"{name}.png"[:80]))
            continue
        room -= size
        shown.append((title, data))
    return shown, ", ".join(left_out[:12])


# Values as text. A lone surrogate could not be written to a file.


def _text(value: object) -> str:
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value).encode("utf-8", "replace").decode()[:30_000]


def _finite(value: object) -> float:
    """Return a JSON number as a float, NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:
        return math.nan


def _whole(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 10**12 else None


def _count(value: object) -> str:
    whole = _whole(value)
    return DASH if whole is None else f"{whole:,}"


def _number(value: object, decimals: int) -> str:
    number = _finite(value)
    return DASH if math.isnan(number) else f"{number:.{decimals}f}"


def _percent(value: object) -> str:
    number = _finite(value)
    return DASH if math.isnan(number) else f"{100 * number:.2f}%"


def _accuracy(accuracy: object, n: object) -> str:
    """Return an accuracy with its interval, as everywhere else."""
    share, images = _finite(accuracy), _whole(n)
    return accuracy_text(share, images) if 0 <= share <= 1 and images else DASH


def _title(name: object, config: Json) -> str:
    return result_title(_text(name), _text(config.get("digits")))


def _log_text(run: Run) -> str:
    """Return the end of log.txt, empty where it cannot be read."""
    try:
        with (run.folder / "log.txt").open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - MAX_LOG))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
