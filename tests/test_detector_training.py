"""Training of the OOD detector that ships: examples, their distortion, and a few steps."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmarks.detector import grammar, shapes
from benchmarks.detector.__main__ import Training, train
from benchmarks.detector.distortion import Distortion, distort
from benchmarks.detector.examples import digits_of_every_hand, non_digits
from benchmarks.detector.glyphs import Glyph, glyphs, notation, strokes_of
from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.ood import TENSORS, OODDetector

NO_DISTORTION = Distortion(*[0] * len(fields(Distortion)))


@pytest.fixture(scope="module")
def characters() -> list[Glyph]:
    return glyphs()


def test_glyphs_are_of_many_scripts_and_none_is_a_digit(characters: list[Glyph]) -> None:
    scripts = {glyph.script for glyph in characters}
    assert {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "HEBREW", "ARABIC", "GEORGIAN"} <= scripts
    assert not any(glyph.character in "0123456789OolISZB²½" for glyph in characters)


@pytest.mark.parametrize(("character", "strokes"), [("+", 2), ("L", 1), ("=", 2), ("T", 2)])
def test_a_glyph_is_traced_into_its_strokes(character: str, strokes: int) -> None:
    traced = strokes_of(Glyph(character, "LATIN", "DejaVuSans"))
    assert len(traced) == strokes
    assert all(len(stroke) > 10 for stroke in traced)
    written = notation(traced, np.random.default_rng(0))
    assert len(written.split("/")) == strokes


def test_invented_characters_differ() -> None:
    random = np.random.default_rng(0)
    drawn = {str(grammar.character(random)) for _ in range(50)}
    assert len(drawn) == 50


def test_non_digits_are_of_every_kind_and_none_is_blank(
    drawn: DigitSet, characters: list[Glyph]
) -> None:
    among = characters[:: len(characters) // 60]
    made = non_digits(drawn, 400, np.random.default_rng(0), among)
    assert len(made) == 6
    for name, images in made.items():
        assert images.shape[1:] == (28, 28), name
        assert images.dtype == np.uint8, name
        assert images.reshape(len(images), -1).max(1).min() > 100, name
        assert len(np.unique(images, axis=0)) > 0.6 * len(images), name


def test_digits_that_stay_digits_when_rotated_are_not_used_rotated() -> None:
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    images[:, 4:24, 13:15] = 255
    ones = DigitSet(images, torch.tensor([1, 8], dtype=torch.uint8), "ones", "train")
    _, make = shapes.KINDS["turned"]
    assert make(ones, 10, np.random.default_rng(0)).shape == (0, 28, 28)
    assert len(shapes.draw(ones, 100, np.random.default_rng(0))) > 80


def test_outlines_enclose_paper(drawn: DigitSet) -> None:
    _, make = shapes.KINDS["outlines"]
    outlines = make(drawn, 100, np.random.default_rng(0))
    areas = [ndimage.label(image < 64)[1] for image in outlines]  # the surroundings are one
    assert sum(count > 1 for count in areas) > 90


@pytest.mark.long
def test_a_trained_detector_separates_digits_from_shapes_and_repeats(
    drawn: DigitSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.detector.__main__.BATCH", 32)  # of 128: a step takes a second
    digits, labels = digits_of_every_hand(drawn, 100, 30, np.random.default_rng(0))
    others = shapes.draw(drawn, len(digits), np.random.default_rng(1))
    images = torch.cat([digits, others])
    targets = torch.cat([labels, torch.full((len(others),), 10)])
    detector, again = (train(images, targets, rounds=1, seed=0) for _ in range(2))
    for name, expected in TENSORS.items():
        assert tuple(detector.tensors[name].shape) == expected.shape
        assert torch.equal(detector.tensors[name], again.tensors[name])
    assert detector.scores(digits).median() > detector.scores(others).median()


def test_the_detector_scores_as_the_trained_network_does(drawn: DigitSet) -> None:
    torch.manual_seed(0)
    network = Training()
    with torch.no_grad():
        network(drawn.images[:200])  # gives the batch norms statistics
        logits = network.eval()(drawn.images[:20])
    detector: OODDetector = network.detector()
    expected = logits[:, :10].logsumexp(1) - logits[:, 10]
    torch.testing.assert_close(detector.scores(drawn.images[:20]), expected, rtol=0, atol=0.02)


# Distortion


def test_distorted_images_are_in_range_and_zero_distortion_only_stretches(drawn: DigitSet) -> None:
    generator = torch.Generator().manual_seed(0)
    distorted = distort(drawn.images, Distortion(), generator)
    assert distorted.dtype == torch.float32
    assert float(distorted.min()) >= 0
    assert distorted.amax((1, 2)).tolist() == pytest.approx([255] * len(drawn), abs=1e-3)
    still = distort(drawn.images, NO_DISTORTION, generator)
    full = drawn.images.float()
    full = full * (255 / full.amax((1, 2), keepdim=True))
    assert (still - full).abs().max() < 0.1


def test_cropped_digits_are_centred_fill_twenty_pixels_and_stay_narrow() -> None:
    images = torch.zeros(60, 28, 28, dtype=torch.uint8)
    images[:30, 2:14, 3:7] = 255  # upright, off the middle
    images[30:, 20:24, 10:22] = 255  # lying
    boxed = distort(images, replace(NO_DISTORTION, boxed=1), torch.Generator().manual_seed(0))
    widths = set()
    for image in [*boxed[:30], *boxed[30:].transpose(1, 2)]:
        # Half-covered pixels count for what they hold.
        height, width = image.amax(1).sum() / 255, image.amax(0).sum() / 255
        assert 18.5 < height < 21.5
        assert 0.9 * height / 3 < width < 1.7 * height / 3
        widths.add(round(float(width)))
        for line in (image.sum(0), image.sum(1)):
            middle = (line * (torch.arange(28) + 0.5)).sum() / line.sum()
            assert middle == pytest.approx(14, abs=0.3)
    assert len(widths) > 2
    blank = distort(torch.zeros_like(images), replace(NO_DISTORTION, boxed=1), torch.Generator())
    assert not bool(blank.any())


def test_contrast_changes_greys_but_not_paper_and_ink(drawn: DigitSet) -> None:
    generator = torch.Generator().manual_seed(0)
    still = distort(drawn.images, NO_DISTORTION, generator)
    distorted = distort(drawn.images, replace(NO_DISTORTION, contrast=0.2), generator)
    grey = (still > 60) & (still < 200)
    assert (distorted - still)[grey].abs().mean() > 5
    assert (distorted - still)[still < 1e-3].abs().max() < 1
    assert distorted.amax((1, 2)).tolist() == pytest.approx([255] * len(drawn), abs=1e-3)
