"""One self-contained page for a run: all that is needed to cite it, in one HTML file.

Nothing is fetched and nothing runs in it: no script, figures as data, styles inside. Where the
facts come from, and where the page is written to, is left to ``training.runs``.
"""

from __future__ import annotations

import base64
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from matplotlib.ticker import MaxNLocator

from digitcnn.analysis.metrics import accuracy_text

# Of the whole page, in bytes; figures that do not fit are named instead of shown.
MAX_SIZE = 5_000_000
LOG_LINES = 60
# Of one line: a log may hold a tensor printed in full.
LINE_LENGTH = 400

DASH = "–"

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a run's folder holds, as plain values. Nothing in it is trusted to be well formed.

    name, state, message, created, device: as ``run.json`` says. config: the training's settings.
    versions: of packages, by name; ``git`` is the program's revision where it has one.
    fingerprints: SHA-256 in hex of images, by their part. checkpoint: the file's name; digest: of
    its tensors. history: a row per epoch, as EpochResult. metrics: as ``Evaluation.to_json``, by
    digit set, ``held_out`` among them. stabilities: as ``Stability.to_json``, each with its
    ``digits`` where that is known. figures: PNG files by their names without ending. log: the
    text of the run's log.
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
    """The run as one HTML page of at most ``MAX_SIZE`` bytes in UTF-8, right on light and dark."""
    title = f"{facts.name}: a run of digitcnn"
    sections = [
        _summary(facts),
        _section("Results", _results(facts)),
        _section("Learning", _learning(facts)),
        _section("Stability", _stability(facts)),
        _section("Configuration", _configuration(facts)),
        _section("Log", _log(facts.log)),
    ]
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Whatever a file of the run may hold, nothing is fetched or run.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    )
    page, end = head + "".join(sections), "</body>\n</html>\n"
    room = MAX_SIZE - len((page + end).encode("utf-8", "replace"))
    return page + _section("Figures", _figures(facts.figures, room)) + end


# Sections: each gives the HTML inside, empty where there is nothing to say.


