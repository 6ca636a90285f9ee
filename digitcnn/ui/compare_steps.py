"""The results of the Compare tab, step by step: comparison, differences and robustness.

Updates name the page's components; the components themselves are not used here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from digitcnn.analysis.comparison import Comparison, check_number
from digitcnn.analysis.events import Notify
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import ConfigError, DigitSetError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.services.comparison import compare_models
from digitcnn.ui import compare_view as view
from digitcnn.ui.background import status_update, updates_of
from digitcnn.ui.compare_models import names_in
from digitcnn.ui.models import Models
from digitcnn.ui.parts import ViewUpdate, status_line
from digitcnn.ui.robustness_section import robustness_steps
from digitcnn.ui.set_chooser import MOST_SETS
from digitcnn.workspace import Workspace

ROBUSTNESS = ("robustness_status", "robustness", "robustness_table")


@dataclass(frozen=True)
class ComparisonView:
    """What a page shows; empty at first.

    keys, names: of the models, for ``Models.get`` and for people. sets: names of the test sets.
    """

    keys: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()

    def open(
        self, workspace: Workspace, models: Models, name: Any
    ) -> tuple[list[Checkpoint], DigitSet]:
        """Return the models and one of the sets. Raises DigitCNNError where one is gone."""
        if name not in self.sets:
            raise ConfigError("No results yet; choose models and press Compare.")
        return [models.get(key) for key in self.keys], workspace.catalog.open(name, "test")


def comparison_steps(
    workspace: Workspace, models: Models, chosen: Any, sets: Any
) -> Iterator[ViewUpdate]:
    """Yield what the page shows from the press of the button to the end.

    chosen, sets: names of models and test sets, from anybody. Raises DigitCNNError for what cannot
    be compared.
    """
    keys, set_names = names_in(chosen), names_in(sets)
    check_number(len(keys))
    if not 1 <= len(set_names) <= MOST_SETS:
        raise DigitSetError(f"{len(set_names)} test sets are chosen; choose 1 to {MOST_SETS}.")
    checkpoints = [models.get(key) for key in keys]
    digit_sets = [workspace.catalog.open(name, "test") for name in set_names]

    def work(notify: Notify) -> list[Comparison]:
        return [
            compare_models(checkpoints, digit_set, predict=workspace.predict, notify=notify)
            for digit_set in digit_sets
        ]

    comparisons = yield from updates_of(work, status_update)
    names = comparisons[0].names
    titles = ", ".join(comparison.title for comparison in comparisons)
    yield {
        "status": status_line(f"Compared {len(names)} models on {titles}."),
        "table": view.models_table(comparisons, checkpoints, workspace.runs.digests()),
        "words": view.words(comparisons, checkpoints),
        "pairs": "".join(view.pairs_table(comparison) for comparison in comparisons),
        "settings": view.settings_table(names, checkpoints),
        "history": view.history_chart(names, checkpoints),
        "set": gr.Dropdown(set_names, value=set_names[-1]),
        "first": gr.Dropdown(list(names), value=names[0]),
        "second": gr.Dropdown(list(names), value=names[1]),
        "images": view.differences(comparisons[-1], digit_sets[-1], 0, 1),
        **dict.fromkeys(ROBUSTNESS, ""),
        "view": ComparisonView(tuple(keys), names, tuple(set_names)),
    }


def differences_of(
    workspace: Workspace, models: Models, shown: ComparisonView, name: Any, a: Any, b: Any
) -> str:
    """Render the images and digits on which two of the compared models differ.

    Raises DigitCNNError for models or sets that are not shown or gone.
    """
    checkpoints, digit_set = shown.open(workspace, models, name)
    if a not in shown.names or b not in shown.names:
        raise ConfigError("No results yet; choose models and press Compare.")
    if a == b:
        raise ConfigError(f"Models A and B are both {a}; choose two different models.")
    comparison = compare_models(checkpoints, digit_set, predict=workspace.predict)
    return view.differences(comparison, digit_set, shown.names.index(a), shown.names.index(b))


def compared_robustness_steps(
    workspace: Workspace, models: Models, shown: ComparisonView, name: Any
) -> Iterator[ViewUpdate]:
    """Yield status, figure and table of the compared models' robustness, step by step.

    Raises DigitCNNError for models or sets that are not shown or gone.
    """
    checkpoints, digit_set = shown.open(workspace, models, name)
    return robustness_steps(workspace, checkpoints, shown.names, digit_set)
