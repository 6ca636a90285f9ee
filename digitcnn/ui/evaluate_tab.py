"""The Evaluate tab: how good a network is on several test sets, where it errs, and why.

One forward pass per set, kept for the next time; every number, figure and image is made of its
answers. Nothing but the nine figures of a run is written, and only for the owner.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
import torch

from digitcnn.analysis import figures
from digitcnn.analysis.figures import NAMES, Findings
from digitcnn.analysis.gap import own_kind_first, waterfall
from digitcnn.analysis.metrics import accuracy_text, evaluate, gap
from digitcnn.analysis.neighbours import label_suspects
from digitcnn.analysis.predictions import Predictions, Progress
from digitcnn.analysis.stability import (
    MASKS,
    MOST_PASSES,
    Stability,
    check_passes,
    passes,
    usual_passes,
)
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.errors import CheckpointError, DigitCNNError, DigitSetError
from digitcnn.files import atomic_write
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.ui import evaluation_view as view
from digitcnn.ui import figure_sheets
from digitcnn.ui.access import Access
from digitcnn.ui.background import watched
from digitcnn.ui.figure_sheets import FigureSheets
from digitcnn.ui.models import Models
from digitcnn.ui.tables import data_link, table_view
from digitcnn.ui.toasts import toasting
from digitcnn.workspace import Workspace

# As many as the figures have colours.
MOST_SETS = 6
TILES = 60
# More would keep the machine busy for a minute, and would not be a list to look through.
MOST_ERRORS_FOR_SUSPECTS = 3000
ANY, ANY_WRONG = "any", "any wrong"
DIGITS = [str(digit) for digit in range(10)]

R = TypeVar("R")

# Some of the outputs, by name; the others stay as they are.
Looks = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """What the page shows: names of model and sets, and the network's digest."""

    model: str = ""
    digest: str = ""
    sets: tuple[str, ...] = ()


