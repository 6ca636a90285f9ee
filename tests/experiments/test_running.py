"""Every experiment in small: it trains its arms, answers its questions and stores its outcome."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from experiments_in_small import in_small

from digitcnn.digits.catalog import Catalog
from digitcnn.experiments import catalogue
from digitcnn.experiments.experiment import Experiment
from digitcnn.experiments.groups import Group, GroupStore
from digitcnn.experiments.outcome import Outcome
from digitcnn.experiments.running import ExperimentEnd, ExperimentRunner
from digitcnn.network import checkpoint
from digitcnn.network.device import Compute
from digitcnn.training.runs import RunStore
from digitcnn.training.stop_signal import StopSignal

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


@pytest.mark.parametrize("name", catalogue.names())
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
    assert list(records) == [run["run"] for run in reversed(outcome["runs"])]
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
