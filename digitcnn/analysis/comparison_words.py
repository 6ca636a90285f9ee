"""What a comparison shows, in sentences: which model is better than which, and by how much."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

from digitcnn.analysis.comparison import Comparison, Counts, Pair
from digitcnn.digits.names import joined


def p_text(p_value: float) -> str:
    """Return ``p = 0.003`` with three decimals, or ``p < 0.001``."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def difference_text(counts: Counts) -> str:
    """Return a difference with sign and 95% interval: ``+0.12 points (-0.03 to +0.27)``."""
    if not counts.n:
        return "–"
    low, high = counts.interval
    return f"{counts.difference:+.2f} points ({low:+.2f} to {high:+.2f})"


def verdict(comparison: Comparison, pair: Pair) -> str:
    """Return the conclusion about a pair, in words."""
    a, b = _names(comparison, pair)
    if comparison.predictions[pair.a].digest == comparison.predictions[pair.b].digest:
        return f"{a} and {b} are the same model"
    if pair.better is None:
        return f"no difference can be shown: {_doubt(comparison, pair)}"
    better, other = (a, b) if pair.better == pair.a else (b, a)
    adjusted = ", Holm-adjusted" if len(comparison.pairs) > 1 else ""
    where = f"on {comparison.title} images"
    return f"{better} is better than {other} {where} ({p_text(pair.p_holm)}{adjusted})"


def conclusion(comparison: Comparison) -> list[str]:
    """Say which models are better than which, and between which no difference can be shown.

    Returns sentences; the first has the main finding.
    """
    names, where = comparison.names, f"on {comparison.title} images"
    ranks = sorted(range(len(names)), key=lambda place: comparison.evaluations[place].errors)
    if len({one.digest for one in comparison.predictions}) == 1:
        return [f"{joined(names)} are the same model."]
    if all(pair.better is None for pair in comparison.pairs):
        which = joined(names) if len(names) < 4 else f"these {len(names)} models"
        close = comparison.pair(*sorted((ranks[0], ranks[-1])))
        return [
            f"No difference can be shown between {which} {where}.",
            _how_close(comparison, close),
        ]
    if len(names) == 2:
        (pair,) = comparison.pairs
        first, second, text = _lead(comparison, pair)
        return [f"{first} is better than {second} {where}, by {text}; {p_text(pair.p_value)})."]
    better, alike = _groups(comparison, ranks, where), _undecided(comparison, ranks)
    # The best models share the heading, where no difference can be shown between them.
    leading = [text for leads, text in alike if leads][:1]
    rest = [text for _, text in alike if text not in leading]
    sentences = ["; ".join([better[0], *leading]), *better[1:], *rest]
    # Names of models keep their first letter.
    return [f"{re.sub('^no ', 'No ', sentence)}." for sentence in sentences]


def _names(comparison: Comparison, pair: Pair) -> tuple[str, str]:
    return comparison.names[pair.a], comparison.names[pair.b]


def _doubt(comparison: Comparison, pair: Pair) -> str:
    """Return why the images show no difference between a pair, in words."""
    a, b = _names(comparison, pair)
    images = f"these {pair.n:,} images"
    if not pair.discordant:
        return f"{a} and {b} get the same {pair.both_right:,} of {images} right"
    if math.isnan(pair.detectable):
        return (
            f"only one of {a} and {b} is right on just {pair.discordant:,} of {images}, too "
            "few to tell"
        )
    return f"a difference below {pair.detectable:.2f} points cannot be detected on {images}"


def _lead(comparison: Comparison, pair: Pair) -> tuple[str, str, str]:
    """Return the more accurate model, the other, and by how much, with an open bracket."""
    a, b = _names(comparison, pair)
    low, high = pair.interval
    if pair.difference < 0:
        a, b, low, high = b, a, -high, -low
    return a, b, f"{abs(pair.difference):.2f} points (95% interval {low:.2f} to {high:.2f}"


def _how_close(comparison: Comparison, pair: Pair) -> str:
    """Say how far two models are apart, and why that shows no difference."""
    doubt = _doubt(comparison, pair)
    first, second, text = _lead(comparison, pair)
    if not pair.discordant:
        return f"{doubt}."
    if not pair.difference:
        return f"{first} and {second} are right equally often; {doubt}."
    return f"{first} is ahead of {second} by {text}); {doubt}."


def _groups(comparison: Comparison, ranks: Sequence[int], where: str) -> list[str]:
    """Say which models are better than which; those that beat the same ones share a sentence."""
    beaten: dict[tuple[int, ...], list[int]] = {}
    for place in ranks:
        worse = tuple(
            other
            for other in ranks
            if other != place and comparison.pair(*sorted((place, other))).better == place
        )
        if worse:
            beaten.setdefault(worse, []).append(place)
    texts = []
    for worse, places in beaten.items():
        points = sorted(
            abs(comparison.pair(*sorted(both)).difference)
            for both in itertools.product(places, worse)
        )
        ends = dict.fromkeys(f"{end:.2f}" for end in (points[0], points[-1]))
        models, others = (
            joined([comparison.names[one] for one in ones]) for ones in (places, worse)
        )
        verb = "is" if len(places) == 1 else "are each"
        texts.append(f"{models} {verb} better than {others} {where}, by {' to '.join(ends)} points")
    return texts


def _undecided(comparison: Comparison, ranks: Sequence[int]) -> list[tuple[bool, str]]:
    """Name the largest groups of models between which no difference can be shown.

    With each, whether the most accurate model is in it.
    """
    groups: list[set[int]] = []
    for size in range(len(ranks), 1, -1):
        for places in itertools.combinations(ranks, size):
            pairs = [comparison.pair(*sorted(both)) for both in itertools.combinations(places, 2)]
            known = any(set(places) <= group for group in groups)
            if not known and all(pair.better is None for pair in pairs):
                groups.append(set(places))
    return [
        (ranks[0] in group, _alike(comparison, [place for place in ranks if place in group]))
        for group in groups
    ]


def _alike(comparison: Comparison, places: Sequence[int]) -> str:
    names = joined([comparison.names[place] for place in places])
    if len({comparison.predictions[place].digest for place in places}) == 1:
        return f"{names} are the same model"
    return f"no difference can be shown between {names}"
