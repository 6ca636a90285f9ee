"""The Compare tab without a browser: the analysis' numbers, invalid requests, names as text."""

from __future__ import annotations

import base64
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from tab_handlers import Handlers, Part

from digitcnn.analysis.comparison import compare
from digitcnn.analysis.comparison_words import conclusion
from digitcnn.analysis.predictions import predict
from digitcnn.errors import CheckpointError, ConfigError, DigitCNNError, DigitSetError
from digitcnn.network.checkpoint import save
from digitcnn.network.details import Details
from digitcnn.network.model import DigitCNN
from digitcnn.training.events import EpochResult
from digitcnn.ui.compare_models import ModelChoice, suggested
from digitcnn.ui.compare_steps import comparison_steps, comparison_subject, differences_of
from digitcnn.ui.compare_tab import sketch_predictions
from digitcnn.ui.context import Context
from digitcnn.ui.models import Models
from digitcnn.ui.sketches import seen_of
from digitcnn.ui.subject import Subject
from digitcnn.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, data_dir: Path) -> Workspace:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for seed, name in enumerate(["first", "second", "<b>third</b>"]):
        network = DigitCNN(generator=torch.Generator().manual_seed(seed)).eval()
        file_name = re.sub("/", "_", f"{name}.pt")
        history = [
            asdict(EpochResult(epoch, 1.0, 0.1, 1.0, 0.1 * epoch, 40, 0.001, 1.0))
            for epoch in (1, 2)
        ]
        details = Details(
            digits="synthetic", epochs=2, seed=seed, config={"epochs": 2}, history=history
        )
        save(folder / file_name, network, details)
    return Workspace(data_dir, tmp_path / "outputs", folder, tmp_path / "f.sqlite3", "cpu")


@pytest.fixture
def models(workspace: Workspace) -> Models:
    return Models(workspace)


@pytest.mark.parametrize(
    ("names", "selected", "at_first"),
    [
        (["new", "shipped", "old"], "shipped", ["shipped", "new"]),
        (["new", "shipped", "old"], "new", ["new", "shipped"]),
        (["new", "old"], "gone", ["new", "old"]),
        (["new", "old"], {"odd": []}, ["new", "old"]),
        (["only"], "only", ["only"]),
        ([], None, []),
    ],
)
def test_the_selected_model_and_the_newest_other_are_suggested(
    names: list[str], selected: Any, at_first: list[str]
) -> None:
    assert suggested(names, selected) == at_first


def test_fine_tuned_copies_are_compared_only_if_selected() -> None:
    names = ["mine-hand-1", "mine", "shipped"]
    assert suggested(names, "shipped", {"mine-hand-1"}) == ["shipped", "mine"]
    assert suggested(names, "mine-hand-1", {"mine-hand-1"}) == ["mine-hand-1", "mine"]


class JustTrained(Models):
    """The models after the run of ``second`` has finished."""

    just_trained = "second"


def visitor() -> Any:
    return type("Request", (), {"session_hash": "me", "headers": {}})()


def handlers(workspace: Workspace, models: Models) -> Handlers:
    """The handlers of the tab's choice of models, by their names."""

    def build(context: Context) -> None:
        choice = ModelChoice(context)
        choice.build_drop_zone()
        choice.build_offer()
        choice.connect(gr.HTML(), gr.HTML())

    return Part(workspace, build, models).handlers


def test_the_choice_follows_the_selector_but_not_a_run_that_has_finished(
    workspace: Workspace,
) -> None:
    follow = handlers(workspace, Models(workspace))["_follow"]
    _, opened = follow(["anything"], "first", None, visitor())
    assert opened[0] == "first"
    update, suggestion = follow(opened, "second", opened, visitor())
    assert update.value == suggestion
    assert suggestion[0] == "second"
    _, suggestion = follow(["second"], "second", opened, visitor())
    assert suggestion == opened
    follow = handlers(workspace, JustTrained(workspace))["_follow"]
    update, suggestion = follow(opened, "second", opened, visitor())
    assert (update.value, suggestion) == ([], opened)


def test_the_selected_model_is_offered_while_it_is_not_chosen(
    workspace: Workspace, models: Models
) -> None:
    choice = handlers(workspace, models)
    assert ">Add second</button>" in choice["_notes"](["first"], "second", ())[1]
    for chosen, selected in (
        (["first", "second"], "second"),
        (["first"], "gone"),
        (["first"], {"odd": []}),
        ([], "second"),
        (list("abcdefgh"), "second"),
    ):
        assert choice["_notes"](chosen, selected, ())[1] == "", (chosen, selected)
    assert choice["_add"](["first"], "second", visitor()).value == ["first", "second"]