def build_evaluate_tab(
    workspace: Workspace,
    models: Models,
    access: Access,
    owner_token: gr.Textbox,
    model_select: gr.Dropdown,
    page: gr.Blocks,
) -> None:
    """Build the tab inside an open ``gr.Tab`` of ``page``.

    model_select: its value is the name of the checkpoint that is evaluated.
    """
    sheets = FigureSheets()
    gr.Markdown(
        "Score the model on test sets it has never seen: accuracy with its 95 % interval, "
        "calibration, nine figures, and the very images it gets wrong."
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300):
            digits = gr.CheckboxGroup(
                _choices(workspace),
                value=_defaults(workspace),
                label="Test sets",
                info=f"on this machine; up to {MOST_SETS}",
                elem_id="evaluate-digits",
            )
            fetch = gr.Button(
                "Fetch EMNIST digits, test set (10 MB)",
                size="sm",
                visible=not workspace.catalog.has("emnist-digits", "test"),
                elem_id="evaluate-fetch",
            )
            fetch_status = gr.Markdown(visible=False, elem_id="evaluate-fetch-status")
        with gr.Column(scale=2, min_width=280):
            count = gr.Slider(
                1,
                MOST_PASSES,
                value=usual_passes(None),
                step=1,
                label="Passes of the stability figure",
                info="at first the model's epochs of training",
                elem_id="evaluate-passes",
            )
            run = gr.Button("Evaluate", variant="primary", elem_id="evaluate-run")
    status = gr.HTML(view.status("Press Evaluate."), elem_id="evaluate-status")
    table = table_view(elem_id="evaluate-table")
    words = gr.HTML(css_template=view.LINKS_STYLE, elem_id="evaluate-words")
    with gr.Accordion("Per digit", open=False):
        per_digit = table_view(elem_id="evaluate-per-digit")

    gr.Markdown("### Figures")
    with gr.Row(equal_height=True, elem_classes="model-row"):
        example_digit = gr.Dropdown(
            [ANY, *DIGITS], value=ANY, label="Digit to follow (figure 06)",
            info="of the first set", elem_id="evaluate-example-digit",
        )  # fmt: skip
        example = gr.Number(
            0, precision=0, minimum=0, label="Which of them", info="counted from 0",
            elem_id="evaluate-example",
        )  # fmt: skip
        zip_button = gr.Button("Zip of the nine", min_width=140, elem_id="evaluate-zip")
    zip_link = gr.HTML(elem_id="evaluate-zip-link")
    with gr.Row(elem_id="evaluate-gallery", equal_height=False):
        gallery = [
            gr.HTML(
                css_template=figure_sheets.STYLE,
                js_on_load=figure_sheets.OPEN_JS,
                apply_default_css=False,
                min_width=360,
                elem_id=f"evaluate-figure-{name[:2]}",
            )
            for name in NAMES
        ]

    gr.Markdown("### Errors\nChoose a cell of a confusion matrix, or the digits below it.")
    matrices = gr.HTML(
        css_template=view.MATRICES_STYLE,
        js_on_load=view.MATRICES_JS,
        apply_default_css=False,
        elem_id="evaluate-matrices",
    )
    with gr.Row():
        error_set = gr.Dropdown([], label="Digit set", elem_id="evaluate-errors-digits")
        true_digit = gr.Dropdown(
            [ANY, *DIGITS], value=ANY, label="True digit", elem_id="evaluate-true"
        )
        predicted = gr.Dropdown(
            [ANY_WRONG, *DIGITS], value=ANY_WRONG, label="Answer", elem_id="evaluate-predicted"
        )
        suspects = gr.Button("Suspected label errors", elem_id="evaluate-suspects")
    errors = gr.HTML(
        css_template=view.TILES_STYLE, apply_default_css=False, elem_id="evaluate-errors"
    )

    gr.Markdown(
        "### Where the gap comes from\nThe set above as it is, then in MNIST framing, then without "
        "images that nearly repeat a training image."
    )
    gap_run = gr.Button("Take the gap apart", elem_id="evaluate-gap-run")
    gap_status = gr.HTML(elem_id="evaluate-gap-status")
    gap_figure = gr.HTML(
        css_template=figure_sheets.STYLE, apply_default_css=False, elem_id="evaluate-gap"
    )
    shown = gr.State(Shown())

    parts: dict[str, Any] = {
        "status": status, "run": run, "table": table, "words": words, "per_digit": per_digit,
        **dict(zip(NAMES, gallery, strict=True)), "matrices": matrices, "error_set": error_set,
        "true": true_digit, "predicted": predicted, "errors": errors, "shown": shown,
        "zip": zip_link, "gap_status": gap_status, "gap": gap_figure,
    }  # fmt: skip
    outputs = list(parts.values())

    def updates(looks: Looks) -> list[Any]:
        return [looks.get(part, gr.skip()) for part in parts]

    @toasting
    def sets_here() -> tuple[Any, Any]:
        """What is on this machine now, not when the app was started."""
        return (
            gr.CheckboxGroup(_choices(workspace), value=_defaults(workspace)),
            gr.Button(visible=not workspace.catalog.has("emnist-digits", "test")),
        )

    def passes_of(name: str | None) -> int:
        try:
            return usual_passes(models.get(name).details.epochs)
        except CheckpointError:
            # The selector follows within a second; what is pressed meanwhile says so.
            return usual_passes(None)

    def wait() -> list[Any]:
        return [view.status("Waiting for its turn."), gr.Button(interactive=False)]

    @toasting
    def score(
        request: gr.Request,
        token: str,
        name: str | None,
        chosen: Any,
        digit: Any,
        place: Any,
        n: Any,
    ) -> Iterator[list[Any]]:
        try:
            evaluated = Evaluating(workspace, models, sheets, name, chosen, n)
            keep = access.is_owner(request, token)
            for looks in evaluated.steps(digit, place, keep=keep):
                yield updates(looks)
        except DigitCNNError:
            looks = {"status": view.status("Nothing more was evaluated."), "run": _ready()}
            yield updates(looks)
            raise

    @toasting
    def follow(now: Shown, digit: Any, place: Any, n: Any) -> str:
        if not now.sets:
            return ""
        evaluated = Evaluating(workspace, models, sheets, now.model, list(now.sets), n)
        return evaluated.feature_maps(digit, place)

    @toasting
    def pack(now: Shown, digit: Any, place: Any, n: Any) -> str:
        if not now.sets:
            raise DigitSetError("There are no figures yet; press Evaluate first.")
        evaluated = Evaluating(workspace, models, sheets, now.model, list(now.sets), n)
        pngs = evaluated.all_figures(digit, place)
        name = f"{now.model}-figures.zip"
        return data_link(figure_sheets.zip_of(pngs), "application/zip", name, name)

    @toasting
    def browse(now: Shown, name: Any, true: Any, answer: Any) -> str:
        return error_tiles(workspace, models, now, name, true, answer)

    @toasting
    def pick(now: Shown, event: gr.EventData) -> list[Any]:
        cell = event._data if isinstance(event._data, dict) else {}
        name, true, answer = (cell.get(key) for key in ("digits", "true", "predicted"))
        made = error_tiles(workspace, models, now, name, str(true), str(answer))
        return [gr.Dropdown(value=name), str(true), str(answer), made]

    @toasting
    def suspect(now: Shown, name: Any) -> Iterator[str]:
        yield view.status("Comparing with the training images.")
        try:
            yield suspect_tiles(workspace, models, now, name)
        except DigitCNNError as error:
            yield view.status(str(error))

    @toasting
    def take_apart(now: Shown, name: Any) -> Iterator[list[Any]]:
        try:
            yield from gap_looks(workspace, models, now, name)
        except DigitCNNError as error:
            yield [view.status(str(error)), ""]

    @toasting
    def fetch_emnist(request: gr.Request, token: str) -> Iterator[list[Any]]:
        access.require_owner(request, token, to="fetch a digit set")
        yield from _fetch(workspace)

    owner: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    quiet: dict[str, Any] = {**owner, "queue": False}
    page.load(sets_here, None, [digits, fetch], **quiet)
    # Without triggers: when the page loads and whenever the selection changes.
    gr.on(None, passes_of, model_select, count, **quiet)
    run.click(wait, None, [status, run], **quiet).then(
        score,
        [owner_token, model_select, digits, example_digit, example, count],
        outputs,
        js=access.WITH_TOKEN_JS,
        **owner,
    )
    for control in (example_digit, example):
        control.input(
            follow,
            [shown, example_digit, example, count],
            gallery[NAMES.index("06_feature_maps")],
            **owner,
        )
    zip_button.click(pack, [shown, example_digit, example, count], zip_link, **owner).success(
        None, js="() => document.querySelector('#evaluate-zip-link a')?.click()", **owner
    )
    for choice in (error_set, true_digit, predicted):
        choice.input(browse, [shown, error_set, true_digit, predicted], errors, **owner)
    matrices.click(pick, [shown], [error_set, true_digit, predicted, errors], **owner)
    suspects.click(suspect, [shown, error_set], errors, **owner)
    gap_run.click(take_apart, [shown, error_set], [gap_status, gap_figure], **owner)
    fetch.click(
        fetch_emnist, [owner_token], [fetch_status, fetch, digits], js=access.WITH_TOKEN_JS, **owner
    )


