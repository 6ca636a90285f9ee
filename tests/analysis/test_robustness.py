from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image
from torch import Tensor

from digitcnn.analysis.adversarial import CURVE_SIZES, STEPS
from digitcnn.analysis.axes import (
    AXES,
    SKETCH_AXES,
    Axis,
    add_fog,
    add_noise,
    add_stripes,
    blur,
    change_stroke,
    occlude,
    reduce_contrast,
    rotate,
    scale,
    shift,
)
from digitcnn.analysis.robustness import (
    MOST_IMAGES,
    Robustness,
    measure,
    perturb,
    sample,
)
from digitcnn.digits import synthetic
from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.checkpoint import Checkpoint, load
from digitcnn.network.classifier import Capability
from digitcnn.network.model import DigitCNN
from digitcnn.workspace import Workspace

SHIPPED = Path(__file__).resolve().parents[2] / "checkpoints" / "digitcnn-mnist.pt"


@pytest.fixture(scope="module")
def shipped() -> Checkpoint:
    return load(SHIPPED)


@pytest.fixture(scope="module")
def digits() -> DigitSet:
    return synthetic.draw("synthetic", "test", images=60)


def named(name: str) -> Axis:
    return next(axis for axis in AXES if axis.name == name)


def assert_like(found: Tensor, reference: np.ndarray | Tensor, within: float = 1.0) -> None:
    assert found.dtype == torch.uint8
    difference = found.float() - torch.as_tensor(np.asarray(reference, dtype=np.float32))
    assert float(difference.abs().max()) <= within


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)
def test_the_neutral_strength_returns_the_images_unchanged(axis: Axis, digits: DigitSet) -> None:
    assert torch.equal(axis.apply(digits.images, axis.neutral), digits.images)


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)
def test_axes_ascend_and_contain_their_neutral_and_marked_strengths(axis: Axis) -> None:
    assert list(axis.values) == sorted(set(axis.values))
    assert {axis.neutral, *axis.marked} <= set(axis.values)
    assert axis.neutral not in axis.marked


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)
def test_float_images_are_accepted_and_not_modified(axis: Axis, digits: DigitSet) -> None:
    images = digits.images.float()
    before = images.clone()
    changed = axis.apply(images, axis.values[-1])
    assert torch.equal(images, before)
    assert torch.equal(changed, axis.apply(digits.images, axis.values[-1]))


@pytest.mark.parametrize("degrees", [-73.0, -30.0, 10.0, 90.0])
def test_rotation_agrees_with_scipy(degrees: float, digits: DigitSet) -> None:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # From a pixel's row and column to where its value comes from, clockwise about the framed
    # centre, which counts from the corner of the image: pixel 14 of 0 to 27.
    matrix = np.array([[cos, -sin], [sin, cos]])
    offset = np.array([14.0, 14.0]) - matrix @ np.array([14.0, 14.0])
    for image, rotated in zip(digits.images, rotate(digits.images, degrees), strict=True):
        reference = scipy.ndimage.affine_transform(
            image.float().numpy(), matrix, offset, order=1, mode="grid-constant"
        )
        assert_like(rotated, reference)


def test_rotation_is_clockwise() -> None:
    bar = torch.zeros(1, 28, 28, dtype=torch.uint8)
    bar[0, 4:14, 14] = 200
    turned = rotate(bar, 90)
    assert int(turned[0, 14, 15:25].min()) == 200
    assert int(turned[0, :13].max()) == 0


def test_shifts_by_whole_pixels_copy_pixels(digits: DigitSet) -> None:
    moved = shift(digits.images, 3)
    assert torch.equal(moved[:, :, 3:], digits.images[:, :, :-3])
    assert int(moved[:, :, :3].max()) == 0
    moved = shift(digits.images, -8)
    assert torch.equal(moved[:, :, :-8], digits.images[:, :, 8:])


def test_noise_has_its_deviation_where_it_is_not_clipped() -> None:
    grey = torch.full((20, 28, 28), 128, dtype=torch.uint8)
    noisy = add_noise(grey, 0.1).float()
    assert float(noisy.std()) == pytest.approx(25.5, rel=0.03)
    assert float(noisy.mean()) == pytest.approx(128, abs=1)
    assert not torch.equal(noisy[0], noisy[1])


def test_less_contrast_brings_ink_and_paper_nearer_to_grey(digits: DigitSet) -> None:
    pale = reduce_contrast(digits.images, 0.2)
    assert (int(pale.min()), int(pale.max())) == (102, 153)
    difference = pale.float() - (102 + 0.2 * digits.images.float())
    assert float(difference.abs().max()) <= 0.51


def test_fog_only_darkens_paper_and_differs_from_image_to_image() -> None:
    foggy = add_fog(torch.zeros(5, 28, 28, dtype=torch.uint8), 0.6).float()
    assert foggy.amax((1, 2)).tolist() == pytest.approx([153] * 5, abs=1)
    assert not torch.equal(foggy[0], foggy[1])
    # Clouds, not grain: neighbours are alike.
    assert float(foggy.diff(dim=2).abs().mean()) < 0.3 * float(foggy.std())


