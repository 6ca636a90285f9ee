"""Images of a digit set with what the network says of each."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from torch import Tensor

from digitcnn.analysis.figures.style import confidence_text
from digitcnn.digits.digit_set import CLASSES
from digitcnn.ui.parts import picture

TILES_STYLE = """
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); gap: 10px;
  margin: 8px 0; padding: 0; list-style: none; }
.tiles li { border: 1px solid var(--border-color-primary); border-radius: var(--radius-md);
  padding: 8px; font-size: 0.84rem; font-variant-numeric: tabular-nums;
  color: var(--body-text-color); }
.tiles img { width: 84px; height: 84px; image-rendering: pixelated; display: block;
  margin-bottom: 4px; }
.tiles .bars { display: flex; align-items: end; gap: 1px; height: 26px; margin-top: 4px;
  border-bottom: 1px solid var(--border-color-primary); }
.tiles .bars i { flex: 1; background: #3b8fd6; min-height: 1px; }
.tiles .wrong { color: var(--wrong-answer); font-weight: 700; }
.tiles .small { color: var(--body-text-color-subdued); }
h4 { margin: 8px 0; color: var(--body-text-color); }
p { color: var(--body-text-color-subdued); margin: 4px 0; }
@media (max-width: 640px) {
  .tiles { grid-template-columns: repeat(auto-fill, minmax(100px, 1fr)); gap: 6px; }
}
"""


def tiles(
    heading: str,
    images: Tensor,
    labels: Sequence[int],
    probabilities: Tensor,
    places: Sequence[int],
    note: str = "",
) -> str:
    """Images with label, answer, confidence and all ten probabilities.

    images: uint8 [K, 28, 28]. probabilities: [K, 10]. labels, places: one of each per image, the
    latter its place in the digit set.
    """
    shown = "".join(
        _tile(image, label, row.tolist(), place)
        for image, label, row, place in zip(images, labels, probabilities, places, strict=True)
    )
    words = f"<p>{escape(note)}</p>" if note else ""
    return f'<h4>{escape(heading)}</h4>{words}<ol class="tiles">{shown}</ol>'


def _tile(image: Tensor, label: int, probabilities: list[float], place: int) -> str:
    answer = max(range(CLASSES), key=probabilities.__getitem__)
    listed = ", ".join(f"{digit}: {100 * p:.1f} %" for digit, p in enumerate(probabilities))
    bars = "".join(f'<i style="height: {100 * p:.0f}%"></i>' for p in probabilities)
    kind = "wrong" if answer != label else "sure"
    return (
        f'<li><img src="{picture(image)}" alt="image {place}, labelled {label}">'
        f'<span class="{kind}">answer {answer}</span> {confidence_text(probabilities[answer])}<br>'
        f'labelled {label}<br><span class="small">image {place}</span>'
        f'<div class="bars" role="img" aria-label="{listed}" title="{listed}">{bars}</div></li>'
    )