class Evaluating:
    """One evaluation, from the press of the button to the last figure.

    name: of the checkpoint. chosen: names of test sets, from anybody. passes: of the stability
    figure. Raises a DigitCNNError for what cannot be evaluated.
    """

    def __init__(
        self,
        workspace: Workspace,
        models: Models,
        sheets: FigureSheets,
        name: str | None,
        chosen: Any,
        passes: Any,
    ) -> None:
        self._workspace, self._sheets = workspace, sheets
        self._passes = int(passes) if isinstance(passes, float) and passes.is_integer() else passes
        check_passes(self._passes)
        names = _set_names(chosen)
        self.checkpoint = models.get(name)
        self.details = self.checkpoint.details
        self.digit_sets = [
            workspace.catalog.open(wanted, "test")
            for wanted in own_kind_first(names, self.details.digits)
        ]

    def steps(self, digit: Any, place: Any, *, keep: bool) -> Iterator[Looks]:
        """What the page shows, step by step. keep: write the figures into the run's folder."""
        example = example_of(self.digit_sets[0], digit, place)
        texts = ("table", "words", "per_digit", "matrices", "errors", "zip", "gap_status", "gap")
        yield dict.fromkeys((*texts, *NAMES), "")
        predictions = []
        for digit_set in self.digit_sets:
            walk = watched(_prediction(self._workspace, self.checkpoint, digit_set, False))
            found = yield from _told(walk, f"{digit_set.name} {digit_set.split}", "images")
            predictions.append(found)
        findings = self._findings(predictions, example)
        yield self._numbers(findings)
        folder = _run_folder(self._workspace, self.checkpoint.digest) if keep else None
        for number, name in enumerate(NAMES):
            yield {"status": view.status(f"Drawing figure {number + 1} of 9.", number / 9)}
            if name == "09_stability_test":
                findings = yield from self._with_stability(findings)
            png = self._sheets.png(name, findings, self.checkpoint.digest, self._passes)
            if folder is not None:
                _write(folder, name, png)
            yield {name: figure_sheets.figure_html(name, png)}
        yield {
            "status": view.status(view.told(self.checkpoint, findings.evaluations)),
            "run": _ready(),
        }

    def feature_maps(self, digit: Any, place: Any) -> str:
        """Figure 6 of another image."""
        findings = self._from_cache(example_of(self.digit_sets[0], digit, place))
        name = "06_feature_maps"
        png = self._sheets.png(name, findings, self.checkpoint.digest, self._passes)
        return figure_sheets.figure_html(name, png)

    def all_figures(self, digit: Any, place: Any) -> dict[str, bytes]:
        """The nine as PNG files; those that are kept are not drawn again."""
        findings = self._from_cache(example_of(self.digit_sets[0], digit, place))
        findings = _result(self._with_stability(findings))
        return {
            name: self._sheets.png(name, findings, self.checkpoint.digest, self._passes)
            for name in NAMES
        }

    def _from_cache(self, example: int) -> Findings:
        predictions = [
            self._workspace.predict(self.checkpoint, digit_set) for digit_set in self.digit_sets
        ]
        return self._findings(predictions, example)

    def _findings(self, predictions: Sequence[Predictions], example: int) -> Findings:
        scale = self.details.temperature or 1.0
        return Findings(
            model=self.checkpoint.name,
            network=self.checkpoint.network,
            digit_sets=self.digit_sets,
            predictions=predictions,
            evaluations=[evaluate(found, scale) for found in predictions],
            stabilities=(),
            temperature=self.details.temperature,
            history=self.details.history,
            trained_on=self.details.digits,
            example=example,
        )

    def _numbers(self, findings: Findings) -> Looks:
        first, *others = findings.evaluations
        gaps = [gap(first, other) for other in others]
        names = [found.digits for found in findings.evaluations]
        now = Shown(self.checkpoint.name, self.checkpoint.digest, tuple(names))
        return {
            "table": view.evaluations_table(findings.evaluations, gaps),
            "words": f"<p>{escape(view.calibration_sentence(self.checkpoint))}</p>"
            + view.csv_links(findings.evaluations, gaps),
            "per_digit": view.per_digit_table(findings.evaluations),
            "matrices": view.matrices(findings.evaluations),
            "error_set": gr.Dropdown(names, value=names[-1]),
            "true": ANY,
            "predicted": ANY_WRONG,
            "errors": _tiles_of(
                self.digit_sets[-1], findings.predictions[-1], self.checkpoint, ANY, ANY_WRONG
            ),
            "shown": now,
        }

    def _with_stability(self, findings: Findings) -> Generator[Looks, None, Findings]:
        """Findings with the passes of figure 9 over the last set, which need its features."""
        name = "09_stability_test"
        if self._sheets.has(name, findings, self.checkpoint.digest, self._passes):
            return findings
        digit_set = self.digit_sets[-1]
        walk = watched(_prediction(self._workspace, self.checkpoint, digit_set, True))
        with_features = yield from _told(walk, f"{digit_set.name} {digit_set.split}", "images")
        results: list[Stability] = []
        for masks in MASKS:
            for step in passes(
                findings.network, with_features, self._passes, masks=masks,
                temperature=self.details.temperature or 1.0,
            ):  # fmt: skip
                if isinstance(step, Stability):
                    results.append(step)
                else:
                    share = step.index / step.passes
                    yield {"status": view.status(f"Pass {step.index} of {step.passes}.", share)}
        return dataclasses.replace(findings, stabilities=results)


