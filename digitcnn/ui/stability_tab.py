"""The Stability tab: how the accuracy moves, and which answers flip, when dropout stays on.

The numbers are ``analysis.stability``'s; the command line's are the same, with the same seed.
"""

from __future__ import annotations

import base64
import io
import queue
import threading
import time
from collections.abc import Iterator
from html import escape
from typing import Any

import gradio as gr
from PIL import Image

from digitcnn.analysis import stability
from digitcnn.analysis.metrics import accuracy_text, percent
from digitcnn.analysis.predictions import Predictions
from digitcnn.analysis.stability import MASKS, MOST_PASSES, Masks, PassResult, Stability
from digitcnn.digits.digit_set import CLASSES, DigitSet
from digitcnn.errors import CheckpointError, DigitCNNError, DigitSetError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.ui.models import Models
from digitcnn.ui.stability_charts import BOX_WIDTH, LINE_WIDTH, NAMES, box_chart, line_chart
from digitcnn.ui.tables import Cell, Value, table, table_view
from digitcnn.ui.toasts import toasting
from digitcnn.workspace import Workspace

# The page is told so often; more would only keep the browser busy.
SECONDS_BETWEEN_LOOKS = 0.25
# At most so many runs of passes at a time, whoever presses; the others wait for their turn.
AT_A_TIME = 2
LEAST_STABLE = 12

INTRODUCTION = (
    "Dropout stays on and the whole set is answered again and again. The passes of two kinds are "
    "told apart: with **independent masks** every image has neurons of its own switched off; with "
    "**one mask per pass** the same neurons are off for all images, so each pass is a thinned "
    "network."
)

_CHARTS_STYLE = """
.charts { display: flex; flex-wrap: wrap; gap: 12px; }
svg { flex: 1 1 300px; width: 100%; min-width: 0; font-family: inherit; }
text { font-size: 12px; fill: var(--body-text-color); }
.title { font-weight: 600; font-size: 13px; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.grid { stroke: var(--border-color-primary); stroke-width: 1; fill: none; }
.reference { stroke: var(--body-text-color-subdued); stroke-width: 1.4; stroke-dasharray: 6 4;
  fill: none; }
.median { stroke: var(--body-text-color); stroke-width: 2; fill: none; }
polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
@media (max-width: 640px) { .charts.wide text { font-size: 15px; } }
"""

