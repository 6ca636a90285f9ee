"""Choose test sets, with a line on each, and download EMNIST's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any

import gradio as gr

from digitcnn.analysis.orientation import OrientationChecks
from digitcnn.digits.catalog import Entry
from digitcnn.digits.names import GENERATED, MNIST_C_SETS, written
from digitcnn.digits.set_download import download
from digitcnn.errors import CheckpointError, DigitSetError
from digitcnn.folders import SHIPPED_FILE
from digitcnn.network.checkpoint import load
from digitcnn.network.classifier import Classifier
from digitcnn.ui.context import Context
from digitcnn.ui.parts import PRIVATE, announced, html_view
from digitcnn.ui.toasts import toasting
from digitcnn.ui.wording import counted
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

# As many as the figures have colours.
MOST_SETS = 6

# The writers of each test set, and how it differs; sets not listed here are a person's own.
WRITTEN_BY: Mapping[str, str] = {
    "mnist": "Same collection as the MNIST training images, different images",
    "emnist-digits": "Same NIST collection, mostly other writers, placed and scaled differently",
    "usps": "Digits from envelopes, enlarged from 16x16",
    "synthetic": "Generated digits by simulated writers",
    "synthetic-other-writers": "Generated digits by a second group of simulated writers",
    "feedback": "Sketches drawn and labelled in this app",
    **dict.fromkeys(MNIST_C_SETS, "MNIST's test images, corrupted"),
}
OWN = "Added to the data folder"


def build_sets(context: Context, elem_id: str) -> gr.CheckboxGroup:
    """Build the choice of sets, whose value is a list of names; it is current at every visit."""
    workspace = context.workspace
    digits = gr.CheckboxGroup(
        explained(workspace),
        value=defaults(workspace),
        label="Test sets",
        info=f"Choose up to {MOST_SETS}",
        elem_id=elem_id,
        elem_classes="set-chips",
    )
    announced(digits)

    @toasting
    def refresh(chosen: Any) -> gr.CheckboxGroup:
        """Return the current sets; a choice that is still available stays."""
        current = explained(workspace)
        names = [name for _, name in current]
        if isinstance(chosen, list) and all(name in names for name in chosen):
            return gr.CheckboxGroup(current)
        return gr.CheckboxGroup(current, value=defaults(workspace))

    context.page.load(refresh, digits, digits, queue=False, **PRIVATE)
    return digits


def build_set_chooser(context: Context) -> gr.CheckboxGroup:
    """Build the choice of sets, advice on them, and a button that downloads EMNIST's test set."""
    workspace = context.workspace
    checks = OrientationChecks(_shipped_model)
    digits = build_sets(context, "evaluate-digits")
    about = html_view("evaluate-digits-notes")
    fetch = gr.Button(
        "Download EMNIST test set (10 MB)",
        size="sm",
        visible=not workspace.catalog.has("emnist-digits", "test"),
        elem_id="evaluate-fetch",
    )
    status = gr.Markdown(visible=False, elem_id="evaluate-fetch-status")

    @toasting
    def refresh() -> gr.Button:
        return gr.Button(visible=not workspace.catalog.has("emnist-digits", "test"))

    def advise() -> Any:
        """Add advice on sets that are stored sideways; the page does not wait for it."""
        if workspace.processor_busy:
            return gr.skip()
        return render("evaluate/set_advice.html", advice=advice(workspace, checks))

    @toasting
    def fetch_emnist(request: gr.Request, token: str) -> Iterator[list[Any]]:
        context.access.require_owner(request, token, to="download a digit set")
        yield from fetching(workspace)

    context.page.load(refresh, None, fetch, queue=False, **PRIVATE).then(
        advise, None, about, queue=False, **PRIVATE
    )
    context.with_token(fetch.click, fetch_emnist, outputs=[status, fetch, digits]).success(
        refresh, None, fetch, queue=False, **PRIVATE
    )
    return digits


