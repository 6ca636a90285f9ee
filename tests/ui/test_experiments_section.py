"""The handlers of the Experiments section, called as a plain POST would."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from experiments_in_small import in_small
from tab_handlers import TOKEN, Handlers, Part, request

from digitcnn.experiments import catalogue
from digitcnn.experiments.groups import MOST_PEOPLE, Group
from digitcnn.experiments.job import ExperimentView
from digitcnn.training.events import RunStart, StepProgress
from digitcnn.training.run_record import FINISHED
from digitcnn.ui.experiments_section import ExperimentsSection
from digitcnn.ui.experiments_view import status
from digitcnn.ui.models import Models
from digitcnn.ui.runs_section import RunsSection
from digitcnn.ui.wording import rough_duration
from digitcnn.workspace import Workspace

LUCK = in_small(catalogue.find("luck"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Workspace:
    """A workspace in which ``luck`` was run in small, beside a run of its own."""
    folder = tmp_path_factory.mktemp("workspace")
    made = Workspace(
        data_dir, folder / "outputs", folder / "checkpoints", folder / "f.sqlite3", "cpu"
    )
    made.experiment_job.start(LUCK, "small")
    made.experiment_job.shutdown(0)  # asks it to stop: deleted below
    wait(made)
    stopped = made.groups.latest("luck")
    assert stopped is not None
    assert stopped.state in ("interrupted", "finished")
    made.experiment_job.delete(stopped.name)
    assert made.runs.records() == []
    made.peoples_predictions.record(LUCK, "somebody", 1)
    made.experiment_job.start(LUCK, "small")
    wait(made)
    return made


def wait(workspace: Workspace) -> None:
    thread = workspace.experiment_job._thread
    assert thread is not None
    thread.join(120)


@pytest.fixture(scope="module")
def section(workspace: Workspace) -> Part:
    return Part(workspace, ExperimentsSection)


@pytest.fixture(scope="module")
def handlers(section: Part) -> Handlers:
    return section.handlers


def page(chosen: str, *, has_chosen: bool = False) -> tuple[Any, ...]:
    """The inputs of a refresh of a page."""
    return chosen, has_chosen, chosen, has_chosen, True


def newest(workspace: Workspace) -> Group:
    group = workspace.groups.latest("luck")
    assert group is not None
    return group


@pytest.mark.parametrize("token", ["", "luck", None, 7])
def test_visitor_starts_stops_and_deletes_nothing(
    handlers: Handlers, workspace: Workspace, token: Any
) -> None:
    for name, values in {
        "start_experiment": ("luck",),
        "stop_experiment": (),
        "delete_outcome": (newest(workspace).name,),
    }.items():
        with pytest.raises(gr.Error, match="Only the owner"):
            handlers[name](request(), token, *values)
    assert newest(workspace).state == FINISHED


def test_outcome_is_shown_with_chart_verdict_images_and_predictions(
    section: Part, workspace: Workspace
) -> None:
    _, versions, updates = section.refresh(*page("luck"))
    shown = updates["experiment-result"]
    outcome = newest(workspace).outcome
    assert outcome is not None
    assert str(outcome["verdict"]) in shown.unescape()
    assert shown.count("<svg") == 1
    assert shown.count('class="tiles"') >= 1
    assert "0.1 to 0.5 points: 1" in shown
    assert "ran on small, which" in shown
    assert newest(workspace).predictions == (0, 1, 0)
    assert "finished" in updates["experiment-status"]
    assert section.refresh(*page("luck"), shown=versions)[2] == {}


def test_a_running_experiment_says_how_long_its_trainings_still_take() -> None:
    started = datetime.now(timezone.utc) - timedelta(minutes=4)
    count = len(LUCK.trainings(0))
    size = LUCK.images * LUCK.arms[0].settings["epochs"]
    idle = ExperimentView(experiment=LUCK, state="running", started=started)
    second = idle.after(RunStart("two", 2, count))
    assert second.seconds_left(240.0) is None
    # A training and a half at a minute each have taken four minutes: the rest went elsewhere.
    second = second.after(StepProgress(1, 2, 2, 4, (), size / 60, seconds_left=30.0))
    besides = (240 - 90) / 2
    left = 30 + (count - 2) * (60 + besides)
    assert second.seconds_left(240.0) == pytest.approx(left)
    shown = status(second, None, None)
    assert f"seed 1 · epoch 1 of 2 · about {rough_duration(left)} left" in shown


def test_predictions_are_closed_once_the_outcome_is_known_and_open_before(
    handlers: Handlers, workspace: Workspace
) -> None:
    visitor = "0123456789abcdef0123456789abcdef"
    with pytest.raises(gr.Error, match="The outcome is known"):
        handlers["make_prediction"](visitor, "luck", 1)
    for choice in (0, 2):  # one prediction per visitor: the later one counts
        handlers["make_prediction"](visitor, "overfitting", choice)
    counts = workspace.peoples_predictions.counts(catalogue.find("overfitting"))
    assert counts == (0, 0, 1)
    assert handlers["own_prediction"](visitor, "overfitting").value == 2
    for other in ("somebody-else", ""):
        assert handlers["own_prediction"](other, "overfitting").value is None
    for odd in (3, -1, "1", None, True, [0]):
        with pytest.raises(gr.Error, match="Unknown prediction"):
            handlers["make_prediction"](visitor, "overfitting", odd)
    for odd in (None, "", 7):
        with pytest.raises(gr.Error):
            handlers["make_prediction"](odd, "overfitting", 1)


@pytest.mark.parametrize("odd", [None, "", "../luck", 7, ["luck"], "x" * 9999])
def test_unknown_experiment_is_refused_in_one_sentence(handlers: Handlers, odd: Any) -> None:
    for call in (
        lambda: handlers["choose"](odd),
        lambda: handlers["ask_about_outcome"](odd),
        lambda: handlers["start_experiment"](request(), TOKEN, odd),
    ):
        with pytest.raises(gr.Error, match="There is no experiment"):
            call()
    with pytest.raises(gr.Error, match="There is no outcome"):
        handlers["delete_outcome"](request(), TOKEN, odd)


def test_pages_follow_the_owner_until_they_choose_for_themselves(
    section: Part, handlers: Handlers
) -> None:
    def experiment_of(*, has_chosen: bool) -> Any:
        _, _, updates = section.refresh(*page("luck", has_chosen=has_chosen))
        return updates.get("experiment-select")

    assert handlers["record_choice"](request(), "", "augmentation") is True
    assert experiment_of(has_chosen=False) is None, "a visitor has chosen"
    before, *_ = section.refresh(*page("luck", has_chosen=True))
    handlers["record_choice"](request(), TOKEN, "augmentation")
    assert experiment_of(has_chosen=False) == "augmentation"
    card = section.refresh(*page("luck"))[2]["experiment-card"]
    assert catalogue.find("augmentation").question in card
    assert experiment_of(has_chosen=True) is None
    after, *_ = section.refresh(*page("luck", has_chosen=True))
    assert before != after, "the pages would not be refreshed"
    handlers["record_choice"](request(), TOKEN, "luck")


def test_an_experiment_waits_for_another_job_and_asks_for_predictions(
    section: Part, workspace: Workspace
) -> None:
    sentences = ["Run 'mine' has been training since 12:00:00"]
    workspace.job.exclusive.register(lambda: sentences[0])
    few = page("few-images", has_chosen=True)
    _, shown, updates = section.refresh(*few)
    status = updates["experiment-status"]
    assert f"{sentences[0]}; an experiment can start" in status.unescape()
    assert "stop it" not in status
    assert "No predictions yet" in status
    assert not updates["experiment-run"].interactive
    sentences[0] = ""
    assert section.refresh(*few, shown=shown)[2]["experiment-run"].interactive


def test_number_of_predictions_is_bounded(workspace: Workspace) -> None:
    experiment = catalogue.find("augmentation")
    people = workspace.peoples_predictions
    people._write({"augmentation": {str(number): 0 for number in range(MOST_PEOPLE)}})
    with pytest.raises(Exception, match="have predicted already"):
        people.record(experiment, "one more", 1)
    people.record(experiment, "0", 1)
    assert people.counts(experiment) == (MOST_PEOPLE - 1, 1, 0)


def test_runs_are_one_row_and_never_chosen_by_themselves(workspace: Workspace) -> None:
    sections: list[RunsSection] = []
    Part(workspace, lambda context: sections.append(RunsSection(context, [])))
    section = sections[0]
    assert f"{newest(workspace).name} (2 runs)" in section.html()
    assert section.resumable() == ""
    with pytest.raises(Exception, match="delete its outcome in Experiments"):
        workspace.job.delete(workspace.runs.records()[0].name)
    models = Models(workspace)
    names = [name for _, name in models.choices()]
    assert len(names) == 2
    assert models.default is None
    older = workspace.checkpoints_folder / "older.pt"
    older.write_bytes((workspace.checkpoints_folder / f"{names[0]}.pt").read_bytes())
    assert models.default == "older"
    assert [name for _, name in models.choices()] == ["older", *names]
    assert workspace.job.view().ended is None, "the selector follows this view alone"


def test_outcome_runs_and_checkpoints_are_deleted_together(
    section: Part, handlers: Handlers, workspace: Workspace
) -> None:
    group = newest(workspace)
    _, question, doomed = handlers["ask_about_outcome"]("luck")
    assert "its 2 runs and their checkpoints" in question
    handlers["delete_outcome"](request(), TOKEN, doomed)
    assert section.refresh(*page("luck"))[2]["experiment-result"] == ""
    assert workspace.runs.records() == []
    assert [path.name for path in workspace.checkpoints_folder.iterdir()] == ["older.pt"]
    assert workspace.groups.latest("luck") is None
    with pytest.raises(gr.Error, match="deleted already"):
        handlers["delete_outcome"](request(), TOKEN, group.name)
    assert dataclasses.asdict(workspace.experiment_job.view())["group"] == ""
