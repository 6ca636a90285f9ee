"""The report of a run: one self-contained HTML page with everything needed to cite the run.

The page has no script and loads nothing: figures and styles are inside. The template is
``web/templates/report/report.html``; ``training.run_files`` reads the run's folder and writes the
page. Values from the folder may be malformed, so each passes one of the small functions below.
"""

from __future__ import annotations

import base64
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from digitcnn import web
from digitcnn.analysis.settings_text import setting_name, setting_text
from digitcnn.digits.names import result_title
from digitcnn.intervals import accuracy_text
from digitcnn.web.charts import STYLE as CHART_STYLE
from digitcnn.web.charts import Series, chart, count_axis, linear_axis
from digitcnn.web.templates import render

# Bytes of the whole page; figures that do not fit are named instead of shown.
MAX_SIZE = 5_000_000
LOG_LINES = 60
# Characters of a line: a log may hold a tensor printed in full.
LINE_LENGTH = 400

DASH = "–"
STYLE = Path(web.__file__).with_name("styles") / "report.css"

Json = Mapping[str, Any]
Table = list[list[str]]


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """The content of a run's folder, as plain values.

    name, state, message, created, device: as in ``run.json``. config: the training's settings.
    versions: of packages, by name; ``git`` is the program's revision where it has one.
    fingerprints: SHA-256 in hex of images, by their part. checkpoint: the file's name; digest: of
    its tensors. history: a row per epoch, as EpochResult. metrics: as ``Evaluation.to_json``, by
    digit set, with ``held_out`` among them. stabilities: as ``Stability.to_json``, each with its
    ``digits`` where that is known. figures: PNG files by their names without suffix. log: the text
    of the run's log.
    """

    name: str
    state: str
    message: str = ""
    created: str = ""
    device: str = ""
    config: Json = field(default_factory=dict)
    versions: Json = field(default_factory=dict)
    fingerprints: Json = field(default_factory=dict)
    checkpoint: str | None = None
    digest: str | None = None
    history: Sequence[Json] = ()
    metrics: Json = field(default_factory=dict)
    stabilities: Sequence[Json] = ()
    figures: Mapping[str, bytes] = field(default_factory=dict)
    log: str = ""


def report(facts: RunFacts) -> str:
    """Return the report as one HTML page of at most ``MAX_SIZE`` bytes in UTF-8."""
    epochs = [row for row in facts.history if isinstance(row, Mapping)]
    lines = facts.log.splitlines()
    started = f"{facts.created[:16].replace('T', ' ')} UTC" if facts.created else ""
    context: dict[str, Any] = {
        "style": Markup("".join(path.read_text("utf-8") for path in (CHART_STYLE, STYLE))),
        "name": _text(facts.name),
        "state": _text(facts.state),
        "message": _text(facts.message),
        "started": _text(started),
        "device": _text(facts.device) if facts.device else "",
        "headline": _headline(facts),
        "results": _results(facts),
        "per_digit": _per_digit(facts),
        "charts": _charts(epochs, facts.config),
        "epochs": _epochs(epochs),
        "stabilities": _stabilities(facts.stabilities),
        "settings": [
            [_text(setting_name(k)), _text(setting_text(facts.config, k))] for k in facts.config
        ],
        "versions": [[_text(key), _text(value)] for key, value in facts.versions.items()],
        "provenance": _provenance(facts),
        "command": _text(training_command(facts.config)),
        "log": _text("\n".join(line[:LINE_LENGTH] for line in lines[-LOG_LINES:])) if lines else "",
        "log_lines": len(lines),
        "most_log_lines": LOG_LINES,
        "figures": [],
        "left_out": "",
    }
    page = render("report/report.html", **context)
    if facts.figures:
        room = MAX_SIZE - len(page.encode("utf-8"))
        context["figures"], context["left_out"] = _figures(facts.figures, room)
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


def _test_sets_first(facts: RunFacts) -> list[str]:
    """Return the names of the sets: the test set of the model's own kind, others, held-out."""
    own = facts.config.get("digits")
    return sorted(facts.metrics, key=lambda name: (name == "held_out", name != own))


def _headline(facts: RunFacts) -> str:
    """Return the accuracy to lead with, and of what it is; empty before any is known."""
    for name in _test_sets_first(facts):
        values = facts.metrics[name]
        if isinstance(values, Mapping):
            text = _accuracy(values.get("accuracy"), values.get("n"))
            if text != DASH:
                return f"{text} on {_title(name, facts.config)}"
    return ""


def _results(facts: RunFacts) -> Table:
    return [
        [
            _title(name, facts.config),
            _count(values["n"]),
            _accuracy(values.get("accuracy"), values["n"]),
            _number(values.get("nll"), 4),
            _number(values.get("brier"), 4),
            _percent(values.get("ece")),
            _percent(values.get("macro_f1")),
        ]
        for name in _test_sets_first(facts)
        if isinstance(values := facts.metrics[name], Mapping)
        and _whole(values.get("n")) is not None
    ]


def _per_digit(facts: RunFacts) -> list[tuple[str, Table]]:
    tables = []
    for name, values in facts.metrics.items():
        digits = values.get("per_digit") if isinstance(values, Mapping) else None
        if isinstance(digits, list) and all(isinstance(row, Mapping) for row in digits):
            rows = [
                [
                    _text(row.get("digit")),
                    _text(row.get("support")),
                    *(_percent(row.get(key)) for key in ("precision", "recall", "f1")),
                ]
                for row in digits[:10]
            ]
            tables.append((_title(name, facts.config), rows))
    return tables


def _charts(epochs: Sequence[Json], config: Json) -> list[Markup]:
    training = "Training images" if config.get("augmentation") is False else "Augmented images"

    def draw(title: str, held_out: str, trained: str, factor: float) -> Markup:
        series = [
            Series(
                name=name,
                points=[
                    (_finite(row.get("epoch")), factor * _finite(row.get(key))) for row in epochs
                ],
                colour=colour,
                marker="circle",
                dashed=colour == 2,
            )
            for colour, (name, key) in enumerate(
                [("Held-out images", held_out), (training, trained)], start=1
            )
        ]
        points = [point for one in series for point in one.points]
        last = max((x for x, _ in points if x < 1e6), default=1.0)
        return chart(
            title, count_axis("Epoch", int(last)), linear_axis("", [y for _, y in points]), series
        )

    if not epochs:
        return []
    return [
        draw("Loss per epoch (nats)", "held_out_loss", "loss", 1),
        draw("Accuracy per epoch (%)", "accuracy", "training_accuracy", 100),
    ]


def _epochs(epochs: Sequence[Json]) -> Table:
    return [
        [
            _text(row.get("epoch")),
            _number(row.get("loss"), 4),
            _percent(row.get("training_accuracy")),
            _number(row.get("held_out_loss"), 4),
            _accuracy(row.get("accuracy"), row.get("held_out")),
            _number(row.get("seconds"), 1),
        ]
        for row in epochs
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
        if isinstance(row, Mapping)
    ]


def _provenance(facts: RunFacts) -> Table:
    rows = [
        [f"SHA-256 of the {_text(part).replace('_', '-')} images", _text(value)]
        for part, value in facts.fingerprints.items()
        if value
    ]
    if facts.checkpoint:
        rows.append(["Checkpoint", _text(facts.checkpoint)])
    if facts.digest:
        rows.append(["SHA-256 of its tensors", _text(facts.digest)])
    return rows


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