def set_choices(workspace: Workspace, split: str) -> list[tuple[str, str]]:
    """Return label and name of every set with that split: a test set only if its files exist."""
    return [
        (f"{written(entry.name)} ({_state(entry)})", entry.name)
        for entry in _entries(workspace, split)
    ]


def explained(workspace: Workspace) -> list[tuple[str, str]]:
    """Return the test sets, each label with a second line: its writers, or why it is unusable."""
    explanations = []
    for entry in _entries(workspace, "test"):
        # A problem begins with the name, as an error message does.
        line = (entry.problem or WRITTEN_BY.get(entry.name, OWN)).removeprefix(f"{entry.name} ")
        # Bold ends with the first line, so the count stays whole where a narrow chip wraps.
        state = _state(entry).replace(" ", "\N{NO-BREAK SPACE}")
        explanations.append((f"{written(entry.name)} ({state})\n{line}", entry.name))
    return explanations


def _state(entry: Entry) -> str:
    if entry.problem is not None:
        return "damaged"
    return "not downloaded" if entry.n is None else counted(entry.n, "image")


def usual_set(workspace: Workspace, split: str) -> str:
    """Return MNIST if it is available, or damaged: its use reports that; else synthetic."""
    mnist = workspace.catalog.entry("mnist", split)
    return "mnist" if mnist.present or mnist.problem is not None else "synthetic"


def advice(workspace: Workspace, checks: OrientationChecks) -> dict[str, str]:
    """Return advice on the sets in the data folder that the shipped model reads better changed."""
    sentences = {}
    for entry in _entries(workspace, "test"):
        # Generated sets are upright, and so are sketches.
        if entry.present and entry.path is not None:
            try:
                sentence = checks.advice(workspace.catalog.open(entry.name, "test"))
            except (CheckpointError, DigitSetError):
                continue
            if sentence is not None:
                sentences[entry.name] = f"The shipped model reads {sentence}"
    return sentences


def defaults(workspace: Workspace) -> list[str]:
    """Return the usual sets that are available, else damaged ones, else the generated ones.

    Evaluating a damaged set reports its problem, which choosing other sets would hide.
    """
    entries = _entries(workspace, "test")
    usual = [entry for entry in entries if entry.name in ("mnist", "emnist-digits")]
    generated = [entry for entry in entries if entry.name in GENERATED]
    chosen = [entry for entry in usual if entry.present] or usual or generated
    return [entry.name for entry in chosen]


def downloading(
    workspace: Workspace, name: str, split: str | None, done: Callable[[], list[Any]]
) -> Iterator[list[Any]]:
    """Yield values for a status, a button and a choice of sets while a set is downloaded.

    split: as for ``download``. done: returns the sentence and the choice at the end.
    Raises DigitSetError.
    """
    for progress in download(workspace.catalog, name, split):
        yield [gr.Markdown(escape(progress.message), visible=True), gr.skip(), gr.skip()]
    sentence, choice = done()
    yield [gr.Markdown(sentence, visible=True), gr.Button(visible=False), choice]


def fetching(workspace: Workspace) -> Iterator[list[Any]]:
    """Yield the same while EMNIST's test set is downloaded, and a sentence after a failure."""

    def done() -> list[Any]:
        choice = gr.CheckboxGroup(explained(workspace), value=defaults(workspace))
        return ["EMNIST digits are available.", choice]

    try:
        yield from downloading(workspace, "emnist-digits", "test", done)
    except DigitSetError as error:
        text = f"{escape(str(error))} You can still evaluate the sets above."
        yield [gr.Markdown(text, visible=True), gr.skip(), gr.skip()]


def _entries(workspace: Workspace, split: str) -> list[Entry]:
    """Return the sets with that split; without test sets that are neither available nor damaged."""
    return [
        entry
        for entry in workspace.catalog.entries()
        if entry.split == split and (split == "train" or entry.present or entry.problem)
    ]


def _shipped_model() -> Classifier:
    """Load the shipped model. Raises CheckpointError where it is missing."""
    return load(SHIPPED_FILE).classifier