_GALLERY_STYLE = """
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


def build_stability_tab(workspace: Workspace, models: Models, model_select: gr.Dropdown) -> None:
    """Build the tab inside an open ``gr.Tab``.

    model_select: its value is the name of the checkpoint that is looked at.
    """
    gr.Markdown(INTRODUCTION)
    with gr.Row(equal_height=True, elem_classes="model-row"):
        digits = gr.Dropdown(
            _test_sets(workspace),
            value=_default_set(workspace),
            label="Digit set",
            info="what is answered",
            scale=2,
            elem_id="stability-digits",
        )
        passes = gr.Slider(
            1,
            MOST_PASSES,
            value=stability.usual_passes(None),
            step=1,
            label="Passes of each kind",
            info="at first the model's epochs of training",
            scale=3,
            elem_id="stability-passes",
        )
        run = gr.Button(
            "Measure", variant="primary", scale=1, min_width=120, elem_id="stability-run"
        )
    status = gr.HTML(_status("Press Measure."), elem_id="stability-status")
    with gr.Row(equal_height=False):
        # As wide as the charts' own widths, so that their letters are of one size.
        with gr.Column(scale=LINE_WIDTH // 20, min_width=300):
            line = gr.HTML(
                _chart(line_chart("", {}, stability.usual_passes(None), None), wide=True),
                css_template=_CHARTS_STYLE,
                apply_default_css=False,
                elem_id="stability-line",
            )
        with gr.Column(scale=BOX_WIDTH // 20, min_width=240):
            box = gr.HTML(
                _chart(box_chart("", _NONE, None)),
                css_template=_CHARTS_STYLE,
                apply_default_css=False,
                elem_id="stability-box",
            )
    summary = table_view(elem_id="stability-table")
    words = gr.HTML("", elem_id="stability-words")
    flips = table_view(elem_id="stability-flips")
    gallery = gr.HTML(
        "", css_template=_GALLERY_STYLE, apply_default_css=False, elem_id="stability-gallery"
    )
    results = [status, run, line, box, summary, words, flips, gallery]

    @toasting
    def sets_here() -> gr.Dropdown:
        """What is on this machine now, not when the app was started; the choice stays."""
        return gr.Dropdown(_test_sets(workspace))

    def passes_of(name: str | None) -> int:
        try:
            return stability.usual_passes(models.get(name).details.epochs)
        except CheckpointError:
            # The selector follows within a second; what is pressed meanwhile says so.
            return stability.usual_passes(None)

    def wait() -> list[Any]:
        return [_status("Waiting for its turn."), gr.Button(interactive=False)]

    @toasting
    def measure(name: str | None, digits: Any, passes: Any) -> Iterator[list[Any]]:
        try:
            for looks in measured(workspace, models, name, digits, passes):
                yield [looks.get(part, gr.skip()) for part in PARTS]
        except DigitCNNError:
            yield [_status("Nothing was measured."), gr.Button(interactive=True)] + (
                [gr.skip()] * (len(PARTS) - 2)
            )
            raise

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    # Without triggers: when the page loads and whenever an input changes.
    gr.on(None, sets_here, [], digits, queue=False, **quiet)
    gr.on(None, passes_of, model_select, passes, queue=False, **quiet)
    run.click(wait, None, [status, run], queue=False, **quiet).then(
        measure, [model_select, digits, passes], results, concurrency_limit=AT_A_TIME, **quiet
    )


# The order of the outputs.
PARTS = ("status", "run", "line", "box", "table", "words", "flips", "gallery")

# Before the first pass.
_NONE: dict[Masks, tuple[float, ...]] = dict.fromkeys(MASKS, ())

# Some of the outputs, by their names in PARTS; the others stay as they are.
Looks = dict[str, Any]


def measured(
    workspace: Workspace, models: Models, name: str | None, digits: Any, passes: Any
) -> Iterator[Looks]:
    """What the page shows from the press of the button to the end.

    Raises DigitCNNError before anything is shown where nothing can be measured.
    """
    if not isinstance(digits, str):
        raise DigitSetError("No digit set is chosen; choose one beside the button.")
    count = int(passes) if isinstance(passes, float) and passes.is_integer() else passes
    checkpoint = models.get(name)
    digit_set = workspace.catalog.open(digits, "test")
    title = f"{digit_set.name} {digit_set.split}"
    network, scale = checkpoint.network, checkpoint.details.temperature or 1.0
    # A wrong number of passes is refused before anything is computed.
    stability.check_passes(count)
    yield {
        "status": _status(f"Computing the features of {title}.", 0.0),
        "line": _chart(line_chart(title, {}, count, None), wide=True),
        "box": _chart(box_chart(title, _NONE, None)),
        **dict.fromkeys(("table", "words", "flips", "gallery"), ""),
    }
    predictions: Predictions | None = None
    for step in _walk(workspace, checkpoint, digit_set):
        if isinstance(step, Predictions):
            predictions = step
        else:
            done, total = step
            yield {
                "status": _status(
                    f"Computing the features of {title}: {done:,} of {total:,} images.",
                    done / total,
                )
            }
    assert predictions is not None
    without = float(predictions.right.double().mean())
    accuracies: dict[Masks, list[float]] = {masks: [] for masks in MASKS}
    found: list[Stability] = []
    both = zip(
        *(
            stability.passes(network, predictions, count, masks=masks, temperature=scale)
            for masks in MASKS
        ),
        strict=True,
    )
    looked = 0.0
    for results in both:
        for masks, result in zip(MASKS, results, strict=True):
            if isinstance(result, PassResult):
                accuracies[masks].append(result.accuracy)
            else:
                found.append(result)
        if found or time.monotonic() - looked >= SECONDS_BETWEEN_LOOKS:
            looked = time.monotonic()
            done = len(accuracies["independent"])
            yield {
                "status": _status(f"Pass {done} of {count} on {title}.", done / count),
                "line": _chart(line_chart(title, accuracies, count, without), wide=True),
            }
    yield {
        "status": _status(_told(checkpoint, found[0])),
        "run": gr.Button(interactive=True),
        "box": _chart(box_chart(title, accuracies, without)),
        "table": summary_table(found),
        "words": words_of(found),
        "flips": flips_table(found),
        "gallery": gallery_of(found, digit_set),
    }


def _walk(
    workspace: Workspace, checkpoint: Checkpoint, digit_set: DigitSet
) -> Iterator[tuple[int, int] | Predictions]:
    """Images done and images in all, now and then, and the predictions with their features last.

    They are computed in a thread of their own, which ends early when nobody listens any more.
    """
    told: queue.SimpleQueue[tuple[int, int] | Predictions | Exception] = queue.SimpleQueue()
    left = threading.Event()
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        if left.is_set():
            raise _NobodyListensError
        if time.monotonic() - last >= SECONDS_BETWEEN_LOOKS:
            last = time.monotonic()
            told.put((done, total))

    def compute() -> None:
        try:
            told.put(workspace.predict(checkpoint, digit_set, progress=progress, features=True))
        except Exception as error:
            told.put(error)

    threading.Thread(target=compute, name="stability", daemon=True).start()
    try:
        while True:
            step = told.get()
            if isinstance(step, Exception):
                raise step
            yield step
            if isinstance(step, Predictions):
                return
    finally:
        left.set()


class _NobodyListensError(Exception):
    """Ends a walk whose page was closed."""


# --- What is shown -------------------------------------------------------------------------------


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
            "deviation",
            "minimum",
            "maximum",
            "chance alone",
            "at most",
            "verdict",
        ],
        rows,
        label=f"Accuracy over {_count(result.passes, 'pass', 'passes')} of each kind on "
        f"{_count(result.n, 'image', 'images')} of {result.title}; standard deviations in points",
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
                f'<li><img src="{_picture(digit_set, image.index)}" width="84" height="84" '
                f'alt="image {image.index}, a {image.label}">'
                f"<div>a <strong>{image.label}</strong>, without dropout {image.answer}</div>"
                f'<div class="votes">votes {shown}</div>'
                f'<div class="small">entropy {image.predictive_entropy:.3f}, mutual information '
                f"{image.mutual_information:.3f} nats</div>"
                f'<div class="small">image {image.index}</div></li>'
            )
        parts.append(f'<ul class="least">{"".join(items)}</ul>')
    parts.append(
        "<p>Votes: how many passes answered which digit, the label in bold. Entropy: of the mean "
        "probabilities. Mutual information: the part of it on which the passes disagree.</p>"
    )
    return "".join(parts)


_RIGHT = ' class="right"'
_DASH = Cell("–", float("nan"))


def _picture(digit_set: DigitSet, index: int) -> str:
    """One image as a data address: dark ink on white, as it was written."""
    file = io.BytesIO()
    Image.fromarray(255 - digit_set.images[index].numpy()).save(file, format="png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _share(fraction: float) -> Cell:
    return Cell(percent(fraction), fraction)


def _points(fraction: float) -> Cell:
    """A deviation as points; ``table`` shows a dash for NaN."""
    return Cell(f"{100 * fraction:.2f}", fraction)


def _count(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"


def _told(checkpoint: Checkpoint, result: Stability) -> str:
    return (
        f"{checkpoint.name} without dropout: {accuracy_text(result.accuracy, result.n)} on "
        f"{_count(result.n, 'image', 'images')} of {result.title}."
    )


def _status(text: str, share: float | None = None) -> str:
    bar = (
        ""
        if share is None
        else f'<div class="bar" role="progressbar" aria-label="{escape(text)}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{100 * share:.0f}">'
        f'<div style="width: {100 * share:.1f}%"></div></div>'
    )
    running = str(share is not None).lower()
    return (
        f'<div class="status" data-running="{running}" style="min-height: 46px" '
        f'aria-live="polite"><div style="margin-bottom: 6px">{escape(text)}</div>{bar}</div>'
    )


def _chart(svg: str, wide: bool = False) -> str:
    """wide: needs larger letters where the page is narrow."""
    return f'<div class="charts{" wide" * wide}">{svg}</div>'


def _test_sets(workspace: Workspace) -> list[tuple[str, str]]:
    return [
        (f"{entry.name} ({entry.n:,} images)", entry.name)
        for entry in workspace.catalog.entries()
        if entry.split == "test" and entry.present
    ]


def _default_set(workspace: Workspace) -> str:
    """MNIST where it is; synthetic digits are everywhere."""
    return "mnist" if workspace.catalog.has("mnist", "test") else "synthetic"
