"""Every experiment in small: it trains its arms, answers its questions and stores its outcome."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from experiments_in_small import in_small

from digitcnn.analysis.comparison import compare
from digitcnn.analysis.predictions import predict
from digitcnn.digits.catalog import Catalog
from digitcnn.errors import DigitSetError, RunError
from digitcnn.experiments import catalogue
from digitcnn.experiments.experiment import Experiment
from digitcnn.experiments.groups import Group, GroupStore
from digitcnn.experiments.outcome import Outcome
from digitcnn.experiments.running import ExperimentEnd, ExperimentRunner, available_digits
from digitcnn.network import checkpoint
from digitcnn.network.device import Compute
from digitcnn.training.background import StopSignal
from digitcnn.training.events import RunStart
from digitcnn.training.runs import RunStore

CONTRACT = [
    "few-images",
    "augmentation",
    "label-noise",
    "missing-digit",
    "convolutions",
    "learning-rate",
    "overfitting",
    "luck",
]


@pytest.fixture
def runner(tmp_path: Path, data_dir: Path, cpu: Compute) -> ExperimentRunner:
    runs, checkpoints = RunStore(tmp_path / "outputs"), tmp_path / "checkpoints"
    groups = GroupStore(tmp_path / "outputs" / ".experiments", runs, checkpoints)
    return ExperimentRunner(
        catalog=Catalog(data_dir), runs=runs, groups=groups, checkpoints=checkpoints, compute=cpu
    )


def outcome_of(runner: ExperimentRunner, experiment: Experiment) -> tuple[Group, Outcome]:
    group = runner.groups.create(experiment.name, "small", 3)
    *_, end = runner.events(experiment, group, StopSignal())
    assert isinstance(end, ExperimentEnd)
    assert end.outcome is not None
    return group, end.outcome


def test_the_catalogue_has_the_documented_names() -> None:
    assert catalogue.names()[:8] == CONTRACT


# These two have findings of their own; the others differ in their arms alone.
FINDINGS = ("label-noise", "missing-digit")


@pytest.mark.parametrize(
    "name",
    [
        name if name in FINDINGS else pytest.param(name, marks=pytest.mark.long)
        for name in catalogue.names()
    ],
)
def test_experiment_runs_in_small(runner: ExperimentRunner, name: str) -> None:
    experiment = in_small(catalogue.find(name))
    group, outcome = outcome_of(runner, experiment)
    assert len(outcome["runs"]) == 2 * len(experiment.arms)
    assert -1 <= outcome["low"] <= outcome["difference"] <= outcome["high"] <= 1
    assert outcome["low"] < outcome["high"]
    assert "small test" in outcome["verdict"]
    assert [arm["label"] for arm in outcome["arms"]] == [arm.label for arm in experiment.arms]
    assert all(len(arm["curve"]) == 1 for arm in outcome["arms"])
    records = {record.name: record for record in runner.runs.records()}
    assert set(records) == {run["run"] for run in outcome["runs"]}
    for run in outcome["runs"]:
        record = records[run["run"]]
        assert (record.group, record.state, record.digest) == (
            group.name,
            "finished",
            run["digest"],
        )
        assert record.config.seed == run["seed"]
        assert checkpoint.load(Path(run["checkpoint"])).digest == run["digest"]
    stored = runner.groups.latest(name)
    assert stored is not None
    assert stored.outcome == json.loads(json.dumps(outcome))
    assert any("label errors" in text for text in outcome["findings"]) == (name == "label-noise")
    assert any("the 7s are" in text for text in outcome["findings"]) == (name == "missing-digit")


def test_stopped_experiment_leaves_no_outcome_and_is_deleted_with_its_runs(
    runner: ExperimentRunner,
) -> None:
    experiment = in_small(catalogue.find("luck"))
    group = runner.groups.create(experiment.name, "small", 0)
    stop = StopSignal()
    end = None
    for event in runner.events(experiment, group, stop):
        if isinstance(event, RunStart) and event.number == 2:
            stop.stop()
        end = event
    assert isinstance(end, ExperimentEnd)
    assert (end.state, end.outcome) == ("stopped", None)
    assert "in run 2 of 2" in end.message
    stored = runner.groups.latest("luck")
    assert stored is not None
    assert (stored.state, stored.outcome) == ("stopped", None)
    assert len(runner.groups.runs_of(group.name)) == 2
    other = runner.runs.create(runner.runs.records()[0].config, "of-its-own")
    runner.groups.delete(group.name)
    assert [record.name for record in runner.runs.records()] == [other.name]
    assert list(runner.checkpoints.iterdir()) == []
    with pytest.raises(RunError, match="deleted already"):
        runner.groups.delete(group.name)


def test_experiment_that_cannot_train_is_marked_failed(runner: ExperimentRunner) -> None:
    experiment = dataclasses.replace(in_small(catalogue.find("luck")), images=10_000)
    group = runner.groups.create(experiment.name, "small", 0)
    with pytest.raises(DigitSetError, match="were requested; choose 1 to"):
        list(runner.events(experiment, group, StopSignal()))
    stored = runner.groups.latest("luck")
    assert stored is not None
    assert stored.state == "failed"
    assert "were requested; choose 1 to" in stored.message


def test_without_mnist_experiments_use_synthetic_digits(
    runner: ExperimentRunner, tmp_path: Path
) -> None:
    assert available_digits(runner.catalog) == "synthetic"
    (tmp_path / "damaged" / "mnist").mkdir(parents=True)
    for part in ("images-idx3", "labels-idx1"):
        (tmp_path / "damaged" / "mnist" / f"train-{part}-ubyte").write_bytes(b"not digits")
    with pytest.raises(DigitSetError, match="mnist"):
        available_digits(Catalog(tmp_path / "damaged"))


def test_difference_is_that_of_the_models_that_compare_opens(
    runner: ExperimentRunner,
) -> None:
    """The mean over seeds of what Compare finds for each pair of models."""
    experiment = in_small(catalogue.find("learning-rate"))
    _, outcome = outcome_of(runner, experiment)
    test = runner.catalog.open("small", "test")
    files: dict[str, list[Path]] = {}
    for run in outcome["runs"]:
        files.setdefault(run["arm"], []).append(Path(run["checkpoint"]))
    differences = []
    for pair in zip(files[outcome["a"]], files[outcome["b"]], strict=True):
        predictions = [predict(checkpoint.load(file).classifier, test) for file in pair]
        differences.append(compare(["a", "b"], predictions, [1.0, 1.0]).pairs[0].difference)
    assert 100 * outcome["difference"] == pytest.approx(sum(differences) / 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": 1},
        {"choices": ()},
        {"questions": ()},
        {"label_errors": "no such arm"},
    ],
)
def test_experiment_whose_parts_do_not_fit_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="label-noise"):
        dataclasses.replace(catalogue.find("label-noise"), **changes)  # type: ignore[arg-type]