def _section(title: str, inside: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{inside}</section>\n" if inside else ""


def _summary(facts: RunFacts) -> str:
    device = f" on {_text(facts.device)}" if facts.device else ""
    state = f'<strong class="state">{_text(facts.state)}</strong>'
    return (
        f"<header>\n<h1>{_text(facts.name)}</h1>\n"
        f"<p>{state} {_text(facts.message)}</p>\n"
        f"{_muted(f'A run of digitcnn, begun {_time(facts.created)}{device}.')}</header>\n"
    )


def _results(facts: RunFacts) -> str:
    rows = []
    for name, values in facts.metrics.items():
        if not isinstance(values, Mapping) or _whole(values.get("n")) is None:
            continue
        rows.append(
            [
                _set_title(str(name), facts.config),
                f"{values['n']:,}",
                _accuracy(values.get("accuracy"), values["n"]),
                _number(values.get("nll"), 4),
                _number(values.get("brier"), 4),
                _percent(values.get("ece")),
                _percent(values.get("macro_f1")),
            ]
        )
    if not rows:
        return ""
    columns = ["digit set", "images", "accuracy (95% interval)", "NLL (nats)", "Brier score"]
    note = _muted(
        "Held-out images are the last of the training file, never learned from; "
        "the temperature is fitted on them. NLL, Brier score and expected calibration error "
        "(ECE) are after temperature."
    )
    return _table([*columns, "ECE", "macro-F1"], rows) + note + _per_digit(facts)


def _per_digit(facts: RunFacts) -> str:
    parts = []
    for name, values in facts.metrics.items():
        digits = values.get("per_digit") if isinstance(values, Mapping) else None
        if not isinstance(digits, list) or not all(isinstance(row, Mapping) for row in digits):
            continue
        rows = [
            [
                _text(row.get("digit")),
                _text(row.get("support")),
                *(_percent(row.get(key)) for key in ("precision", "recall", "f1")),
            ]
            for row in digits[:10]
        ]
        table = _table(["digit", "images", "precision", "recall", "F1"], rows)
        parts.append(_details(f"Per digit: {_set_title(str(name), facts.config)}", table))
    return "".join(parts)


def _learning(facts: RunFacts) -> str:
    rows = [row for row in facts.history if isinstance(row, Mapping)]
    if not rows:
        return ""

    def series(name: str, key: str, factor: float, look: str) -> _Series:
        points = [(_finite(row.get("epoch")), _finite(row.get(key))) for row in rows]
        return _Series(name, [(x, factor * y) for x, y in points if x == x and y == y], look)

    charts = _chart(
        "Loss per epoch (nats)",
        [
            series("held-out images", "held_out_loss", 1, "first"),
            series("changed training images", "loss", 1, "second"),
        ],
    ) + _chart(
        "Accuracy per epoch (%)",
        [
            series("held-out images", "accuracy", 100, "first"),
            series("changed training images", "training_accuracy", 100, "second"),
        ],
    )
    table = _table(
        ["epoch", "loss", "training accuracy", "held-out loss", "held-out accuracy", "seconds"],
        [
            [
                _text(row.get("epoch")),
                _number(row.get("loss"), 4),
                _percent(row.get("training_accuracy")),
                _number(row.get("held_out_loss"), 4),
                _accuracy(row.get("accuracy"), row.get("held_out")),
                _number(row.get("seconds"), 1),
            ]
            for row in rows
        ],
    )
    return f'<div class="charts">\n{charts}</div>\n{_details("Every epoch", table)}'


def _stability(facts: RunFacts) -> str:
    rows = [
        [
            _text(found.get("digits")),
            _count(found.get("n")),
            _text(found.get("masks")),
            _text(found.get("passes")),
            _percent(found.get("mean")),
            _number(_finite(found.get("std")) * 100, 3),
            _percent(found.get("min")),
            _percent(found.get("max")),
        ]
        for found in facts.stabilities
        if isinstance(found, Mapping)
    ]
    if not rows:
        return ""
    columns = [
        "test set",
        "images",
        "masks",
        "passes",
        "mean accuracy",
        "standard deviation (points)",
    ]
    return _table([*columns, "minimum", "maximum"], rows) + _muted(
        "Passes with dropout active: independent masks, one per image, or one "
        "shared mask for all images of a pass."
    )


def _configuration(facts: RunFacts) -> str:
    settings = [[_text(key.replace("_", " ")), _text(v)] for key, v in facts.config.items()]
    versions = [[_text(key), _text(value)] for key, value in facts.versions.items()]
    files = [
        [f"SHA-256 of the {_text(str(part).replace('_', '-'))} images", _code(value)]
        for part, value in facts.fingerprints.items()
        if value
    ]
    if facts.checkpoint:
        files.append(["checkpoint", _code(facts.checkpoint)])
    if facts.digest:
        files.append(["SHA-256 of its tensors", _code(facts.digest)])
    return (
        _table(["setting", "value"], settings)
        + (_table(["package", "version"], versions) if versions else "")
        + (_table(["what it stands on", ""], files) if files else "")
        + f"<p>To train it again:</p>\n<pre>{_text(command(facts.config))}</pre>\n"
    )


def command(config: Json) -> str:
    """The command line that trains with this configuration."""
    words = ["python", "-m", "digitcnn", "train"]
    for key, value in config.items():
        if value is None:
            continue
        if isinstance(value, bool):
            value = "on" if value else "off"
        words += [f"--{str(key).replace('_', '-')}", shlex.quote(str(value))]
    return " ".join(words)


def _figures(figures: Mapping[str, bytes], room: int) -> str:
    parts, left_out = [], []
    for name, content in sorted(figures.items()):
        title = name.lstrip("0123456789_").replace("_", " ").capitalize() or name
        data = base64.b64encode(content).decode()
        part = (
            f"<figure>\n<figcaption>{_text(title)}</figcaption>\n"
            f'<img alt="{_text(title)}" src="data:image/png;base64,{data}">\n</figure>\n'
        )
        # What a note on figures left out takes is kept free.
        if len(part.encode()) > room - 2_000:
            left_out.append(f"{name}.png"[:80])
            continue
        room -= len(part.encode())
        parts.append(part)
    if left_out:
        names = _text(", ".join(left_out[:12]))
        parts.append(f"<p>Too large for this page, but in the run's folder: {names}.</p>\n")
    return "".join(parts)


def _log(log: str) -> str:
    lines = log.splitlines()
    if not lines:
        return ""
    kept = [line[:LINE_LENGTH] for line in lines[-LOG_LINES:]]
    above = _muted(f"The last {len(kept)} of {len(lines):,} lines.")
    shown = _text("\n".join(kept))
    return f"{above if len(kept) < len(lines) else ''}<pre>{shown}</pre>\n"


# Curves


@dataclass(frozen=True)
class _Series:
    """A curve. look: its class in the style."""

    name: str
    points: list[tuple[float, float]]
    look: str


_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 460, 240, 52, 30, 44


def _chart(title: str, curves: Sequence[_Series]) -> str:
    """Curves over epochs as SVG, in the colours of the page."""
    points = [point for curve in curves for point in curve.points]
    if not points:
        return ""
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    if high == low:
        low, high = low - (abs(low) * 0.01 or 1.0), high
    ticks = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    low, high = float(ticks[0]), float(ticks[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / ((x_high - x_low) or 1)
        up = (y - low) / (high - low)
        return (
            _LEFT + (_WIDTH - _LEFT - 14) * across,
            _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - up),
        )

    parts = [f'<text class="title" x="{_LEFT}" y="18">{escape(title)}</text>']
    for value in ticks:
        y = place(x_low, value)[1]
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - 14}"/>')
        parts.append(f'<text class="end" x="{_LEFT - 6}" y="{y + 4:.1f}">{value:.4g}</text>')
    for value in dict.fromkeys((x_low, round((x_low + x_high) / 2), x_high)):
        x = place(value, low)[0]
        parts.append(f'<text class="middle" x="{x:.1f}" y="{_HEIGHT - 28}">{value:g}</text>')
    for number, curve in enumerate(curves):
        where = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*p) for p in curve.points))
        dots = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"><title>{escape(curve.name)}, epoch '
            f"{point[0]:g}: {point[1]:.5g}</title></circle>"
            for point, (x, y) in ((p, place(*p)) for p in curve.points)
        )
        key = _LEFT + 150 * number
        parts.append(
            f'<g class="{curve.look}"><polyline points="{where}"/>{dots}'
            f'<circle cx="{key}" cy="{_HEIGHT - 9}" r="4"/></g>'
            f'<text x="{key + 9}" y="{_HEIGHT - 5}">{escape(curve.name)}</text>'
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>\n"
    )