# --- Single images --------------------------------------------------------------------------------


def example_of(digit_set: DigitSet, digit: Any, place: Any) -> int:
    """The image that figure 6 follows: the ``place``-th, from 0, of a digit or of all images.

    Raises DigitSetError where there is none.
    """
    whole = int(place) if isinstance(place, (int, float)) and place == place // 1 else -1
    if digit == ANY:
        places = torch.arange(len(digit_set))
    elif digit in DIGITS:
        places = (digit_set.labels == int(digit)).nonzero().squeeze(1)
    else:
        raise DigitSetError(f"{str(digit)[:40]!r} is no digit to follow; choose one, or any.")
    if not 0 <= whole < len(places):
        which = "images" if digit == ANY else f"images of a {digit}"
        raise DigitSetError(
            f"{digit_set.name} has {len(places):,} {which}, counted from 0, so there is no number "
            f"{str(place)[:20]}; choose another to follow."
        )
    return int(places[whole])


def error_tiles(
    workspace: Workspace, models: Models, now: Shown, name: Any, true: Any, answer: Any
) -> str:
    """The images of a set with that label and answer, the most confident first.

    true: a digit or ``any``. answer: a digit or ``any wrong``. Raises DigitCNNError.
    """
    checkpoint, digit_set = _shown(workspace, models, now, name)
    if true not in (ANY, *DIGITS) or answer not in (ANY_WRONG, *DIGITS):
        raise DigitSetError("That is no pair of digits; choose a true digit and an answer.")
    predictions = workspace.predict(checkpoint, digit_set)
    return _tiles_of(digit_set, predictions, checkpoint, true, answer)


