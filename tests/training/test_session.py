"""The end of a run: which files it leaves, in which order, and that no failure spoils it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dropout_passes import measure

from digitcnn.analysis.predictions import predict
from digitcnn.digits import synthetic
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.idx import write_idx
from digitcnn.errors import ConfigError, RunError
from digitcnn.network import checkpoint
from digitcnn.network.checkpoint import Details
from digitcnn.network.device import Compute
from digitcnn.network.filenames import numbered, save_under_free_name
from digitcnn.network.model import DigitCNN
from digitcnn.network.original_images import original_images
from digitcnn.options import FIGURES, MASKS
from digitcnn.training.background import StopSignal
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.events import EpochEnd, Phase, RunEnd, TrainingEvent
from digitcnn.training.post_training import other_test_set
from digitcnn.training.run import Run
from digitcnn.training.run_record import INTERRUPTED, STOPPED
from digitcnn.training.runs import RunStore
from digitcnn.training.session import run_training

CONFIG = TrainingConfig(
    digits="small", epochs=1, batch_size=32, learning_rate=0.004, train_images=64
)
PASSES = PostTrainingConfig(figures=False)
FIGURE_FILES = {f"{name}.png" for name in FIGURES}


class Trial:
    """A run on a data folder of one test's own."""

    def __init__(self, folder: Path, drawn: DigitSet, cpu: Compute) -> None:
        self.folder, self.cpu = folder, cpu
        self.catalog = Catalog(folder / "data")
        self.checkpoints = folder / "checkpoints"
        self.stop = StopSignal()
        self.lay("small", "train", drawn.images, drawn.labels)

    def lay(self, name: str, stem: str, images: torch.Tensor, labels: torch.Tensor) -> None:
        folder = self.folder / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        write_idx(folder / f"{stem}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{stem}-labels-idx1-ubyte.gz", labels)

    def lay_test(self) -> None:
        test = synthetic.draw("synthetic", "test", images=100)
        self.lay("small", "test", test.images, test.labels)

    def lay_emnist(self) -> None:
        """Transposed, as it is published."""
        other = synthetic.draw("synthetic-other-writers", "test", images=60)
        self.lay(
            "emnist-digits",
            "emnist-digits-test",
            other.images.transpose(1, 2).contiguous(),
            other.labels,
        )

    def create(self, post_training: PostTrainingConfig, config: TrainingConfig = CONFIG) -> Run:
        return RunStore(self.folder / "outputs").create(config, "mine", post_training=post_training)

    def go(self, run: Run, when: Callable[[TrainingEvent], None] = lambda progress: None) -> RunEnd:
        """Finish the run; ``when`` gets every event."""
        for progress in run_training(
            run,
            catalog=self.catalog,
            checkpoints=self.checkpoints,
            compute=self.cpu,
            stop=self.stop,
        ):
            when(progress)
        assert isinstance(progress, RunEnd)
        return progress


@pytest.fixture
def trial(tmp_path: Path, drawn: DigitSet, cpu: Compute) -> Trial:
    return Trial(tmp_path, drawn, cpu)


def read(path: Path) -> dict:
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


def test_finished_run_has_nine_figures_passes_and_metrics_of_the_other_set(trial: Trial) -> None:
    trial.lay_test()
    trial.lay_emnist()
    run = trial.create(PostTrainingConfig(passes=3))
    end = trial.go(run)
    assert (end.state, end.message) == ("finished", "Finished 1 epoch.")
    assert {path.name for path in (run.folder / "figures").iterdir()} == FIGURE_FILES
    metrics = read(run.folder / "metrics.json")
    assert list(metrics) == ["held_out", "small", "emnist-digits"]
    assert metrics == end.metrics
    loaded = checkpoint.load(trial.checkpoints / "mine.pt")
    assert loaded.details.metrics == {name: metrics[name] for name in ("held_out", "small")}
    # The passes are over the other set, as in figure 9 and in the stability command.
    emnist = trial.catalog.open("emnist-digits", "test")
    predictions = predict(loaded.network, emnist, digest=loaded.digest)
    kept = read(run.folder / "stability.json")
    for masks in MASKS:
        found = measure(loaded.network, predictions, 3, masks=masks, temperature=loaded.temperature)
        assert kept[masks].items() >= found.to_json().items()
        assert (kept[masks]["digits"], kept[masks]["n"]) == ("emnist-digits", 60)
    log = (run.folder / "log.txt").read_text()
    assert len(end.stability) == 2
    assert all(text in log and text.startswith("EMNIST digits test") for text in end.stability)


