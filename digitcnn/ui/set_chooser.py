"""The test sets that can be evaluated, and the button that fetches one more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import gradio as gr

from digitcnn.digits.catalog import Entry
from digitcnn.digits.names import GENERATED
from digitcnn.errors import DigitSetError
from digitcnn.ui.access import WITH_TOKEN_JS, Access
from digitcnn.ui.toasts import toasting
from digitcnn.workspace import Workspace

# As many as the figures have colours.
MOST_SETS = 6

# Who wrote a test set, and how it differs; a set that is not named here is a person's own.
WRITTEN_BY: Mapping[str, str] = {
    "mnist": "the same collection as MNIST's training images, other images",
    "emnist-digits": "the same NIST collection, mostly other writers, another framing",
    "usps": "from envelopes, 16x16 enlarged",
    "synthetic": "drawn by the program, by made-up writers",
    "synthetic-other-writers": "drawn by the program, by a second population of writers",
    "feedback": "what people drew here and said it was",
}
OWN = "yours, from the data folder"

NOTES_STYLE = """
ul { margin: 0; padding: 0; list-style: none; font-size: 0.84rem; line-height: 1.45;
  color: var(--body-text-color-subdued); }
b { font-weight: 600; color: var(--body-text-color); }
"""

_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def build_sets(workspace: Workspace, page: gr.Blocks, elem_id: str) -> gr.CheckboxGroup:
    """The choice, whose value is a list of names; every visit sees what is here by then."""
    digits = gr.CheckboxGroup(
        choices(workspace),
        value=defaults(workspace),
        label="Test sets",
        info=f"on this machine; up to {MOST_SETS}",
        elem_id=elem_id,
    )

    @toasting
    def sets_here(chosen: Any) -> gr.CheckboxGroup:
        """What is on this machine now, not when the app was started; a choice that can stay does,
        whatever was ticked since it was asked."""
        now = choices(workspace)
        here = [name for _, name in now]
        stays = isinstance(chosen, list) and all(name in here for name in chosen)
        return gr.CheckboxGroup(now) if stays else gr.CheckboxGroup(now, value=defaults(workspace))

    page.load(sets_here, digits, digits, queue=False, **_PRIVATE)
    return digits


def build_set_chooser(
    workspace: Workspace, access: Access, owner_token: gr.Textbox, page: gr.Blocks
) -> gr.CheckboxGroup:
    """The choice, what its sets are, and a button that fetches the test set of EMNIST digits."""
    digits = build_sets(workspace, page, "evaluate-digits")
    about = gr.HTML(
        notes(workspace),
        css_template=NOTES_STYLE,
        apply_default_css=False,
        elem_id="evaluate-digits-notes",
    )
    fetch = gr.Button(
        "Fetch EMNIST digits, test set (10 MB)",
        size="sm",
        visible=not workspace.catalog.has("emnist-digits", "test"),
        elem_id="evaluate-fetch",
    )
    status = gr.Markdown(visible=False, elem_id="evaluate-fetch-status")

    @toasting
    def notes_and_what_is_missing() -> list[Any]:
        missing = not workspace.catalog.has("emnist-digits", "test")
        return [notes(workspace), gr.Button(visible=missing)]

    @toasting
    def fetch_emnist(request: gr.Request, token: str) -> Iterator[list[Any]]:
        access.require_owner(request, token, to="fetch a digit set")
        yield from fetching(workspace)

    page.load(notes_and_what_is_missing, None, [about, fetch], queue=False, **_PRIVATE)
    fetch.click(
        fetch_emnist, [owner_token], [status, fetch, digits], js=WITH_TOKEN_JS, **_PRIVATE
    ).success(notes_and_what_is_missing, None, [about, fetch], queue=False, **_PRIVATE)
    return digits


def choices(workspace: Workspace) -> list[tuple[str, str]]:
    """Return label and name of every test set whose files exist; damaged ones are marked."""
    return [
        (f"{entry.name} ({'damaged' if entry.n is None else f'{entry.n:,} images'})", entry.name)
        for entry in _test_entries(workspace)
    ]


def _test_entries(workspace: Workspace) -> list[Entry]:
    """Return the test sets that are available or damaged."""
    return [
        entry
        for entry in workspace.catalog.entries()
        if entry.split == "test" and (entry.present or entry.problem)
    ]


def notes(workspace: Workspace) -> str:
    """Return a line per test set: who wrote it and how it differs, or why it cannot be used."""
    lines = "".join(
        f"<li><b>{escape(entry.name)}</b> "
        f"{escape(entry.problem or WRITTEN_BY.get(entry.name, OWN))}</li>"
        for entry in _test_entries(workspace)
    )
    return f"<ul>{lines}</ul>"


def defaults(workspace: Workspace) -> list[str]:
    """Return the usual sets that are available, else damaged ones, else the generated ones.

    Evaluating a damaged set reports its problem, which choosing other sets would hide.
    """
    entries = _test_entries(workspace)
    usual = [entry for entry in entries if entry.name in ("mnist", "emnist-digits")]
    generated = [entry for entry in entries if entry.name in GENERATED]
    chosen = [entry for entry in usual if entry.present] or usual or generated
    return [entry.name for entry in chosen]


def fetching(workspace: Workspace) -> Iterator[list[Any]]:
    """Status, button and choice while the test set of EMNIST digits comes, or does not."""
    try:
        for progress in workspace.catalog.download("emnist-digits", "test"):
            done = f"{progress.done / 1e6:.1f}"
            total = f" of {progress.total / 1e6:.1f}" if progress.total else ""
            text = f"{progress.file}: {done}{total} MB {progress.message}"
            yield [gr.Markdown(escape(text), visible=True), gr.skip(), gr.skip()]
    except DigitSetError as error:
        text = f"{escape(str(error))} Meanwhile the sets above can be evaluated."
        yield [gr.Markdown(text, visible=True), gr.skip(), gr.skip()]
        return
    yield [
        gr.Markdown("EMNIST digits are here.", visible=True),
        gr.Button(visible=False),
        gr.CheckboxGroup(choices(workspace), value=defaults(workspace)),
    ]