def _tiles_of(
    digit_set: DigitSet, predictions: Predictions, checkpoint: Checkpoint, true: str, answer: str
) -> str:
    wanted = torch.ones(len(digit_set), dtype=torch.bool)
    if true != ANY:
        wanted &= predictions.labels == int(true)
    wanted &= ~predictions.right if answer == ANY_WRONG else predictions.answers == int(answer)
    places = wanted.nonzero().squeeze(1)
    scale = checkpoint.details.temperature or 1.0
    probabilities = predictions.probabilities(scale)[places]
    confidence = probabilities.max(dim=1).values
    order = confidence.argsort(descending=True, stable=True)[:TILES]
    title = f"{digit_set.name} {digit_set.split}"
    if true == ANY and answer == ANY_WRONG:
        heading = f"The most confident errors on {title}"
    else:
        truth = "Any digit" if true == ANY else f"A {true}"
        answered = "wrongly" if answer == ANY_WRONG else f"as {answer}"
        heading = f"{truth} answered {answered} on {title}"
    shown = len(order)
    note = (
        f"{len(places):,} images" if shown == len(places) else f"{shown} of {len(places):,} images"
    )
    return view.tiles(
        heading,
        digit_set.images[places[order]],
        digit_set.labels[places[order]].tolist(),
        probabilities[order],
        places[order].tolist(),
        f"{note}, the most confident first.",
    )