def test_run_on_several_sets_reports_each_of_them_and_resumes(trial: Trial) -> None:
    other = synthetic.draw("synthetic-other-writers", "train", images=120)
    trial.lay("other", "train", other.images, other.labels)
    trial.lay_test()
    config = replace(CONFIG, digits="small, other", epochs=2)
    run = trial.create(PostTrainingConfig(figures=False, stability=False), config)

    def stop_after_an_epoch(event: TrainingEvent) -> None:
        if isinstance(event, EpochEnd):
            trial.stop.stop()

    assert trial.go(run, stop_after_an_epoch).state == STOPPED
    trial.stop = StopSignal()
    end = trial.go(run)
    assert (end.state, end.epochs) == ("finished", 2)
    assert {name: metrics["n"] for name, metrics in end.metrics.items()} == {
        "held_out": 50,
        "held_out small": 40,
        "held_out other": 10,
        "small": 100,
    }
    parts = [end.metrics[f"held_out {name}"] for name in ("small", "other")]
    right = sum(part["n"] * part["accuracy"] for part in parts)
    assert end.metrics["held_out"]["accuracy"] == pytest.approx(right / 50)
    loaded = checkpoint.load(trial.checkpoints / "mine.pt")
    assert loaded.details.digits == loaded.details.config["digits"] == "small,other"
    assert "trained on small and other for 2 epochs" in loaded.details.claim()
    assert "on small test images (claimed by its file)" in loaded.details.claim()
    # What the panels and fine-tuning open: the same 64 images, four fifths of them small's.
    images = original_images(loaded, trial.catalog)
    assert (len(images.training), len(images.held_out)) == (64, 50)


def test_without_a_test_set_passes_use_the_held_out_images(trial: Trial) -> None:
    end = trial.go(trial.create(PASSES))
    assert list(end.metrics) == ["held_out"]
    assert all(text.startswith("small held-out") for text in end.stability)


@pytest.mark.parametrize(
    ("post_training", "files"),
    [
        (PostTrainingConfig(figures=False, stability=False), set()),
        (PASSES, {"stability.json"}),
        (PostTrainingConfig(stability=False), {"figures"}),
    ],
)
def test_skipped_parts_are_not_created(
    trial: Trial, post_training: PostTrainingConfig, files: set[str]
) -> None:
    run = trial.create(post_training)
    trial.go(run)
    made = {path.name for path in run.folder.iterdir()}
    assert made & {"stability.json", "figures"} == files
    if "figures" in files:
        drawn = {path.name for path in (run.folder / "figures").iterdir()}
        assert drawn == FIGURE_FILES - {"09_stability_test.png"}


def test_default_number_of_passes_is_the_number_of_epochs(trial: Trial) -> None:
    run = trial.create(PASSES)
    trial.go(run)
    assert read(run.folder / "stability.json")["shared"]["passes"] == CONFIG.epochs


def test_wrong_number_of_passes_is_refused() -> None:
    with pytest.raises(ConfigError, match="from 1 to 200"):
        PostTrainingConfig(passes=201)


def test_post_training_config_is_stored_and_older_runs_have_the_defaults(trial: Trial) -> None:
    run = trial.create(PostTrainingConfig(figures=False, passes=7))
    assert RunStore(run.folder.parent).open("mine").record().post_training.passes == 7
    values = read(run.folder / "run.json")
    del values["closing"]
    (run.folder / "run.json").write_text(json.dumps(values))
    assert run.record().post_training == PostTrainingConfig()
    for odd in ([], {"passes": 900}, {"more": 1}, 3):
        (run.folder / "run.json").write_text(json.dumps({**values, "closing": odd}))
        with pytest.raises(RunError, match="not a run of this version"):
            run.record()


def test_run_is_finished_before_post_training_starts(trial: Trial) -> None:
    run = trial.create(PASSES)
    seen: list[tuple[str, bool, bool]] = []

    def look(progress: TrainingEvent) -> None:
        if isinstance(progress, Phase) and "passes" in progress.text:
            there = (trial.checkpoints / "mine.pt").exists()
            seen.append((run.record().state, there, (run.folder / "resume.pt").exists()))

    trial.go(run, look)
    assert seen == [("finished", True, False)]


def test_process_killed_during_post_training_leaves_a_finished_run(trial: Trial) -> None:
    run = trial.create(PASSES)
    steps = run_training(
        run,
        catalog=trial.catalog,
        checkpoints=trial.checkpoints,
        compute=trial.cpu,
        stop=trial.stop,
    )
    for progress in steps:
        if isinstance(progress, Phase) and "passes" in progress.text:
            break
    steps.close()  # type: ignore[attr-defined]
    assert run.record().state == "finished"
    assert run.record().digest == checkpoint.load(trial.checkpoints / "mine.pt").digest


