"""The SVG charts: where things are, what they say to those who do not see them, and escaping."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from digitcnn.web.charts import (
    CHARACTER,
    LEFT,
    RIGHT,
    WIDTH,
    Axis,
    Box,
    Series,
    chart,
    count_axis,
    linear_axis,
    log_axis,
    share_axis,
)

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ElementTree.Element:
    """Parse the chart as XML, which fails on any element left open."""
    return ElementTree.fromstring(str(svg).replace("<svg ", f'<svg xmlns="{SVG[1:-1]}" ', 1))


def texts(svg: str, kind: str) -> list[str]:
    return [
        element.text or ""
        for element in parsed(svg).iter(f"{SVG}text")
        if element.get("class") == kind
    ]


@pytest.mark.parametrize("last", ["12", "2,568", "1,234,567"])
def test_the_last_tick_of_an_axis_is_not_cut_off(last: str) -> None:
    svg = chart("Loss", Axis("Step", 0, 1, [(0, "0"), (1, last)]), share_axis("Share"))
    match = re.search(rf'class="(middle|end)" x="([\d.]+)" y="\d+">{last}<', svg)
    assert match
    assert float(match[2]) + CHARACTER / 2 * len(last) * (match[1] == "middle") <= WIDTH


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([91.2, 97.4], ["90", "92", "94", "96", "98"]),
        ([99.43, 99.60], ["99.40", "99.45", "99.50", "99.55", "99.60"]),
        ([0, 11_280], ["0", "2,500", "5,000", "7,500", "10,000", "12,500"]),
        ([], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([math.nan, 5, math.inf, 5], ["4.97", "4.98", "4.99", "5.00", "5.01", "5.02", "5.03"]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(values: list[float], expected: list[str]) -> None:
    axis = linear_axis("Value", values)
    assert [text for _, text in axis.ticks] == expected
    finite = [value for value in values if math.isfinite(value)]
    assert all(axis.low <= value <= axis.high for value in finite)


def test_an_axis_stays_within_its_bounds_and_covers_its_span() -> None:
    for value in (0.0, 0.05, 50.0, 99.95, 100.0):
        axis = linear_axis("Accuracy (%)", [value], bounds=(0, 100), span=0.2)
        assert 0 <= axis.low <= value <= axis.high <= 100
        assert axis.high - axis.low >= 0.2 - 1e-9


def test_a_logarithmic_axis_has_ticks_at_one_and_three() -> None:
    axis = log_axis("Loss", [2.3, 0.02, 0.0, math.nan])
    assert [text for _, text in axis.ticks] == ["0.01", "0.03", "0.1", "0.3", "1", "3"]
    assert axis.share(axis.low) == 0
    assert axis.share(axis.high) == pytest.approx(1)
    assert axis.share(0) == 0


def test_a_count_axis_shows_whole_numbers_that_do_not_overlap() -> None:
    assert [text for _, text in count_axis("Epoch", 1).ticks] == ["1"]
    assert [text for _, text in count_axis("Epoch", 12).ticks] == [
        "1",
        "2",
        "4",
        "6",
        "8",
        "10",
        "12",
    ]
    assert [text for _, text in count_axis("Pass", 100).ticks][:2] == ["1", "13"]


def test_points_are_where_their_values_are() -> None:
    x, y = count_axis("Epoch", 3), linear_axis("Accuracy", [90, 100])
    svg = chart("Accuracy", x, y, [Series(name="A", points=[(1, 90), (2, 95), (3, 100)])])
    (line,) = parsed(svg).iter(f"{SVG}polyline")
    points = [tuple(map(float, point.split(","))) for point in str(line.get("points")).split()]
    inner = WIDTH - LEFT - RIGHT
    assert [px for px, _ in points] == pytest.approx(
        [LEFT + inner * share for share in (1 / 6, 3 / 6, 5 / 6)], abs=0.1
    )
    grid = [float(m) for m in re.findall(rf'class="grid" d="M{LEFT} ([\d.]+)H', svg)]
    assert points[0][1] == grid[0]
    assert points[2][1] == grid[-1]


def test_points_that_are_not_finite_are_left_out() -> None:
    series = Series(name="A", points=[(1, math.nan), (2, 0.5), (math.inf, 1)], marker="circle")
    svg = chart("Loss", count_axis("Epoch", 2), share_axis("Loss"), [series])
    assert "nan" not in svg
    assert "inf" not in svg
    assert len(list(parsed(svg).iter(f"{SVG}circle"))) == 1


def test_quartiles_and_whiskers_agree_with_numpy() -> None:
    values = [0.2, 0.5, 0.52, 0.55, 0.58, 0.6, 0.61, 0.95]
    svg = chart(
        "Passes", Axis("", 0, 1, []), share_axis(""), boxes=[Box(name="A", values=values, at=0.5)]
    )
    (box,) = parsed(svg).iter(f"{SVG}rect")
    bottom, top = (
        float(m) for m in (re.findall(r'class="grid" d="M\d+ ([\d.]+)H', svg)[i] for i in (0, -1))
    )
    first, third = np.quantile(values, [0.25, 0.75])
    assert float(str(box.get("y"))) == pytest.approx(bottom + (top - bottom) * third, abs=0.1)
    assert float(str(box.get("height"))) == pytest.approx((bottom - top) * (third - first), abs=0.1)
    whiskers = re.search(r"M[\d.]+ [\d.]+V([\d.]+)M[\d.]+ [\d.]+V([\d.]+)M", svg)
    assert whiskers
    assert [float(end) for end in whiskers.groups()] == pytest.approx(
        [bottom + (top - bottom) * 0.5, bottom + (top - bottom) * 0.61], abs=0.1
    )


def test_a_chart_has_a_text_alternative() -> None:
    series = [
        Series(name="Held-out images", points=[(1, 90.0), (2, 97.5), (3, 97.0)]),
        Series(name="No dropout", points=[(0.5, 98.0), (3.5, 98.0)], colour=0),
    ]
    box = Box(name="Shared masks", values=[1.0, 2.0, 3.0], at=0.5)
    svg = chart("Accuracy", count_axis("Epoch", 3), linear_axis("", [90, 98]), series, [box])
    root = parsed(svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", "Accuracy")
    assert root.findtext(f"{SVG}desc") == (
        "Held-out images: 90 at epoch 1, 97 at epoch 3, lowest 90, highest 97.5. No dropout: 98. "
        "Shared masks: 3 values, median 2, from 1 to 3."
    )


def test_an_empty_chart_has_a_placeholder() -> None:
    series = [Series(name="A", points=[])]
    empty = chart("Loss", count_axis("Epoch", 3), log_axis("Loss", []), series, empty="Nothing yet")
    assert texts(empty, "middle")[-1] == "Nothing yet"
    drawn = [Series(name="A", points=[(1, 1.0)])]
    assert "Nothing yet" not in chart(
        "Loss", count_axis("Epoch", 3), log_axis("Loss", [1]), drawn, empty="Nothing yet"
    )


def test_every_text_is_escaped() -> None:
    evil = "<b>&\"'"
    series = Series(name=evil, points=[(1, 1)], marker="diamond", notes=[evil])
    boxes = [Box(name=evil, values=[1.0], at=1, notes=[evil])]
    axis = Axis(evil, 0, 2, [(1, evil)])
    svg = chart(evil, axis, axis, [series, series], boxes, empty=evil)
    assert "<b>" not in svg
    assert parsed(svg).get("aria-label") == evil


def test_a_legend_that_is_too_wide_continues_in_a_row_below() -> None:
    names = ["mnist-with-a-long-name", "synthetic-with-a-long-name", "third"]
    series = [Series(name=name, points=[(1, 1)]) for name in names]
    root = parsed(chart("Loss", count_axis("Epoch", 3), share_axis(""), series))
    places = {
        e.text: (float(str(e.get("x"))), float(str(e.get("y")))) for e in root.iter(f"{SVG}text")
    }
    assert places[names[1]][1] > places[names[0]][1]
    for name in names:
        assert places[name][0] + CHARACTER * len(name) <= WIDTH


def test_bands_intervals_and_radii_are_drawn() -> None:
    series = Series(
        name="A",
        points=[(0.25, 0.5), (0.75, 0.9)],
        marker="circle",
        line=False,
        radii=[3, 8],
        band=[(0.0, 0.2, 0.4), (1.0, 0.6, 0.8)],
        intervals=[(0.25, 0.4, 0.6)],
    )
    root = parsed(chart("Calibration", share_axis("Confidence"), share_axis("Accuracy"), [series]))
    assert [c.get("r") for c in root.iter(f"{SVG}circle")] == ["3.0", "8.0"]
    assert not list(root.iter(f"{SVG}polyline"))
    (band,) = root.iter(f"{SVG}polygon")
    assert len(str(band.get("points")).split()) == 4
    assert len([p for p in root.iter(f"{SVG}path") if p.get("class") == "interval"]) == 1
