"""Generated digits: reproducible, framed like the real ones, and varied between writers."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicHermiteSpline

from digitcnn.digits import synthetic
from digitcnn.digits.digit_forms import FORMS
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.idx import read_idx
from digitcnn.digits.names import GENERATED, GENERATED_IMAGES
from digitcnn.digits.pen_strokes import make_template
from digitcnn.digits.synthetic import POPULATIONS, draw


@pytest.fixture(scope="module", params=GENERATED)
def test_set(request: pytest.FixtureRequest) -> DigitSet:
    return draw(request.param, "test", 2000)


def ink(digit_set: DigitSet) -> np.ndarray:
    """Ink from 0 to 1: float64 [N, 28, 28]."""
    return digit_set.images.numpy().astype(np.float64) / 255


def centres_of_mass(images: np.ndarray) -> np.ndarray:
    """(column, row) of the centre of mass, in pixels counted from 0: [N, 2]."""
    mass = images.sum((1, 2))
    pixels = np.arange(28)
    return np.stack(
        [(images.sum(1) * pixels).sum(1) / mass, (images.sum(2) * pixels).sum(1) / mass], axis=1
    )


def slants(images: np.ndarray) -> np.ndarray:
    """Degrees from upright, positive to the right, by the second moments of the ink: [N]."""
    middle = centres_of_mass(images)
    across = np.arange(28) - middle[:, :1]
    down = np.arange(28) - middle[:, 1:]
    mixed = np.einsum("nyx,ny,nx->n", images, down, across)
    vertical = np.einsum("nyx,ny->n", images, down**2)
    return np.degrees(np.arctan(-mixed / vertical))


def boxes(images: np.ndarray) -> np.ndarray:
    """First and last column and row with ink, in pixels counted from 0: [N, 4]."""
    inked = images > 0.1
    columns, rows = inked.any(1), inked.any(2)
    return np.stack(
        [
            columns.argmax(1),
            27 - columns[:, ::-1].argmax(1),
            rows.argmax(1),
            27 - rows[:, ::-1].argmax(1),
        ],
        axis=1,
    )


def test_the_same_name_and_split_give_the_same_bytes_every_time(test_set: DigitSet) -> None:
    again = draw(test_set.name, "test", 2000)
    assert again.fingerprint == test_set.fingerprint


@pytest.mark.parametrize(
    ("name", "split", "labels", "ink"),
    [
        ("synthetic", "train", "622e3bc41a62d456", [29419, 9379, 30341, 14207, 16601]),
        ("synthetic", "test", "bf9ab3d1540887fd", [29792, 18319, 9220, 21607, 21289]),
        (
            "synthetic-other-writers",
            "test",
            "9ab8cdd7df189e01",
            [17783, 51923, 26855, 48699, 35597],
        ),
    ],
)
def test_generated_digits_match_the_fingerprints_in_checkpoints(
    name: str, split: str, labels: str, ink: list[int]
) -> None:
    digit_set = draw(name, split, 500)
    assert hashlib.sha256(digit_set.labels.numpy().tobytes()).hexdigest().startswith(labels)
    # Another processor may round a few pixels differently.
    assert digit_set.images[:5].flatten(1).sum(1).tolist() == pytest.approx(ink, abs=5)


def test_drawing_neither_reads_nor_moves_the_global_random_state() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = draw("synthetic", "test", 20)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(2)
    assert draw("synthetic", "test", 20).fingerprint == first.fingerprint


def test_a_set_knows_its_name_and_split_and_has_the_default_size() -> None:
    digit_set = draw("synthetic", "test")
    assert (digit_set.name, digit_set.split) == ("synthetic", "test")
    assert len(digit_set) == GENERATED_IMAGES["test"]
    assert digit_set.images.shape == (GENERATED_IMAGES["test"], 28, 28)
    assert digit_set.images.dtype == digit_set.labels.dtype == torch.uint8


def test_paper_is_zero_and_every_digit_has_full_ink_somewhere(test_set: DigitSet) -> None:
    border = test_set.images.float().clone()
    border[:, 1:-1, 1:-1] = 0
    assert border.flatten(1).sum(1).mean() < 1
    darkest = test_set.images.flatten(1).max(1).values
    assert darkest.min() > 150
    assert darkest.float().mean() > 250
    assert (test_set.images == 0).float().mean() > 0.6


def test_classes_are_balanced_to_one_image_and_shuffled(test_set: DigitSet) -> None:
    assert torch.equal(torch.bincount(test_set.labels.long()), torch.full((10,), 200))
    uneven = torch.bincount(draw(test_set.name, "test", 27).labels.long())
    assert uneven.max() - uneven.min() == 1
    # Any stretch of a shuffled set holds all digits: a twelfth can be held out.
    assert len(test_set.labels[-166:].unique()) == 10


def test_no_image_occurs_twice_within_or_across_splits(test_set: DigitSet) -> None:
    train = draw(test_set.name, "train", 2000)
    images = torch.cat([train.images, test_set.images]).flatten(1)
    assert len(images.unique(dim=0)) == len(images)


def test_train_and_test_have_different_writers() -> None:
    train, test = (writers_of("synthetic", split) for split in GENERATED_IMAGES)
    # Slants at the limits of the population are shared; all others are writers' own.
    limits = np.radians([POPULATIONS["synthetic"].slant.low, POPULATIONS["synthetic"].slant.high])
    shared = set(train.slant) & set(test.slant)
    assert shared <= set(limits.astype(np.float32))


def writers_of(name: str, split: str) -> synthetic.Writers:
    return synthetic.make_writers(
        POPULATIONS[name], synthetic.WRITERS[split], synthetic._randomness(name, split)
    )


def test_synthetic_is_framed_as_mnist_is() -> None:
    images = ink(draw("synthetic", "test", 2000))
    left, right, top, bottom = boxes(images).T
    longest = 1 + np.maximum(right - left, bottom - top)
    assert abs(longest.mean() - 20) < 0.5
    assert longest.min() >= 18
    assert longest.max() <= 22
    # MNIST's centre of mass is in the middle of pixel 14, give or take.
    assert np.abs(centres_of_mass(images) - 14).mean() < 0.4


def test_other_writers_are_framed_as_emnist_is() -> None:
    images = ink(draw("synthetic-other-writers", "test", 2000))
    left, right, top, bottom = boxes(images).T
    longest = 1 + np.maximum(right - left, bottom - top)
    assert abs(longest.mean() - 24) < 1.2
    assert np.abs((left + right) / 2 - 13.5).mean() < 0.7
    assert np.abs((top + bottom) / 2 - 13.5).mean() < 0.7


def test_writers_differ_in_slant_width_and_pen(test_set: DigitSet) -> None:
    images = ink(test_set)
    labels = test_set.labels.numpy()
    for digit in range(10):
        of_digit = images[labels == digit]
        mass = of_digit.sum((1, 2))
        assert slants(of_digit).std() > 7
        assert mass.std() / mass.mean() > 0.15
    left, right, top, bottom = boxes(images[labels == 0]).T
    assert ((1 + right - left) / (1 + bottom - top)).std() > 0.1


def test_other_writers_lean_elsewhere_and_prefer_other_forms() -> None:
    ones, others = (
        ink(digit_set)[digit_set.labels.numpy() == 1]
        for digit_set in (draw(name, "test", 2000) for name in GENERATED)
    )
    assert np.median(slants(ones)) - np.median(slants(others)) > 8
    names = list(FORMS)
    bars = [
        np.mean(writers_of(name, "test").favourites[:, 1] == names.index("1 bar"))
        for name in GENERATED
    ]
    assert bars[0] > 2 * bars[1] > 0


def test_one_writer_writes_more_alike_than_different_writers_do() -> None:
    population = POPULATIONS["synthetic"]
    writers = writers_of("synthetic", "test")
    template = make_template(FORMS["2 swan"].strokes)

    def write(authors: np.ndarray) -> np.ndarray:
        random = np.random.default_rng(0)
        return synthetic.write_form(template, 2, population, writers, authors, random) / 255

    one = [write(np.full(20, author)).var(0).sum() for author in range(10)]
    many = write(np.arange(200)).var(0).sum()
    assert np.mean(one) < 0.7 * many


def test_every_form_is_a_digit_within_its_box_and_every_digit_has_forms() -> None:
    assert {form.digit for form in FORMS.values()} == set(range(10))
    for name, form in FORMS.items():
        assert name.startswith(f"{form.digit} ")
        assert form.weight > 0
        for x, y in re.findall(r"(\d+),(\d+)", form.strokes):
            assert 0 <= int(x) <= 100
            assert 0 <= int(y) <= 100


def test_populations_weigh_forms_that_exist() -> None:
    for population in POPULATIONS.values():
        assert set(population.form_weights) <= set(FORMS)


def test_a_pen_goes_through_its_points_straight_between_corners() -> None:
    template = make_template("0,0 80,0! 40,100 / 10,50 70,50")
    np.testing.assert_allclose(template.smooth, template.straight, atol=1e-6)
    samples = template.smooth @ template.points
    for point in template.points:
        assert np.abs(samples - point).sum(1).min() < 1e-6
    assert (template.joined == 0).sum() == 1


def test_a_smooth_stroke_is_a_cubic_hermite_spline_through_its_points() -> None:
    template = make_template("0,50 50,0 100,50 50,100 10,60")
    points = template.points.astype(np.float64)
    tangents = np.gradient(points, axis=0)
    spline = CubicHermiteSpline(np.arange(5), points, tangents)
    at = template.straight @ np.arange(5)
    np.testing.assert_allclose(template.smooth @ points, spline(at), atol=1e-5)
    np.testing.assert_allclose(at[[0, -1]], [0, 4])


@pytest.mark.parametrize("radius", [0.7, 1.3, 2.4])
def test_ink_of_a_straight_stroke_is_as_wide_as_the_pen(radius: float) -> None:
    length = np.linspace(4, 24, 41, dtype=np.float32)
    samples = np.stack([np.full_like(length, 14.3), length], axis=1)[None]
    lengths = np.full((1, 41), 0.5, dtype=np.float32)
    radii = np.full((1, 41), radius, dtype=np.float32)
    image = synthetic.ink_curves(samples, lengths, radii, blur=1.0)[0] / 255
    # By hand: a soft edge of one pixel around a band of twice the radius.
    distance = np.abs(np.arange(28) + 0.5 - 14.3)
    np.testing.assert_allclose(image[14], (radius - distance + 0.5).clip(0, 1), atol=0.03)
    np.testing.assert_allclose(image[14].sum(), 2 * radius, atol=0.06)


def test_more_pressure_gives_a_wider_stroke_where_it_is_pressed() -> None:
    length = np.linspace(2, 26, 49, dtype=np.float32)
    samples = np.stack([np.full_like(length, 14), length], axis=1)[None]
    lengths = np.full((1, 49), 0.5, dtype=np.float32)
    radii = np.linspace(1, 2, 49, dtype=np.float32)[None]
    image = synthetic.ink_curves(samples, lengths, radii, blur=1.0)[0] / 255
    widths = image.sum(1)[4:24]
    np.testing.assert_allclose(
        widths, np.interp(np.arange(4, 24) + 0.5, length, 2 * radii[0]), rtol=0.08
    )


def test_a_population_can_be_changed_without_touching_the_others() -> None:
    narrow = replace(POPULATIONS["synthetic"], span=12.0)
    template = make_template(FORMS["0 oval"].strokes)
    images = synthetic.write_form(
        template,
        0,
        narrow,
        writers_of("synthetic", "test"),
        np.arange(50),
        np.random.default_rng(0),
    )
    left, right, top, bottom = boxes(images / 255).T
    assert np.abs(1 + np.maximum(right - left, bottom - top) - 12).max() <= 2


def test_a_classical_reader_of_mnist_reads_most_of_it(real_data: Path) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    images, labels = (
        read_idx(real_data / "mnist" / name)[:3000].numpy()
        for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    )
    reader = KNeighborsClassifier(1, algorithm="brute").fit(images.reshape(-1, 784) / 255, labels)
    read = {
        name: reader.score(ink(digit_set).reshape(-1, 784), digit_set.labels.numpy())
        for name, digit_set in ((name, draw(name, "test", 1000)) for name in GENERATED)
    }
    assert read["synthetic"] > 0.8
    assert 0.3 < read["synthetic-other-writers"] < read["synthetic"]