def test_unwritable_figures_leave_a_finished_run_with_a_message(trial: Trial) -> None:
    run = trial.create(PostTrainingConfig(passes=2))
    (run.folder / "figures").write_text("a file where the folder should be")
    end = trial.go(run)
    assert end.state == "finished"
    assert end.message.startswith("Finished 1 epoch. Some figures or dropout passes could not be")
    record = run.record()
    assert (record.state, record.message) == ("finished", end.message)
    assert "Traceback" in (run.folder / "log.txt").read_text()
    assert len(end.stability) == 2


def test_damaged_other_set_leaves_a_finished_run_with_a_message(trial: Trial) -> None:
    trial.lay_emnist()
    images = trial.folder / "data/emnist-digits/emnist-digits-test-images-idx3-ubyte.gz"
    whole = images.read_bytes()
    images.write_bytes(whole[: len(whole) // 2])
    end = trial.go(trial.create(PASSES))
    assert end.state == "finished"
    assert "emnist-digits was skipped: " in end.message
    assert list(end.metrics) == ["held_out"]
    assert len(end.stability) == 2


def test_damaged_own_test_set_leaves_a_finished_run_with_a_message(trial: Trial) -> None:
    trial.lay_test()
    labels = trial.folder / "data/small/test-labels-idx1-ubyte.gz"
    write_idx(labels, torch.zeros(99, dtype=torch.uint8))
    end = trial.go(trial.create(PostTrainingConfig(figures=False, stability=False)))
    assert end.state == "finished"
    assert "small (test) cannot be used: " in end.message
    assert list(end.metrics) == ["held_out"]


@pytest.mark.parametrize("reason", [STOPPED, INTERRUPTED])
def test_stop_during_post_training_skips_the_rest(trial: Trial, reason: str) -> None:
    run = trial.create(PostTrainingConfig(passes=200))
    asked: list[bool] = []
    when = {STOPPED: "drawing figures, 1", INTERRUPTED: "running 200 dropout passes"}[reason]

    def stop(progress: TrainingEvent) -> None:
        if not asked and isinstance(progress, Phase) and progress.text.startswith(when):
            asked.append(True)
            trial.stop.stop(reason)

    end = trial.go(run, stop)
    assert end.state == "finished"
    assert "skipped because the run was stopped" in end.message
    assert len(list(run.folder.glob("figures/*"))) <= 1


def test_stop_during_evaluation_completes_it_and_skips_the_rest(trial: Trial) -> None:
    trial.lay_test()
    run = trial.create(PASSES)

    def stop(progress: TrainingEvent) -> None:
        if isinstance(progress, Phase) and progress.text.startswith("evaluating the held-out"):
            trial.stop.stop()

    end = trial.go(run, stop)
    assert end.state == "finished"
    assert list(end.metrics) == ["held_out", "small"]
    assert not (run.folder / "stability.json").exists()


def test_interruption_during_evaluation_leaves_a_resumable_run(
    trial: Trial,
) -> None:
    run = trial.create(PASSES)

    def end_process(progress: TrainingEvent) -> None:
        if isinstance(progress, Phase) and progress.text.startswith("evaluating the held-out"):
            trial.stop.stop(INTERRUPTED)

    assert trial.go(run, end_process).state == "interrupted"
    assert not trial.checkpoints.exists()
    trial.stop = StopSignal()
    end = trial.go(run)
    assert (end.state, end.epochs) == ("finished", 1)


@pytest.mark.parametrize(
    ("digits", "other"),
    [
        ("mnist", "emnist-digits"),
        ("mine", "emnist-digits"),
        ("emnist-digits", "mnist"),
        ("synthetic", "synthetic-other-writers"),
        ("mnist,synthetic", "emnist-digits"),
        ("mnist,emnist-digits", "synthetic-other-writers"),
    ],
)
def test_other_test_set_is_by_other_writers(digits: str, other: str) -> None:
    assert other_test_set(digits) == other


def test_networks_saved_at_once_under_one_name_get_a_file_each(tmp_path: Path) -> None:
    networks = []
    for seed in range(4):
        torch.manual_seed(seed)
        networks.append(DigitCNN())
    digests = [checkpoint.digest(network.state_dict()) for network in networks]
    details = Details(digits="small")
    paths: dict[str, Path] = {}
    together = threading.Barrier(len(networks))

    def save(network: DigitCNN, digest: str) -> None:
        together.wait(30)
        paths[digest] = save_under_free_name(tmp_path, numbered("same"), network, details)

    threads = [
        threading.Thread(target=save, args=pair) for pair in zip(networks, digests, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {checkpoint.load(path).digest for path in paths.values()} == set(digests)
    assert {digest: checkpoint.load(path).digest for digest, path in paths.items()} == {
        digest: digest for digest in digests
    }
    assert len(list(tmp_path.iterdir())) == len(networks)
