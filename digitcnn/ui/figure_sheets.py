"""The nine figures as the Evaluate tab shows them: drawn once, kept in memory, never as files."""

from __future__ import annotations

import base64
import io
import threading
import zipfile
from collections import OrderedDict
from html import escape

from digitcnn.analysis import figures
from digitcnn.analysis.figures import NAMES, Findings

# Some forty evaluations of nine figures each.
KEPT_BYTES = 64 << 20

CAPTIONS = {
    "01_training_history": "How loss and accuracy moved from epoch to epoch.",
    "02_sample_data": "The same digits from each set, as the network gets them.",
    "03_predictions": "The first images and the most confident errors, with answer and confidence.",
    "04_cross_dataset_evaluation": "How accurate the network is on each set, and on which digits.",
    "05_conv_filters": "The 32 filters of the first layer on one scale.",
    "06_feature_maps": "One digit on its way through all layers.",
    "07_confusion_matrix": "Which digits are taken for which; right answers are muted.",
    "08_confidence_analysis": "How far the network's confidence can be believed.",
    "09_stability_test": "How the accuracy moves while dropout stays on.",
}

STYLE = """
figure { margin: 0; color: var(--body-text-color); }
button { all: unset; display: block; width: 100%; cursor: zoom-in; }
button:focus-visible { outline: 2px solid var(--primary-500); outline-offset: 2px; }
img { width: 100%; height: auto; display: block; border-radius: var(--radius-md); }
figcaption { font-size: 0.9rem; padding: 4px 0 12px; }
dialog { border: 0; padding: 0; max-width: 98vw; max-height: 96vh; background: transparent;
  overflow: auto; }
dialog::backdrop { background: rgb(0 0 0 / 0.7); }
dialog img { width: auto; max-width: 98vw; cursor: zoom-out; }
@media (max-width: 640px) { dialog img { max-width: none; } }
"""

# A click opens the figure in full, on a phone larger than the screen; another one, or Escape,
# closes it.
OPEN_JS = """
element.addEventListener("click", (event) => {
  const dialog = element.querySelector("dialog");
  if (!dialog) return;
  if (dialog.open) dialog.close();
  else if (event.target.closest("figure > button")) {
    dialog.querySelector("img").src = element.querySelector("figure > button img").src;
    dialog.showModal();
  }
});
"""


class FigureSheets:
    """Figures as PNG files in memory, at most ``limit`` bytes, the oldest go first. Thread-safe."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()

    def png(self, name: str, findings: Findings, digest: str, passes: int) -> bytes:
        """The figure of that name, drawn where it is not kept.

        digest: of the network. passes: of the stability test, whose results the findings hold.
        """
        key = self._key(name, findings, digest, passes)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept
        drawn = figures.png(figures.draw(name, findings))
        with self._lock:
            self._kept[key] = drawn
            total = sum(map(len, self._kept.values()))
            while total > self._limit and len(self._kept) > 1:
                total -= len(self._kept.popitem(last=False)[1])
        return drawn

    def has(self, name: str, findings: Findings, digest: str, passes: int) -> bool:
        """Whether it is kept, so that what only drawing needs need not be computed."""
        with self._lock:
            return self._key(name, findings, digest, passes) in self._kept

    @staticmethod
    def _key(name: str, findings: Findings, digest: str, passes: int) -> tuple[object, ...]:
        sets = tuple((d.name, d.split, d.fingerprint) for d in findings.digit_sets)
        example = findings.example if name == "06_feature_maps" else None
        count = passes if name == "09_stability_test" else None
        return name, findings.model, digest, findings.temperature, sets, example, count


def figure_html(name: str, png: bytes) -> str:
    """One of the nine with its caption, which opens in full."""
    return opening_figure(name, CAPTIONS[name], png, caption=f"{name[:2]} · {CAPTIONS[name]}")


def opening_figure(name: str, alt: str, png: bytes, *, caption: str = "") -> str:
    """A figure that opens in full where ``OPEN_JS`` runs. Texts are escaped."""
    address = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    name, alt = escape(name), escape(alt)
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure data-figure="{name}"><button type="button" aria-label="Open {name} in full">'
        f'<img src="{address}" alt="{alt}"></button>{below}</figure>'
        f'<dialog aria-label="{alt}"><img alt="{alt}"></dialog>'
    )


def plain_figure(alt: str, png: bytes) -> str:
    """A figure without a number."""
    address = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    return f'<figure><img src="{address}" alt="{escape(alt)}"></figure>'


def zip_of(pngs: dict[str, bytes]) -> bytes:
    """All figures in one zip file. PNG is compressed already."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in NAMES:
            archive.writestr(f"{name}.png", pngs[name])
    return file.getvalue()