def test_lines_on_dropped_files_stay_while_their_models_are_chosen(
    workspace: Workspace, models: Models, tmp_path: Path
) -> None:
    choice = handlers(workspace, models)
    good, bad = tmp_path / "good.pt", tmp_path / "bad.pt"
    save(good, DigitCNN(generator=torch.Generator().manual_seed(7)).eval(), Details())
    bad.write_text("no network")
    steps = list(choice["_receive"]([str(bad), str(good)], ["first"], (), visitor()))
    assert "0 of 2 read: bad.pt…" in steps[0][1]
    assert "bad.pt" in steps[1][1]
    assert "1 of 2 read: good.pt…" in steps[1][1]
    files, html = steps[2][:2]
    assert "bad.pt" in html
    assert "good.pt" in html
    assert " read: " not in html
    chosen = steps[-1][2]
    assert "good.pt" not in choice["_notes"](["first"], "first", files)[0]
    assert choice["_notes"](chosen.value, "first", files)[0] == html
    _, html = choice["_dismiss"](
        gr.EventData(None, {"file": "bad.pt", "key": ""}), files, chosen.value
    )
    assert "bad.pt" not in html
    assert "good.pt" in html
    models.dropped.forget("me")
    assert "good.pt" not in choice["_notes"](chosen.value, "first", files)[0]


def last(workspace: Workspace, models: Models, chosen: Any, sets: Any) -> dict[str, Any]:
    subject = comparison_subject(workspace, models, chosen, sets)
    *_, update = comparison_steps(workspace, models, subject)
    return update


FIRST_AND_SECOND = ["first", "second"]


def test_the_page_shows_the_numbers_of_the_analysis(workspace: Workspace, models: Models) -> None:
    shown = last(workspace, models, ["first", "second"], ["small"])
    digits = workspace.catalog.open("small", "test")
    both = [models.get(name) for name in ("first", "second")]
    answers = [predict(model.network, digits, digest=model.digest) for model in both]
    found = compare(["first (A)", "second (B)"], answers, [1.0, 1.0])
    for evaluation in found.evaluations:
        assert evaluation.accuracy_text in shown["table"]
    (pair,) = found.pairs
    for count in (pair.both_right, pair.only_a_right, pair.only_b_right, pair.both_wrong):
        assert f">{count}<" in shown["pairs"]
    assert f"{conclusion(found)[0]}</p>" in shown["verdicts"]
    assert "not recipes" in shown["verdicts"]
    assert "(claimed by its file)" in shown["table"]


def test_models_have_the_letters_of_their_slots_and_long_names_are_shortened(
    workspace: Workspace, models: Models
) -> None:
    folder, long = workspace.checkpoints.folder, "mnist-20261130-091204-augmentation-off"
    (folder / "second.pt").rename(folder / f"{long}.pt")
    order = [long, "first"]
    shown = last(workspace, models, order, ["small"])
    short = "mnist-20261130-…entation-off (A)"
    for part in ("verdicts", "accuracies", "images", "digit_tables"):
        assert short in shown[part], part
        assert "first (B)" in shown[part], part
    assert f"{long} (A)" in shown["table"]
    assert shown["verdicts"].count(short) == 1  # then its letter
    subject = comparison_subject(workspace, models, order, ["small"])
    swapped = comparison_subject(workspace, models, order[::-1], ["small"])
    assert subject.stamp != swapped.stamp


def test_the_verdict_on_four_models_names_one_and_has_letters_for_the_others(
    workspace: Workspace, models: Models
) -> None:
    names = [name for _, name in models.choices()]
    network = DigitCNN(generator=torch.Generator().manual_seed(9)).eval()
    save(workspace.checkpoints.folder / "fourth.pt", network, Details(digits="synthetic"))
    shown = last(workspace, models, [*names, "fourth"], ["small"])
    assert len(re.findall(r"\([A-D]\)", shown["verdicts"])) == 1
    assert len(re.findall(r"\b[A-D]\b", shown["verdicts"])) > 1