def suspect_tiles(workspace: Workspace, models: Models, now: Shown, name: Any) -> str:
    """Images whose label both the network and the nearest training digits contradict.

    Raises DigitSetError without the training images, or where too many answers are wrong.
    """
    checkpoint, digit_set = _shown(workspace, models, now, name)
    predictions = workspace.predict(checkpoint, digit_set)
    errors = int((~predictions.right).sum())
    if errors > MOST_ERRORS_FOR_SUSPECTS:
        raise DigitSetError(
            f"{errors:,} answers on {digit_set.name} are wrong, so the network is no judge of "
            "labels; choose one that is mostly right."
        )
    training = training_images(workspace, checkpoint)
    scale = checkpoint.details.temperature or 1.0
    found = label_suspects(predictions, digit_set, training, temperature=scale)
    title = f"{digit_set.name} {digit_set.split}"
    places = [suspect.index for suspect in found[:TILES]]
    return view.tiles(
        f"Suspected label errors on {title}: {len(found):,}",
        digit_set.images[places],
        digit_set.labels[places].tolist(),
        predictions.probabilities(scale)[places],
        places,
        f"The network and the nearest digits of {training.name} agree against the label; both may "
        "be wrong.",
    )


# --- The gap --------------------------------------------------------------------------------------


def gap_looks(workspace: Workspace, models: Models, now: Shown, name: Any) -> Iterator[list[Any]]:
    """Status and figure, step by step: where the gap of that set to the first one comes from.

    Raises DigitSetError without the training images, or without a second set.
    """
    checkpoint, other = _shown(workspace, models, now, name)
    if other.name == now.sets[0]:
        raise DigitSetError(
            f"{other.name} is the set that gaps are measured from; evaluate another one as well "
            "and choose it under Errors."
        )
    reference = workspace.catalog.open(now.sets[0], "test")
    training = training_images(workspace, checkpoint)

    def work(progress: Progress) -> Any:
        return waterfall(
            lambda digit_set: workspace.predict(checkpoint, digit_set),
            reference,
            other,
            training,
            temperature=checkpoint.details.temperature or 1.0,
            progress=progress,
        )

    yield [view.status(f"Putting {other.name} into MNIST framing.", 0.0), ""]
    walk = watched(work)
    while True:
        try:
            done, total = next(walk)
        except StopIteration as end:
            found = end.value
            break
        text = f"Looking for near repeats: {done:,} of {total:,} images of {other.name}."
        yield [view.status(text, done / total), gr.skip()]
    png = figures.png(figures.gap_waterfall(found, model=checkpoint.name))
    remains = accuracy_text(found.without_repeats.accuracy, found.without_repeats.n)
    alt = f"{found.without_repeats.title}: {remains}"
    yield [view.status(f"Done: {alt}."), figure_sheets.plain_figure(alt, png)]


def training_images(workspace: Workspace, checkpoint: Checkpoint) -> DigitSet:
    """The images that a network was trained on. Raises DigitSetError where they are not here."""
    details = checkpoint.details
    if details.digits is None:
        raise DigitSetError(
            f"{checkpoint.name} does not say what it was trained on, so its training images cannot "
            "be compared; choose another model."
        )
    wanted = details.config.get("train_images")
    training, _ = split_held_out(
        workspace.catalog.open(details.digits, "train"), wanted if type(wanted) is int else None
    )
    if details.fingerprints.get("train", training.fingerprint) != training.fingerprint:
        raise DigitSetError(
            f"The images of {details.digits} here are not those that {checkpoint.name} was trained "
            "on; restore them, or choose another model."
        )
    return training


# --- Helpers --------------------------------------------------------------------------------------


