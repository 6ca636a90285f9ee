"""What the Stability tab says of its passes: tables, sentences, the least stable images."""

from __future__ import annotations

from html import escape

from digitcnn.analysis.metrics import accuracy_text, percent
from digitcnn.analysis.stability import Stability
from digitcnn.digits.digit_set import CLASSES, DigitSet
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.ui.parts import picture
from digitcnn.ui.stability_charts import NAMES
from digitcnn.ui.tables import Cell, Value, table

LEAST_STABLE = 12

GALLERY_STYLE = """
.least { display: grid; grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)); gap: 12px;
  margin: 0 0 12px; padding: 0; list-style: none; }
.least li { border: 1px solid var(--border-color-primary); border-radius: var(--radius-md);
  padding: 10px; font-size: 0.86rem; font-variant-numeric: tabular-nums;
  color: var(--body-text-color); }
.least img { width: 84px; height: 84px; image-rendering: pixelated; display: block;
  margin-bottom: 6px; }
.least .votes { display: flex; flex-wrap: wrap; gap: 2px 8px; margin: 2px 0; }
.least .right { font-weight: 700; }
.least .small { color: var(--body-text-color-subdued); }
h4 { margin: 8px 0; color: var(--body-text-color); }
p { color: var(--body-text-color-subdued); }
"""


def summary_line(checkpoint: Checkpoint, result: Stability) -> str:
    return (
        f"{checkpoint.name} without dropout: {accuracy_text(result.accuracy, result.n)} on "
        f"{_count(result.n, 'image', 'images')} of {result.title}."
    )


def summary_table(found: list[Stability]) -> str:
    """Mean, deviation, minimum and maximum per kind of pass."""
    rows: list[list[Value]] = [
        [
            NAMES[result.masks],
            _share(result.mean),
            _points(result.std),
            _share(result.min),
            _share(result.max),
            _points(result.chance) if result.masks == "independent" else _DASH,
            _points(result.bound) if result.masks == "independent" else _DASH,
            result.verdict or _DASH,
        ]
        for result in found
    ]
    result = found[0]
    return table(
        [
            "passes",
            "mean",
            "standard deviation",
            "minimum",
            "maximum",
            "chance alone",
            "at most",
            "verdict",
        ],
        rows,
        label=f"Accuracy over {_count(result.passes, 'pass', 'passes')} of each kind on "
        f"{_count(result.n, 'image', 'images')} of {result.title}; deviations in percentage points",
        caption=True,
    )


def words_of(found: list[Stability]) -> str:
    """What the two deviations can say and what they cannot."""
    independent = next(result for result in found if result.masks == "independent")
    shared = next(result for result in found if result.masks == "shared")
    return f"<p>{escape(bound_sentence(independent))}</p><p>{escape(verdict_sentence(shared))}</p>"


def bound_sentence(result: Stability) -> str:
    """What the deviation of passes with independent masks cannot say. result: of such passes."""
    bound = 100 * result.bound
    marks = (
        "so the usual marks of 1 and 2 points cannot be reached this way"
        if bound < 1
        else "so the usual mark of 2 points cannot be reached this way"
        if bound < 2
        else "so with these few images the usual marks of 1 and 2 points say more about chance "
        "than about the network"
    )
    sentence = (
        f"With independent masks the deviation is at most {bound:.2f} points for any network on "
        f"{_count(result.n, 'image', 'images')} (50 / √n), {marks}"
    )
    if result.chance == result.chance:  # no NaN
        sentence += f"; chance alone gives these images {100 * result.chance:.2f} points"
    return f"{sentence}."


def verdict_sentence(result: Stability) -> str:
    """What the deviation over thinned networks says. result: of passes with one mask each."""
    marks = "Under 1 point is stable, over 2 points is leaning on single neurons."
    if not result.verdict:
        return f"One mask per pass: a deviation needs at least two passes. {marks}"
    return (
        f"One mask per pass, {result.passes} thinned networks: their deviation of "
        f"{100 * result.std:.2f} points says: {result.verdict}. {marks}"
    )


def flips_table(found: list[Stability]) -> str:
    """The share of images whose answer changes in any pass, per digit."""
    counts = [int((found[0].labels == digit).sum()) for digit in range(CLASSES)]
    rows: list[list[Value]] = [
        [
            str(digit),
            counts[digit],
            *(_share(result.flipped_by_digit[digit]) for result in found),
        ]
        for digit in range(CLASSES)
    ]
    total: list[Value] = ["all", found[0].n, *(_share(result.flipped) for result in found)]
    return table(
        ["digit", "images", *(NAMES[result.masks] for result in found)],
        rows,
        footer=[total],
        label=f"Images of {found[0].title} whose answer changes in any of "
        f"{_count(found[0].passes, 'pass', 'passes')}",
        caption=True,
    )


def gallery_of(found: list[Stability], digit_set: DigitSet) -> str:
    """The least stable images per kind of pass, with their votes and doubts."""
    parts = []
    for result in found:
        least = result.least_stable(LEAST_STABLE)
        heading = f"Least stable images of {escape(result.title)}, {NAMES[result.masks]}"
        parts.append(f"<h4>{heading}</h4>")
        if not least:
            parts.append("<p>Every image got the same answer in all passes.</p>")
            continue
        items = []
        for image in least:
            votes = sorted(
                ((count, digit) for digit, count in enumerate(image.votes) if count), reverse=True
            )
            shown = "".join(
                f"<span{_RIGHT if digit == image.label else ''}>{digit}: {count}</span>"
                for count, digit in votes
            )
            items.append(
                f'<li><img src="{picture(digit_set.images[image.index])}" width="84" height="84" '
                f'alt="image {image.index}, a {image.label}">'
                f"<div>a <strong>{image.label}</strong>, without dropout {image.answer}</div>"
                f'<div class="votes">votes {shown}</div>'
                f'<div class="small">entropy {image.predictive_entropy:.3f}, mutual information '
                f"{image.mutual_information:.3f} nats</div>"
                f'<div class="small">image {image.index}</div></li>'
            )
        parts.append(f'<ul class="least">{"".join(items)}</ul>')
    parts.append(
        "<p>Votes: how many passes answered which digit, the label in bold. Entropy, of the mean "
        "probabilities: how undecided all passes together are, from 0, sure, to 2.303 nats, all "
        "digits alike. Mutual information: the part of it on which the passes disagree.</p>"
    )
    return "".join(parts)


_RIGHT = ' class="right"'
_DASH = Cell("–", float("nan"))


def _share(fraction: float) -> Cell:
    return Cell(percent(fraction), fraction)


def _points(fraction: float) -> Cell:
    """A deviation as points; ``table`` shows a dash for NaN."""
    return Cell(f"{100 * fraction:.2f}", fraction)


def _count(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"