def test_stripes_keep_the_digit_between_them(digits: DigitSet) -> None:
    striped = add_stripes(digits.images, 0.4)
    changed = (striped != digits.images).any(0).any(0)
    assert changed.nonzero().flatten().tolist() == [5, 6, 12, 13, 19, 20, 26, 27]
    assert int(striped[:, :, 5].min()) == 102


@pytest.mark.parametrize("pixels", [2, 6, 14])
def test_occlusion_covers_a_square_of_its_size(pixels: int) -> None:
    covered = occlude(torch.full((50, 28, 28), 255, dtype=torch.uint8), pixels) == 0
    assert covered.flatten(1).sum(1).tolist() == [pixels**2] * 50
    assert covered.any(1).sum(1).tolist() == [pixels] * 50
    inside = covered.any(0).nonzero()
    assert int(inside.min()) >= 4
    assert int(inside.max()) < 24


def test_shrinking_agrees_with_pillow(digits: DigitSet) -> None:
    shrunk = scale(digits.images, 0.5)
    for image, found in zip(digits.images, shrunk, strict=True):
        # Framed pixel x shows the place 14.5 + 2 (x + 0.5 - 14.5): pixels 8 to 19 show 1.5 to 25.5.
        # In floats, which Pillow does not round between rows and columns.
        reference = Image.fromarray(image.float().numpy()).resize(
            (12, 12), Image.Resampling.BICUBIC, box=(1.5, 1.5, 25.5, 25.5)
        )
        # Pillow looks at nothing outside the box.
        assert_like(found[10:18, 10:18], np.asarray(reference)[2:-2, 2:-2].clip(0, 255))


def test_growing_agrees_with_pillow(digits: DigitSet) -> None:
    grown = scale(digits.images, 2.0)
    for image, found in zip(digits.images, grown, strict=True):
        reference = Image.fromarray(image.float().numpy()).resize(
            (28, 28), Image.Resampling.BICUBIC, box=(7.25, 7.25, 21.25, 21.25)
        )
        assert_like(found, np.asarray(reference).clip(0, 255))


@pytest.mark.parametrize("pixels", [2, 4])
def test_thicker_strokes_agree_with_scipys_dilation(pixels: int, digits: DigitSet) -> None:
    reference = scipy.ndimage.grey_dilation(
        digits.images.numpy(), size=(1, pixels + 1, pixels + 1), mode="constant"
    )
    assert_like(change_stroke(digits.images, pixels), reference, within=0)


def test_strokes_thinner_by_two_pixels_agree_with_scipys_erosion(digits: DigitSet) -> None:
    reference = scipy.ndimage.grey_erosion(
        digits.images.numpy(), size=(1, 3, 3), mode="constant", cval=255
    )
    assert_like(change_stroke(digits.images, -2), reference, within=0)


@pytest.mark.parametrize("pixels", [-1.5, -0.5, 0.5, 1.0, 3.5])
def test_a_wide_stroke_gains_or_loses_exactly_that_width(pixels: float) -> None:
    bar = torch.zeros(1, 28, 28, dtype=torch.uint8)
    bar[0, :, 10:16] = 255
    row = change_stroke(bar, pixels)[0, 14]
    assert float(row.float().sum()) / 255 == pytest.approx(6 + pixels, abs=0.01)


@pytest.mark.parametrize("sigma", [0.25, 1.0, 3.0])
def test_blur_agrees_with_scipy(sigma: float, digits: DigitSet) -> None:
    reference = scipy.ndimage.gaussian_filter(
        digits.images.float().numpy(),
        sigma=(0, sigma, sigma),
        mode="constant",
        truncate=10,
    )
    assert_like(blur(digits.images, sigma), reference)


def test_strengths_are_written_with_sign_and_unit() -> None:
    assert named("rotation").text(30) == "+30°"
    assert named("rotation").text(0) == "0°"
    assert named("stroke width").text(-1.5) == "-1.5 px"
    assert named("size").text(0.7) == "0.7 ×"
    assert named("blur").text(0.75) == "0.75 px"


def test_perturb_classifies_each_distorted_image(shipped: Checkpoint, digits: DigitSet) -> None:
    temperature = shipped.temperature
    found = perturb(shipped.network, digits.images[3], temperature)
    assert [b.axis for b in found] == list(SKETCH_AXES)
    for one in found:
        torch.testing.assert_close(
            one.probabilities, shipped.probabilities(one.images), atol=1e-4, rtol=0
        )
        middle = one.axis.values.index(one.axis.neutral)
        assert torch.equal(one.images[middle], digits.images[3])
        assert one.predicted == int(one.probabilities[middle].argmax())
        assert one.rival != one.predicted