def _shown(
    workspace: Workspace, models: Models, now: Shown, name: Any
) -> tuple[Checkpoint, DigitSet]:
    """What the page shows now, opened again. Raises DigitCNNError where it is no longer there."""
    if not now.sets or name not in now.sets:
        raise DigitSetError("That set was not evaluated on this page; press Evaluate first.")
    checkpoint = models.get(now.model)
    if checkpoint.digest != now.digest:
        raise CheckpointError(f"{now.model} is another network by now; press Evaluate again.")
    return checkpoint, workspace.catalog.open(name, "test")


def _set_names(chosen: Any) -> list[str]:
    names = chosen if isinstance(chosen, list) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise DigitSetError("No test set is chosen; choose one or more.")
    if len(set(names)) > MOST_SETS:
        raise DigitSetError(
            f"{len(set(names))} test sets are chosen; choose up to {MOST_SETS} at a time."
        )
    return names


def _choices(workspace: Workspace) -> list[tuple[str, str]]:
    return [
        (f"{entry.name} ({entry.n:,} images)", entry.name)
        for entry in workspace.catalog.entries()
        if entry.present and entry.split == "test"
    ]


def _defaults(workspace: Workspace) -> list[str]:
    """The usual sets that are here; on a machine with none, those that the program draws."""
    here = [name for _, name in _choices(workspace)]
    usual = [name for name in here if name in ("mnist", "emnist-digits")]
    return usual or [name for name in here if name.startswith("synthetic")]


def _ready() -> Any:
    return gr.Button(interactive=True)


def _prediction(
    workspace: Workspace, checkpoint: Checkpoint, digit_set: DigitSet, features: bool
) -> Callable[[Progress], Predictions]:
    return lambda progress: workspace.predict(
        checkpoint, digit_set, progress=progress, features=features
    )


def _told(
    walk: Generator[tuple[int, int], None, R], title: str, what: str
) -> Generator[Looks, None, R]:
    """The steps of a walk as the page's status; returns what the walk does."""
    while True:
        try:
            done, total = next(walk)
        except StopIteration as end:
            result: R = end.value
            return result
        yield {"status": view.status(f"{title}: {done:,} of {total:,} {what}.", done / total)}


def _result(steps: Generator[Any, None, R]) -> R:
    """What a generator returns; what it yields is left out."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: R = end.value
            return result


def _run_folder(workspace: Workspace, digest: str) -> Path | None:
    """Where the figures of the run that made this network go; None for a network of elsewhere."""
    for record in workspace.runs.records():
        if record.digest == digest:
            return workspace.runs.open(record.name).folder / "figures"
    return None


def _write(folder: Path, name: str, png: bytes) -> None:
    """Raises DigitSetError where the folder cannot be written."""
    try:
        folder.mkdir(exist_ok=True)
        with atomic_write(folder / f"{name}.png") as file:
            file.write(png)
    except OSError as error:
        raise DigitSetError(
            f"The figures cannot be written to {folder} ({error.strerror or error}); make room, or "
            "change its permissions."
        ) from error


def _fetch(workspace: Workspace) -> Iterator[list[Any]]:
    try:
        for progress in workspace.catalog.download("emnist-digits", "test"):
            done = f"{progress.done / 1e6:.1f}"
            total = f" of {progress.total / 1e6:.1f}" if progress.total else ""
            text = f"{progress.file}: {done}{total} MB {progress.message}"
            yield [gr.Markdown(text, visible=True), gr.skip(), gr.skip()]
    except DigitSetError as error:
        text = f"{escape(str(error))} Meanwhile the sets above can be evaluated."
        yield [gr.Markdown(text, visible=True), gr.skip(), gr.skip()]
        return
    yield [
        gr.Markdown("EMNIST digits are here.", visible=True),
        gr.Button(visible=False),
        gr.CheckboxGroup(_choices(workspace), value=_defaults(workspace)),
    ]