def test_seeds_of_one_recipe_are_summed_up(workspace: Workspace, models: Models) -> None:
    shown = last(workspace, models, ["first", "second"], ["small"])
    assert "Same recipe, seeds 0, 1" in shown["verdicts"]


def test_names_are_shown_as_text(workspace: Workspace, models: Models) -> None:
    names = [name for _, name in models.choices()]
    shown = last(workspace, models, names, ["small"])
    html = "".join(value for value in shown.values() if isinstance(value, str))
    assert "&lt;b&gt;third" in html
    assert "<b>third" not in html


def test_the_differences_follow_the_chosen_pair(workspace: Workspace, models: Models) -> None:
    shown = last(workspace, models, ["first", "second"], ["small"])
    view = comparison_subject(workspace, models, FIRST_AND_SECOND, ["small"])
    a, b = "first (A)", "second (B)"
    there, tables = differences_of(workspace, models, view, "small", a, b)
    back, _ = differences_of(workspace, models, view, "small", b, a)
    assert (there, tables) == (shown["images"], shown["digit_tables"])
    assert there.index(f"{a} right, {b} wrong") < there.index(f"{b} right, {a} wrong")
    assert back.index(f"{b} right, {a} wrong") < back.index(f"{a} right, {b} wrong")


@pytest.mark.parametrize(
    ("chosen", "sets", "error"),
    [
        (["first"], ["small"], ConfigError),
        (["first", "first"], ["small"], ConfigError),
        (None, ["small"], ConfigError),
        ([1, {}], ["small"], ConfigError),
        (["first", "gone"], ["small"], CheckpointError),
        (["first", "dropped-guess"], ["small"], CheckpointError),
        (["first", "second"], [], DigitSetError),
        (["first", "second"], ["unknown"], DigitSetError),
        (["first", "second"], "small", DigitSetError),
    ],
)
def test_invalid_choices_are_refused(
    workspace: Workspace, models: Models, chosen: Any, sets: Any, error: type[DigitCNNError]
) -> None:
    with pytest.raises(error):
        last(workspace, models, chosen, sets)


def test_a_model_deleted_since_the_comparison_is_refused(
    workspace: Workspace, models: Models
) -> None:
    view = Subject.of(workspace, models, FIRST_AND_SECOND, ["small"])
    (workspace.checkpoints.folder / "second.pt").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint second"):
        differences_of(workspace, models, view, "small", "first", "second")


@pytest.mark.parametrize(("a", "b"), [("first", "first"), ("first", None), ({}, [])])
def test_only_two_different_shown_models_are_compared(
    workspace: Workspace, models: Models, a: Any, b: Any
) -> None:
    now = Subject.of(workspace, models, FIRST_AND_SECOND, ["small"])
    with pytest.raises(ConfigError):
        differences_of(workspace, models, now, "small", a, b)


STROKE = {"strokes": [[[0.5, 0.2], [0.5, 0.8]]], "width": 0.07}


def test_one_sketch_is_classified_by_every_chosen_model(
    workspace: Workspace, models: Models
) -> None:
    reply = sketch_predictions(models, {**STROKE, "models": ["first", "second"]})
    seen = seen_of(STROKE)
    assert seen is not None
    assert [base64.b64decode(pixels) for pixels in reply["seen"]] == [seen.numpy().tobytes()]
    for row, name, letter in zip(reply["rows"], ("first", "second"), "AB", strict=True):
        digit = int(models.get(name).probabilities(seen[None])[0].argmax())
        assert row[:2] == [f"{name} ({letter})", str(digit)]


def test_every_model_splits_a_number(workspace: Workspace, models: Models) -> None:
    bars = [[[x, 0.3], [x, 0.7]] for x in (0.2, 0.8)]
    reply = sketch_predictions(
        models, {"strokes": bars, "width": 0.07, "models": ["first", "second"]}
    )
    assert len(reply["seen"]) == 2
    assert all(len(row[1].split()) == 2 for row in reply["rows"])


@pytest.mark.parametrize(
    ("payload", "chosen"),
    [
        ({"strokes": [], "width": 0.07}, ["first", "second"]),
        ({"picture": 3}, ["first", "second"]),
        (STROKE, ["first"]),
        (STROKE, ["first", "gone"]),
    ],
)
def test_invalid_sketches_or_choices_are_refused(
    models: Models, payload: dict[str, Any], chosen: Any
) -> None:
    with pytest.raises(DigitCNNError):
        sketch_predictions(models, {**payload, "models": chosen})