def test_below_and_above_are_the_nearest_strengths_with_another_prediction(
    shipped: Checkpoint, digits: DigitSet
) -> None:
    broken = 0
    for image in digits.images[:12]:
        for one in perturb(shipped.network, image):
            values, answers = one.axis.values, one.probabilities.argmax(dim=1).tolist()
            below, above = math.nan, math.nan
            for value, answer in zip(values, answers, strict=True):
                if answer != one.predicted and value < one.axis.neutral:
                    below = value
                if answer != one.predicted and value > one.axis.neutral and math.isnan(above):
                    above = value
            assert one.below == pytest.approx(below, nan_ok=True)
            assert one.above == pytest.approx(above, nan_ok=True)
            broken += not math.isnan(below)
            most = one.probabilities.amax(dim=0)
            assert all(most[one.rival] >= most[d] for d in range(10) if d != one.predicted)
    assert broken > 0


def test_a_constant_prediction_never_changes() -> None:
    network = DigitCNN(generator=torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        network.output.weight.zero_()
        network.output.bias.copy_(torch.arange(10.0))
    for one in perturb(network, torch.zeros(28, 28, dtype=torch.uint8)):
        assert (one.predicted, one.rival) == (9, 8)
        assert math.isnan(one.below)
        assert math.isnan(one.above)


def test_accuracies_agree_with_a_plain_loop(shipped: Checkpoint, digits: DigitSet) -> None:
    seen = []
    found = measure(shipped.network, digits, progress=lambda *step: seen.append(step))
    assert (found.title, found.n) == ("synthetic digits test", len(digits))
    assert [curve.axis for curve in found.curves] == list(AXES)
    for curve in found.curves:
        place = len(curve.axis.values) - 1
        changed = curve.axis.apply(digits.images, curve.axis.values[place])
        right = int((shipped.probabilities(changed).argmax(dim=1) == digits.labels).sum())
        assert curve.right[place] == right
        assert curve.at(curve.axis.neutral) == found.unchanged
    assert found.attack is not None
    assert found.attack.attacked[0] == found.attack.noise[0] == found.unchanged
    total = len(digits) * sum(len(axis.values) for axis in AXES)
    total += len(digits) * len(CURVE_SIZES) * (STEPS + 1)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (total, total)


def test_a_large_set_is_sampled_evenly_and_a_small_one_is_used_whole(
    digits: DigitSet,
) -> None:
    large = digits.take(torch.arange(60).repeat(45))
    large = dataclasses.replace(large, labels=(torch.arange(2700) % 10).to(torch.uint8))
    sampled = sample(large)
    assert len(sampled) == MOST_IMAGES
    places = [i * 2700 // 1000 for i in range(1000)]
    assert sampled.labels.tolist() == [i % 10 for i in places]
    assert len(set(places)) == 1000
    assert sample(digits).fingerprint == digits.fingerprint


def test_results_are_cached_by_network_and_images_once_they_are_complete(
    shipped: Checkpoint, digits: DigitSet, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path, tmp_path, tmp_path, tmp_path / "feedback.db", "cpu")
    few = digits.take(slice(0, 2))
    measured = []

    def robustness(checkpoint: Checkpoint, digit_set: DigitSet) -> Robustness:
        steps: list[int] = []
        result = workspace.robustness(checkpoint, digit_set, progress=lambda *_: steps.append(1))
        measured.append(bool(steps))
        return result

    def end(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workspace.robustness(shipped, few, progress=end)
    first = robustness(shipped, few)
    again = robustness(shipped, dataclasses.replace(few, name="other name"))
    assert (first.curves, again.digits) == (again.curves, "other name")
    robustness(dataclasses.replace(shipped, digest="b"), few)
    robustness(shipped, digits.take(slice(2, 4)))
    assert measured == [True, False, True, True]


@pytest.mark.long
def test_on_mnist_small_distortions_cost_little_and_large_ones_much(
    shipped: Checkpoint, real_data: Path
) -> None:
    from digitcnn.digits.catalog import Catalog

    images = Catalog(real_data).open("mnist", "test").take(slice(0, 10_000, 100))
    found = {curve.axis.name: curve for curve in measure(shipped.network, images).curves}
    assert found["rotation"].at(10) >= 97
    assert found["rotation"].at(90) < 40
    assert found["shift"].at(2) >= 97
    # The shipped model was trained on blurred images, so blur costs it less than these.
    assert found["occlusion"].at(14) < 55
    assert found["stripes"].at(1) < 75


def test_a_classifier_without_gradients_is_not_attacked(
    shipped: Checkpoint, digits: DigitSet
) -> None:
    class Blind:
        capabilities: frozenset[Capability] = frozenset()
        device = torch.device("cpu")

        def logits(self, images: Tensor) -> Tensor:
            return shipped.classifier.logits(images).detach()

        def to(self, device: torch.device, /) -> Blind:
            return self

        def inference_copy(self) -> Blind:
            return self

    found = measure(Blind(), digits.take(slice(0, 2)))
    assert found.attack is None
    assert len(found.curves) == len(AXES)