# Words and numbers: every value comes from a file that anybody may have changed.


def _text(value: object) -> str:
    """Any value as text of the page, escaped; a dash for nothing."""
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return "on" if value else "off"
    # A lone surrogate is no text that a file can hold.
    return escape(str(value).encode("utf-8", "replace").decode()[:30_000])


def _code(value: object) -> str:
    return f"<code>{_text(value)}</code>"


def _finite(value: object) -> float:
    """A number of JSON as a float, NaN for anything else."""
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


def _number(value: object, digits: int) -> str:
    number = _finite(value)
    return DASH if math.isnan(number) else f"{number:.{digits}f}"


def _percent(value: object) -> str:
    number = _finite(value)
    return DASH if math.isnan(number) else f"{100 * number:.2f}%"


def _accuracy(accuracy: object, n: object) -> str:
    """With its interval, the same to the last digit as everywhere else."""
    share, images = _finite(accuracy), _whole(n)
    if not 0 <= share <= 1 or not images:
        return DASH
    return escape(accuracy_text(share, images))


def _set_title(name: str, config: Json) -> str:
    if name == "held_out":
        return f"held-out images of {_text(config.get('digits'))}"
    return f"{_text(name)} test"


def _time(created: str) -> str:
    return _text(f"{created[:16].replace('T', ' ')} UTC" if created else "")


def _table(columns: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """columns and rows: HTML."""
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n'
        "</table></div>\n"
    )


def _muted(inside: str) -> str:
    return f'<p class="muted">{inside}</p>\n'


def _details(summary: str, inside: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n{inside}</details>\n"


# Okabe and Ito's colours, as in the figures.
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --muted: #5b626b; --line: #d8dbe0;
  --first: #0072b2; --second: #b85c00; --shade: #f3f4f6; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171b; --ink: #e8eaed; --muted: #a3abb5; --line: #373d45; --first: #56b4e9;
    --second: #e69f00; --shade: #1e2329; }
}
body { max-width: 64rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.8rem; overflow-wrap: anywhere; }
h2 { margin: 2.2rem 0 .6rem; font-size: 1.2rem; border-bottom: 1px solid var(--line); }
.muted { color: var(--muted); }
.state { padding: 1px 10px; border-radius: 999px; background: var(--shade); }
.wide { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95rem; }
th, td { padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
td code { overflow-wrap: anywhere; }
details { margin: .6rem 0; }
summary { cursor: pointer; }
pre { overflow-wrap: anywhere; white-space: pre-wrap; padding: .8rem; border-radius: 6px;
  background: var(--shade);
  font-size: .85rem; }
figure { margin: 1rem 0; }
figcaption { margin-bottom: .3rem; font-weight: 600; }
figure img { max-width: 100%; height: auto; border-radius: 6px; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; }
.charts svg { flex: 1 1 320px; min-width: 0; max-width: 100%; }
.charts text { font-size: 12px; fill: var(--ink); }
.charts .title { font-size: 13px; font-weight: 600; }
.charts .end { text-anchor: end; }
.charts .middle { text-anchor: middle; }
.charts .grid { stroke: var(--line); fill: none; }
.charts polyline { fill: none; stroke-width: 1.8; }
.charts .first polyline { stroke: var(--first); }
.charts .second polyline { stroke: var(--second); stroke-dasharray: 6 3; }
.charts .first circle { fill: var(--first); }
.charts .second circle { fill: var(--second); }
"""
