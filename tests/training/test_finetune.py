"""Learning from feedback: who is learning from, what is kept, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from digitcnn.analysis.calibration import fit_temperature
from digitcnn.analysis.predictions import predict
from digitcnn.digits import synthetic
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.digits.framing import frame_emnist
from digitcnn.digits.idx import write_idx
from digitcnn.errors import (
    DigitSetError,
    FeedbackError,
    TrainingError,
)
from digitcnn.folders import SHIPPED_FILE
from digitcnn.network.checkpoint import Checkpoint, Details, digest, load
from digitcnn.network.device import Compute
from digitcnn.network.filenames import save_under_free_name
from digitcnn.network.original_images import original_images
from digitcnn.training.background import StopSignal
from digitcnn.training.events import StepProgress
from digitcnn.training.finetune import (
    ComparisonRow,
    FineTuningEnd,
    fine_tune,
    fine_tuned_names,
    objections,
)
from digitcnn.training.finetune_training import (
    FineTuningConfig,
    MixedBatches,
    Sketches,
    fine_tune_network,
    halves,
)
from digitcnn.training.run_record import FINISHED, STOPPED

QUICK = FineTuningConfig(epochs=1, batch_size=128, originals=768, learning_rate=2e-5)
# Steps that do harm where the digits are wrong.
ROUGH = dataclasses.replace(QUICK, learning_rate=4e-3, share=1.0)


@pytest.fixture(scope="module")
def many(drawn: DigitSet) -> DigitSet:
    """As many images as the held-out rule needs to see anything: 40 times the same 480."""
    return DigitSet(drawn.images.repeat(40, 1, 1), drawn.labels.repeat(40), "many", "train")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, many: DigitSet) -> Path:
    """A data folder with that set, and a test set whose labels are all wrong."""
    data = tmp_path_factory.mktemp("tuning")
    (data / "many").mkdir()
    write_idx(data / "many" / "train-images-idx3-ubyte.gz", many.images)
    write_idx(data / "many" / "train-labels-idx1-ubyte.gz", many.labels)
    test = synthetic.draw("synthetic", "test", images=50)
    write_idx(data / "many" / "test-images-idx3-ubyte.gz", test.images)
    write_idx(data / "many" / "test-labels-idx1-ubyte.gz", (test.labels + 1) % 10)
    return data


@pytest.fixture(scope="module")
def base(many: DigitSet) -> Checkpoint:
    """The weights that ship, as if they had been trained on those images."""
    shipped = load(SHIPPED_FILE)
    training, held_out = split_held_out(many)
    training = training.take(slice(440))
    details = dataclasses.replace(
        shipped.details,
        digits="many",
        config={**shipped.details.config, "train_images": 440},
        fingerprints={"train": training.fingerprint, "held_out": held_out.fingerprint},
    )
    return dataclasses.replace(shipped, details=details, name="mine")


@pytest.fixture(scope="module")
def sketches() -> Sketches:
    """60 digits of three visitors."""
    found = synthetic.draw("synthetic-other-writers", "test", images=60)
    return Sketches(found.images, found.labels, [f"visitor {place % 3}" for place in range(60)])


@pytest.fixture
def fine_tuned(
    base: Checkpoint, sketches: Sketches, folder: Path, tmp_path: Path, cpu: Compute
) -> Callable[..., FineTuningEnd]:
    def run(
        drawn: Sketches = sketches, config: FineTuningConfig = QUICK, fine_tuned: Checkpoint = base
    ) -> FineTuningEnd:
        *_, end = fine_tune(
            fine_tuned,
            drawn,
            catalog=Catalog(folder),
            checkpoints=tmp_path,
            compute=cpu,
            stop=StopSignal(),
            config=config,
        )
        assert isinstance(end, FineTuningEnd)
        return end

    return run


def blank(n: int) -> torch.Tensor:
    """``n`` images, no two alike."""
    images = torch.zeros(n, 28, 28, dtype=torch.uint8)
    images[:, 0, 0] = torch.arange(n, dtype=torch.uint8)
    return images


def test_sketches_of_a_visitor_alternate_between_the_halves() -> None:
    who = ["a", "b", "a", "a", "c", "b", "a", "a"]
    found = Sketches(blank(8), torch.arange(8, dtype=torch.uint8), who)
    learning, testing = halves(found)
    assert learning.digits.tolist() == [0, 1, 3, 4, 7]
    assert testing.digits.tolist() == [2, 5, 6]
    assert learning.visitors == ["a", "b", "a", "c", "a"]
    assert torch.equal(testing.images, found.images[[2, 5, 6]])


def test_duplicate_sketch_counts_once_with_its_last_label() -> None:
    images = blank(4)
    images[2] = images[0]
    learning, testing = halves(
        Sketches(images, torch.tensor([1, 2, 7, 4], dtype=torch.uint8), ["a"] * 4)
    )
    assert sorted(learning.digits.tolist() + testing.digits.tolist()) == [2, 4, 7]
    # The same pixels by another visitor are another sketch.
    learning, testing = halves(
        Sketches(images[[0, 2]], torch.tensor([1, 1], dtype=torch.uint8), ["a", "b"])
    )
    assert (len(learning), len(testing)) == (2, 0)


def test_too_few_sketches_are_refused_with_the_number_needed(
    fine_tuned: Callable[..., FineTuningEnd], sketches: Sketches
) -> None:
    with pytest.raises(FeedbackError, match=r"39 labelled sketches, .* needs 40"):
        fine_tuned(sketches.take(range(39)))
    lonely = Sketches(sketches.images, sketches.digits, [str(place) for place in range(60)])
    with pytest.raises(FeedbackError, match="Only 0 sketches are left for testing"):
        fine_tuned(lonely)


def test_original_images_exclude_the_held_out_ones(
    base: Checkpoint, folder: Path, many: DigitSet
) -> None:
    images = original_images(base, Catalog(folder))
    assert torch.equal(images.training.images, many.images[:440])
    assert torch.equal(images.held_out.images, many.images[-1600:])
    fewer = split_held_out(many)[0].take(slice(500))
    details = dataclasses.replace(
        base.details,
        config={**base.details.config, "train_images": 500},
        fingerprints={"train": fewer.fingerprint},
    )
    recorded = dataclasses.replace(base, details=details)
    assert len(original_images(recorded, Catalog(folder)).training) == 500


def test_changed_images_and_weights_without_details_are_refused(
    base: Checkpoint, folder: Path, tmp_path: Path
) -> None:
    for part in ("train", "held_out"):
        prints = {**base.details.fingerprints, part: "0" * 64}
        details = dataclasses.replace(base.details, fingerprints=prints)
        with pytest.raises(DigitSetError, match="differ from those mine was trained on"):
            original_images(dataclasses.replace(base, details=details), Catalog(folder))
    with pytest.raises(DigitSetError, match="does not record its training images"):
        original_images(dataclasses.replace(base, details=Details()), Catalog(folder))
    with pytest.raises(DigitSetError, match="Unknown digit set 'many'"):
        original_images(base, Catalog(tmp_path))


def test_same_seed_gives_same_weights_and_batch_norm_statistics_stay(
    base: Checkpoint, sketches: Sketches, many: DigitSet, cpu: Compute
) -> None:
    weights = []
    for seed in (0, 0, 1):
        network = copy.deepcopy(base.network)
        config = dataclasses.replace(QUICK, originals=192, seed=seed)
        for progress in fine_tune_network(network, many, sketches, config, cpu):
            assert isinstance(progress, StepProgress)
        assert not network.training
        assert not any(value.requires_grad for value in network.parameters())
        weights.append(network.state_dict())
    assert digest(weights[0]) == digest(weights[1]) != digest(weights[2])
    untouched = base.network.state_dict()
    assert digest(untouched) == base.digest != digest(weights[0])
    for name, value in untouched.items():
        if "running" in name:
            assert torch.equal(value, weights[0][name])


def test_result_lies_between_old_and_fine_tuned_weights(
    base: Checkpoint, sketches: Sketches, many: DigitSet, cpu: Compute
) -> None:
    found = {}
    for share in (0.25, 1.0):
        network = copy.deepcopy(base.network)
        config = dataclasses.replace(QUICK, originals=96, learning_rate=1e-2, share=share)
        list(fine_tune_network(network, many, sketches, config, cpu))
        found[share] = network.output.weight - base.network.output.weight
    assert float(found[1.0].abs().max()) > 1e-5
    torch.testing.assert_close(found[0.25], found[1.0] / 4, rtol=1e-3, atol=1e-7)


def test_stop_ends_between_two_batches_in_evaluation_mode(
    base: Checkpoint, sketches: Sketches, many: DigitSet, cpu: Compute
) -> None:
    network = copy.deepcopy(base.network)
    asked = iter([False, True])
    done = list(fine_tune_network(network, many, sketches, QUICK, cpu, stopped=lambda: next(asked)))
    assert [progress.step for progress in done] in ([], [1])  # a slow step is reported
    assert not network.training


def test_every_sketch_comes_once_before_any_comes_again(sketches: Sketches, cpu: Compute) -> None:
    training = DigitSet(blank(200), torch.full((200,), 9, dtype=torch.uint8), "blank", "train")
    config = FineTuningConfig(batch_size=50, sketch_share=0.4, originals=120)
    generator = torch.Generator().manual_seed(0)
    batches = MixedBatches(training, sketches, config, cpu.device, generator)
    assert (batches.sketches_per_batch, batches.originals_per_batch, batches.steps_per_epoch) == (
        20,
        30,
        4,
    )
    drawn: list[bytes] = []
    originals: list[int] = []
    for step in range(6):
        images, digits = batches.batch(step)
        assert images.shape == (50, 28, 28)
        is_original = images[:, 1:].flatten(1).sum(1) == 0
        assert digits[is_original].tolist() == [9] * 30
        originals += images[is_original][:, 0, 0].tolist()
        drawn += [image.numpy().tobytes() for image in images[~is_original]]
    assert len(set(drawn[:60])) == len(set(drawn[60:])) == 60
    assert len(set(originals[:120])) == 120
    few = MixedBatches(training, sketches.take(range(12)), config, cpu.device, generator)
    assert (few.sketches_per_batch, few.originals_per_batch) == (12, 38)


def test_diverging_loss_raises_a_training_error(
    base: Checkpoint, sketches: Sketches, many: DigitSet, cpu: Compute
) -> None:
    wild = dataclasses.replace(QUICK, learning_rate=1e30)
    with pytest.raises(TrainingError, match="The loss became"):
        list(fine_tune_network(copy.deepcopy(base.network), many, sketches, wild, cpu))


def side(before: float, after: float, low: float = 0.0, title: str = "x") -> ComparisonRow:
    difference = 100 * (after - before)
    return ComparisonRow(title, True, 1000, before, after, difference, low, 2 * difference - low)


@pytest.mark.parametrize(
    ("testing", "lows", "against"),
    [
        (side(0.9, 0.9), (-0.29, -0.1), 0),
        (side(0.9, 0.95), (-0.3, 0.1), 1),
        (side(0.9, 0.899), (0.1, 0.1), 1),
        (side(0.9, 0.8), (-0.5, -0.4), 3),
        (side(0.9, 0.9), (float("nan"), 0.1), 1),
        (side(0.4, 0.5), (0.1, 0.1), 0),
        (side(0.1, 0.4), (0.1, 0.1), 1),
    ],
)
def test_model_is_saved_only_without_objections(
    testing: ComparisonRow, lows: tuple[float, float], against: int
) -> None:
    held_out = [side(0.99, 0.99, low) for low in lows]
    assert len(objections(testing, held_out)) == against


def test_objections_give_the_numbers() -> None:
    held_out = [side(0.99, 0.987, -0.71, "mnist held-out")]
    assert objections(side(0.95, 0.9), held_out) == [
        "on the other half of the feedback it gets 90.00% (87.98 to 91.71) right, and the old "
        "model 95.00% (93.47 to 96.19)",
        "on mnist held-out it may have lost 0.71 points (difference -0.30, 95% interval -0.71 to "
        "+0.11), more than the limit of 0.3",
    ]


def test_improved_model_is_saved_with_its_origin(
    fine_tuned: Callable[..., FineTuningEnd], base: Checkpoint, folder: Path, sketches: Sketches
) -> None:
    end = fine_tuned()
    assert (end.state, end.saved, end.base) == (FINISHED, True, "mine"), end.message
    assert end.message == (
        "Saved as mine-hand-1, fine-tuned on 30 sketches of 3 visitors: no worse on the other "
        "half of the feedback, and less than 0.3 points lost on held-out images."
    )
    assert [(row.title, row.n, row.decides) for row in end.rows] == [
        ("feedback, other half", 30, True),
        ("many held-out", 1600, True),
        ("many held-out in EMNIST framing", 1600, True),
        ("many test", 50, False),
    ]
    # The labels of that test set are all wrong, and it did not decide.
    assert end.rows[3].after < 0.1
    assert end.checkpoint is not None
    found = load(end.checkpoint)
    assert found.details.config == {
        **base.details.config,
        "tuned_from": base.digest,
        "tuned_sketches": 30,
        "tuned_visitors": 3,
        "tuned_epochs": 1,
        "tuned_learning_rate": QUICK.learning_rate,
        "tuned_share": 0.5,
        "tuned_seed": 0,
    }
    assert found.digest != base.digest
    held_out = original_images(found, Catalog(folder)).held_out
    answers = predict(found.network, held_out)
    assert found.details.temperature == fit_temperature(answers.logits, answers.labels)
    assert found.details.metrics["held_out"]["accuracy"] == end.rows[1].after
    assert found.details.metrics["many"]["n"] == 50
    assert found.ood is not None
    assert found.ood.passes(sketches.images).any()
    framed = dataclasses.replace(held_out, images=frame_emnist(held_out.images))
    assert float(predict(found.network, framed).right.float().mean()) == pytest.approx(
        end.rows[2].after
    )


def test_random_labels_save_nothing(
    fine_tuned: Callable[..., FineTuningEnd], sketches: Sketches, tmp_path: Path
) -> None:
    labels = torch.randint(0, 10, (60,), generator=torch.Generator().manual_seed(1)).byte()
    end = fine_tuned(Sketches(sketches.images, labels, sketches.visitors), ROUGH)
    assert (end.state, end.saved) == (FINISHED, False)
    assert re.match(r"Not saved, because .*on many held-out .*it may have", end.message)
    assert len(end.rows) == 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("after", ["StepProgress", "Phase"])
def test_stop_before_the_decision_saves_nothing(
    base: Checkpoint, sketches: Sketches, folder: Path, tmp_path: Path, cpu: Compute, after: str
) -> None:
    stop = StopSignal()
    ends = []
    for progress in fine_tune(
        base,
        sketches,
        catalog=Catalog(folder),
        checkpoints=tmp_path,
        compute=cpu,
        stop=stop,
        config=QUICK,
    ):
        if type(progress).__name__ == after:
            stop.stop()
        ends.append(progress)
    assert ends[-1] == FineTuningEnd(STOPPED, "Stopped; nothing was saved.", "mine")
    assert not list(tmp_path.glob("*.pt"))


def test_new_models_get_the_next_free_name(base: Checkpoint, tmp_path: Path) -> None:
    def save(name: str, change: float) -> str:
        network = copy.deepcopy(base.network)
        network.output.bias += change
        return save_under_free_name(tmp_path, fine_tuned_names(name), network, base.details).name

    assert save("mine", 1) == "mine-hand-1.pt"
    assert save("mine", 2) == "mine-hand-2.pt"
    assert save("mine", 1) == "mine-hand-1.pt"
    # A fine-tuned model can be fine-fine_tuned again; its name does not grow.
    assert save("mine-hand-2", 3) == "mine-hand-3.pt"
    assert save("../über alles", 4) == "uber-alles-hand-1.pt"
    assert save("...", 5) == "model-hand-1.pt"
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())
