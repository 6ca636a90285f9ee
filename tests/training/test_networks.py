"""Every network of the catalogue is trained, resumed, stored and fine-tuned as the default is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from digitcnn.cli import main
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.errors import ConfigError
from digitcnn.network import checkpoint
from digitcnn.network.architectures import ARCHITECTURES
from digitcnn.network.device import Compute
from digitcnn.options import FIGURES, NETWORKS
from digitcnn.training.background import StopSignal
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.events import EpochEnd, RunEnd, Snapshot
from digitcnn.training.finetune_training import FineTuningConfig, Sketches, fine_tune_network
from digitcnn.training.loop import train
from digitcnn.training.runs import RunStore
from digitcnn.training.session import run_training
from digitcnn.training.view import TrainingReplay

SHORT = TrainingConfig(digits="small", epochs=2, batch_size=64, learning_rate=0.004)
OTHERS = NETWORKS[1:]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long) if name == "deep" else name for name in OTHERS],
)
def test_a_network_learns_and_resumes_exactly(name: str, drawn: DigitSet, cpu: Compute) -> None:
    config = dataclasses.replace(SHORT, epochs=3, network=name)
    sets = split_held_out(drawn)

    def snapshots(resume: Snapshot | None = None) -> list[Snapshot]:
        events = train(config, *sets, cpu, resume=resume)
        return [event.snapshot for event in events if isinstance(event, EpochEnd)]

    whole = snapshots()
    assert whole[-1].history[-1].loss < 0.9 * whole[0].history[0].loss
    (resumed,) = snapshots(whole[1])
    for key, tensor in whole[-1].averaged.items():
        assert torch.equal(resumed.averaged[key], tensor), key


# One without dropout and one without convolutions: each has the figures that the other lacks.
@pytest.mark.parametrize("name", [pytest.param("lenet", marks=pytest.mark.long), "mlp"])
def test_a_run_of_a_network_ends_with_its_checkpoint_and_figures(
    name: str, tmp_path: Path, data_dir: Path, cpu: Compute
) -> None:
    config = dataclasses.replace(SHORT, epochs=1, train_images=64, network=name)
    store = RunStore(tmp_path / "outputs")
    run = store.create(config, "mine", post_training=PostTrainingConfig(passes=2))
    assert run.record().config.network == name
    replay = TrainingReplay()
    for event in run_training(
        run,
        catalog=Catalog(data_dir),
        checkpoints=tmp_path / "checkpoints",
        compute=cpu,
        stop=StopSignal(),
    ):
        if isinstance(event, EpochEnd):
            replay = replay.with_epoch(1, event.snapshot.averaged, event.network)
        end = event
    assert isinstance(end, RunEnd)
    assert end.state == "finished"
    assert end.checkpoint is not None
    loaded = checkpoint.load(end.checkpoint)
    assert type(loaded.network) is ARCHITECTURES[name]
    assert loaded.ood is not None
    assert loaded.details.temperature is not None
    (frame,) = replay.frames
    assert checkpoint.digest_of(frame.network) == end.digest
    drawn = {path.stem for path in (run.folder / "figures").iterdir()}
    if name == "mlp":
        lacking = {"05_conv_filters", "06_feature_maps"}
        assert end.message.count("no convolutions") == 1
    else:
        lacking = {"09_stability_test"}
        assert end.message.count("has no dropout layer") == 1
    assert drawn == set(FIGURES) - lacking
    assert len(end.stability) == (2 if name == "mlp" else 0)


@pytest.mark.parametrize("name", OTHERS)
def test_a_network_is_fine_tuned(name: str, drawn: DigitSet, cpu: Compute) -> None:
    network = ARCHITECTURES[name](generator=torch.Generator().manual_seed(0)).eval()
    before = checkpoint.digest_of(network)
    sketches = Sketches(drawn.images[:40], drawn.labels[:40], ("a",) * 40)
    config = FineTuningConfig(epochs=1, batch_size=32, originals=64)
    for progress in fine_tune_network(network, drawn, sketches, config, cpu):
        assert all(0 < loss < 10 for loss in progress.losses)
    assert checkpoint.digest_of(network) != before
    assert not network.training


def test_a_configuration_without_a_network_has_the_default_one() -> None:
    values = TrainingConfig().to_json()
    del values["network"]
    assert TrainingConfig.from_json(values).network == "digitcnn"


def test_an_unknown_network_is_refused_in_one_sentence(
    capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    with pytest.raises(ConfigError, match="'resnet'; choose one of digitcnn, lenet"):
        TrainingConfig(network="resnet")
    with pytest.raises(SystemExit) as caught:
        main(["train", "--network", "resnet", "--data-dir", str(data_dir)])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "resnet" in error
    assert "Traceback" not in error


def test_the_command_trains_the_network_with_several_seeds(
    tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--output-dir", str(tmp_path / "o"), "--checkpoint-dir", str(tmp_path / "c")]
    arguments = ["train", "--network", "linear", "--digits", "small", "--epochs", "1", "--seeds"]
    options = ["--no-viz", "--train-images", "64", "--data-dir", str(data_dir), "--json"]
    assert main([*arguments, "2", "--name", "a", *folders, *options]) in (0, None)
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert len({run["digest"] for run in runs}) == 2
    for run in runs:
        assert checkpoint.load(Path(run["checkpoint"])).architecture == "linear"
