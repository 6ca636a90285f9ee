"""The style of every figure: background, colour-blind safe colours, headings, legends.

Figures are bare ``matplotlib.figure.Figure``: nothing here touches pyplot or rcParams, which
belong to the whole process and its threads. Every figure is nine inches wide: on the page, 900
pixels at most, its text is 12 to 14 pixels high. The background is opaque and white, as in print.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

PAPER, INK, MUTED, GRID = "#ffffff", "#202428", "#5f656d", "#d9dce1"
# Okabe and Ito (2008), Color Universal Design. Every colour has its own marker and hatch.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "D", "^", "v", "P")
HATCHES = ("", "////", "....", "xxxx", "----", "++++")
WRONG = "#D55E00"

WIDTH, DPI = 9.0, 150  # inches, pixels per inch
TITLE, SUBTITLE, LABEL, SMALL = 14, 10, 10, 9
# Inches of a title of one line, of its further lines and of those below it, and how many characters
# of the title and of the lines below it fit into an inch.
_HEADER_TITLE, _TITLE_LINE, _HEADER_LINE = 0.46, 0.25, 0.2
_TITLE_CHARACTERS, _CHARACTERS_PER_INCH = 8, 13

Floats = NDArray[np.float32]
Grid = Literal["x", "y", "both", ""]
LegendPlace = Literal["best", "upper left", "upper right", "lower left", "lower right"]


class Sheet(Figure):
    """A figure whose text is never parsed as a formula, whatever dollar signs a name has."""

    def draw(self, renderer: RendererBase) -> None:
        """Draw the figure with its texts as they are: none of them is a formula."""
        # Only now do ticks and legends exist.
        for text in self.findobj(Text):
            assert isinstance(text, Text)
            text.set_parse_math(False)
        super().draw(renderer)


def sheet(title: str, subtitle: str, height: float) -> Figure:
    """Return an empty figure with its title and the lines below it.

    height: in inches, with a title of one line; further lines of a long title add to it.
    """
    titles = textwrap.wrap(title, round(WIDTH * _TITLE_CHARACTERS))
    further = _TITLE_LINE * (len(titles) - 1)
    height += further
    figure = Sheet(figsize=(WIDTH, height), dpi=DPI, facecolor=PAPER)
    lines = [
        line
        for part in subtitle.split("\n")
        for line in textwrap.wrap(part, round(WIDTH * _CHARACTERS_PER_INCH))
    ]
    title_height = _HEADER_TITLE + further
    header = title_height + _HEADER_LINE * len(lines)
    figure.text(
        0.16 / WIDTH, 1 - 0.12 / height, "\n".join(titles),
        fontsize=TITLE, fontweight="bold", color=INK, va="top",
    )  # fmt: skip
    figure.text(
        0.16 / WIDTH, 1 - title_height / height, "\n".join(lines),
        fontsize=SUBTITLE, color=MUTED, va="top", linespacing=1.3,
    )  # fmt: skip
    share = header / height
    figure.set_layout_engine(
        "constrained", rect=(0.01, 0.01, 0.98, 0.99 - share), w_pad=0.08, h_pad=0.06
    )
    return figure


def dress(axes: Axes, *, x: str = "", y: str = "", title: str = "", grid: Grid = "y") -> None:
    """Set the labels, ticks and grid of one panel."""
    axes.set_facecolor(PAPER)
    axes.set_xlabel(x, fontsize=LABEL, color=INK)
    axes.set_ylabel(y, fontsize=LABEL, color=INK)
    heading(axes, title)
    axes.tick_params(colors=INK, labelsize=SMALL, length=3, which="both")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)


def image_panel(axes: Axes, title: str = "") -> None:
    """Turn a panel into one for an image: no lines, no ticks."""
    axes.set_axis_off()
    heading(axes, title)


def colour_bar(figure: Figure, image: AxesImage, axes: Axes | list[Axes], label: str) -> None:
    """Add the colour scale of an image beside it."""
    bar = figure.colorbar(image, ax=axes, shrink=0.75, aspect=28, pad=0.02)
    bar.set_label(label, fontsize=SMALL, color=INK)
    bar.ax.tick_params(labelsize=SMALL, colors=INK)
    bar.outline.set_visible(False)


def heading(axes: Axes, title: str) -> None:
    """Set the title of one panel, in as many lines as its share of the figure's width needs."""
    columns = spec.get_gridspec().ncols if (spec := axes.get_subplotspec()) else 1
    room = round(WIDTH / columns * _CHARACTERS_PER_INCH * 0.74)
    title = "\n".join(textwrap.fill(line, room) for line in title.split("\n"))
    axes.set_title(title, fontsize=LABEL, color=INK, loc="left", fontweight="bold")


def note(axes: Axes, text: str) -> None:
    """Write a sentence into a panel that has nothing to draw."""
    axes.text(
        0.5, 0.5, text,
        transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=LABEL, wrap=True,
    )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])


def write(axes: Axes, x: float, y: float, text: str, **looks: Any) -> None:
    """Write text inside a panel, in its coordinates.

    It is left out of the layout, which hundreds of texts would slow down by half.
    """
    axes.text(x, y, text, in_layout=False, **looks)


def legend(axes: Axes, where: LegendPlace = "best", columns: int = 1) -> None:
    """Add the legend of one panel."""
    axes.legend(
        loc=where, ncols=columns, fontsize=SMALL, facecolor=PAPER, edgecolor=GRID, labelcolor=INK,
        framealpha=0.9,
    )  # fmt: skip


def percent_axis(axis: Axis) -> None:
    """Set the ticks of an axis in percent, with as many decimals as they need."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_major_locator(MaxNLocator(6))


def error_bars(
    values: Sequence[float], intervals: Sequence[tuple[float, float]]
) -> list[list[float]]:
    """Return intervals as ``errorbar`` takes them, as distances below and above the values."""
    # Rounding may put an end on the wrong side by 1e-17.
    pairs = list(zip(values, intervals, strict=True))
    return [
        [max(0.0, value - low) for value, (low, _) in pairs],
        [max(0.0, high - value) for value, (_, high) in pairs],
    ]


# Dark ink on white; the space between the images has the colour of the background.
_INK = LinearSegmentedColormap.from_list("ink", ["#ffffff", "#101214"])
INK_ON_WHITE: Colormap = _INK.with_extremes(bad=PAPER)


def mosaic(images: Tensor | Floats, columns: int, gap: int = 2, below: int = 0) -> Floats:
    """Arrange images [K, H, W] in rows of ``columns``, with NaN between them and in empty places.

    gap: pixels between images. below: further pixels under every row, for text.
    """
    tiles = np.asarray(images, dtype=np.float32)
    count, height, width = tiles.shape
    rows = max(1, math.ceil(count / columns))
    pitch_y, pitch_x = height + gap + below, width + gap
    whole = np.full((rows * pitch_y - gap, columns * pitch_x - gap), np.nan, dtype=np.float32)
    for index, tile in enumerate(tiles):
        top, left = (index // columns) * pitch_y, (index % columns) * pitch_x
        whole[top : top + height, left : left + width] = tile
    return whole
