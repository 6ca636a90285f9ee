from pathlib import Path

import pytest
import torch
from torch import Tensor

from digitcnn.analysis.explain import (
    DOT,
    Explanation,
    Gaps,
    along_ink,
    explain,
    feature_maps,
    gap_effects,
    integrated_gradients,
)
from digitcnn.digits import sketch
from digitcnn.network.checkpoint import load
from digitcnn.network.model import DigitCNN

SHIPPED = Path(__file__).resolve().parents[2] / "checkpoints" / "digitcnn-mnist.pt"
PEN = 0.065

OPEN_FOUR = [[(0.3, 0.15), (0.25, 0.55), (0.75, 0.55)], [(0.7, 0.15), (0.7, 0.88)]]
SEVEN = [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.85)]]
FIVE = [[(0.7, 0.15), (0.35, 0.15), (0.33, 0.45), (0.6, 0.45), (0.7, 0.62), (0.55, 0.85)]]
ONE = [[(0.5, 0.15), (0.5, 0.85)]]
BLANK = torch.zeros(28, 28, dtype=torch.uint8)


def drawn(strokes: list) -> Tensor:
    image = sketch.from_strokes(strokes, PEN)
    assert image is not None
    return image


@pytest.fixture(scope="module")
def network() -> DigitCNN:
    """The fast twin of the network that ships, trained on MNIST."""
    return load(SHIPPED).network.inference_copy()


def lead_of(network: DigitCNN, image: Tensor, answer: int, rival: int) -> float:
    with torch.inference_mode():
        logits = network(network.prepare(image[None]))[0]
    return float(logits[answer] - logits[rival])


@pytest.mark.parametrize(
    ("strokes", "answer", "rival"), [(OPEN_FOUR, 4, 9), (SEVEN, 7, 1), (FIVE, 5, 6), (ONE, 1, 4)]
)
def test_ink_contributions_add_up_to_the_lead_over_blank_paper(
    network: DigitCNN, strokes: list, answer: int, rival: int
) -> None:
    image = drawn(strokes)
    lead = lead_of(network, image, answer, rival)
    expected = lead - lead_of(network, BLANK, answer, rival)
    ink = integrated_gradients(network, image, answer, rival)
    assert float(ink.sum()) == pytest.approx(expected, rel=0, abs=0.02 * lead)
    finer = integrated_gradients(network, image, answer, rival, steps=200)
    assert float(finer.sum()) == pytest.approx(expected, rel=0, abs=0.005 * lead)


def test_blank_paper_contributes_nothing(network: DigitCNN) -> None:
    assert not integrated_gradients(network, BLANK, 4, 9).any()
    assert not along_ink(torch.ones(28, 28), BLANK).any()


@pytest.mark.parametrize("strokes", [OPEN_FOUR, SEVEN, FIVE])
def test_removing_the_ink_that_contributes_most_loses_the_lead(
    network: DigitCNN, strokes: list
) -> None:
    image = drawn(strokes)
    found = explain(network, image)
    inked = image.flatten().nonzero().squeeze(1)
    fifth = len(inked) // 5

    def lead_without(pixels: Tensor) -> float:
        rest = image.clone().flatten()
        rest[pixels] = 0
        return lead_of(network, rest.view(28, 28), found.predicted, found.rival)

    strongest = found.ink.flatten()[inked].topk(fifth).indices
    generator = torch.Generator().manual_seed(0)
    chance = [
        lead_without(inked[torch.randperm(len(inked), generator=generator)[:fifth]])
        for _ in range(20)
    ]
    assert lead_without(inked[strongest]) < min(chance)


def test_only_ink_contributes_to_integrated_gradients(network: DigitCNN) -> None:
    image = drawn(SEVEN)
    ink = integrated_gradients(network, image, 7, 1)
    assert not ink[image == 0].any()
    assert (ink[image > 0] != 0).float().mean() > 0.9


def test_swapping_prediction_and_rival_turns_every_sign(network: DigitCNN) -> None:
    image = drawn(OPEN_FOUR)
    forth, back = (integrated_gradients(network, image, *pair) for pair in ((4, 9), (9, 4)))
    torch.testing.assert_close(forth, -back)
    forth_gaps, back_gaps = (gap_effects(network, image, *pair) for pair in ((4, 9), (9, 4)))
    torch.testing.assert_close(forth_gaps.effects, -back_gaps.effects)


def test_it_is_the_riemann_sum_that_a_loop_adds_up() -> None:
    network = DigitCNN(generator=torch.Generator().manual_seed(2)).eval().requires_grad_(False)
    image = torch.randint(0, 256, (28, 28), generator=torch.Generator().manual_seed(3))
    total = torch.zeros(28, 28, dtype=torch.float64)
    for step in range(5):
        t = (step + 0.5) / 5
        point = (image * t**1.5).requires_grad_()
        logits = network(network.prepare(point[None]))[0]
        (logits[2] - logits[8]).backward()
        total += point.grad.double() * 1.5 * t**0.5 / 5
    expected = image * total
    found = integrated_gradients(network, image, 2, 8, steps=5).double()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_gradients_stop_at_the_image(network: DigitCNN) -> None:
    integrated_gradients(network, drawn(ONE), 1, 7)
    assert all(value.grad is None and not value.requires_grad for value in network.parameters())


def test_the_inference_copy_explains_the_same(network: DigitCNN) -> None:
    image = drawn(FIVE)
    slow, fast = explain(load(SHIPPED).network, image), explain(network, image)
    assert (slow.predicted, slow.rival) == (fast.predicted, fast.rival) == (5, fast.rival)
    torch.testing.assert_close(slow.ink, fast.ink, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(slow.gaps.effects, fast.gaps.effects, rtol=1e-3, atol=1e-4)


def test_a_gap_effect_is_the_lead_lost_to_a_dot_there(network: DigitCNN) -> None:
    image = drawn(OPEN_FOUR)
    gaps = gap_effects(network, image, 4, 9)
    assert 60 < len(gaps.effects) <= 121
    rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    for k in (0, 30, len(gaps.effects) - 1):
        row, column = gaps.places[k].tolist()
        distance = ((rows - row) ** 2 + (columns - column) ** 2).sqrt()
        dotted = torch.maximum(image.float(), 255 * (DOT / 2 + 0.5 - distance).clamp(0, 1))
        taken = lead_of(network, image, 4, 9) - lead_of(network, dotted, 4, 9)
        assert float(gaps.effects[k]) == pytest.approx(taken, abs=1e-3)


def test_no_explained_gap_lies_on_ink(network: DigitCNN) -> None:
    image = drawn(OPEN_FOUR)
    gaps = gap_effects(network, image, 4, 9)
    under = image[gaps.places[:, 0], gaps.places[:, 1]]
    assert under.float().mean() < 20
    full = gap_effects(network, torch.full((28, 28), 255, dtype=torch.uint8), 4, 9)
    assert len(full.effects) == 0


def test_the_gap_at_the_top_distinguishes_an_open_four_from_a_nine(network: DigitCNN) -> None:
    found = explain(network, drawn(OPEN_FOUR), rival=9)
    assert (found.predicted, found.rival) == (4, 9)
    place, points = found.strongest_gap()
    assert place in ("at the top", "at the upper right")
    assert 1 < points < found.lead
    closed = [[*OPEN_FOUR[0]], [(0.3, 0.15), *OPEN_FOUR[1]]]
    assert lead_of(network, drawn(closed), 4, 9) < found.lead - points


def test_the_rival_is_the_second_best_unless_another_is_chosen(network: DigitCNN) -> None:
    image = drawn(SEVEN)
    with torch.inference_mode():
        best, second = network(network.prepare(image[None]))[0].topk(2).indices.tolist()
    assert explain(network, image).rival == second
    assert explain(network, image, rival=best).rival == second
    named = explain(network, image, rival=0)
    assert named.rival == 0
    assert named.lead == pytest.approx(lead_of(network, image, best, 0), abs=1e-4)
    with pytest.raises(ValueError, match="from 0 to 9"):
        explain(network, image, rival=10)


@pytest.mark.parametrize(
    ("row", "column", "name"),
    [
        (5, 5, "at the upper left"),
        (5, 22, "at the upper right"),
        (14, 14, "in the middle"),
        (14, 5, "on the left"),
        (22, 14, "at the bottom"),
    ],
)
def test_places_are_named_within_the_drawing(row: int, column: int, name: str) -> None:
    image = torch.zeros(28, 28, dtype=torch.uint8)
    image[4:24, 4:24] = 255
    ink = torch.full((28, 28), -0.01)
    ink[row, column] = 3
    gaps = Gaps(torch.tensor([[4, 4], [row, column]]), torch.tensor([0.5, 2.0]))
    found = Explanation(4, 9, 5.0, image, ink, gaps)
    place, points = found.strongest_ink()
    assert place == name
    assert 2 < points < 3
    assert found.strongest_gap() == (name, 2.0)


def test_places_beside_a_narrow_digit_are_named_left_and_right() -> None:
    image = torch.zeros(28, 28, dtype=torch.uint8)
    image[4:24, 14:16] = 255
    gaps = Gaps(torch.tensor([[6, 8]]), torch.tensor([1.0]))
    found = Explanation(1, 7, 5.0, image, torch.zeros(28, 28), gaps)
    assert found.strongest_gap() == ("at the upper left", 1.0)
    nothing = Explanation(
        1, 7, 5.0, BLANK, torch.zeros(28, 28), Gaps(gaps.places[:0], torch.ones(0))
    )
    assert nothing.strongest_gap()[1] == nothing.strongest_ink()[1] == 0


def test_an_average_along_the_ink_ignores_the_paper() -> None:
    image = torch.zeros(28, 28, dtype=torch.uint8)
    image[10:13, 4:24] = 200
    ink = torch.zeros(28, 28)
    ink[10:13, 4:24] = 0.5
    torch.testing.assert_close(along_ink(ink, image), ink)
    alternating = ink.clone()
    alternating[:, ::2] *= -1
    assert along_ink(alternating, image)[11, 6:22].abs().max() < 0.2


def test_maps_are_the_input_of_the_next_layer(network: DigitCNN) -> None:
    image = drawn(FIVE)
    first, second = feature_maps(network, image)
    assert first.shape == (32, 14, 14)
    assert second.shape == (64, 7, 7)
    assert min(first.min(), second.min()) >= 0
    with torch.inference_mode():
        hidden = network.hidden(second.flatten()).relu()
        expected = network.features(network.prepare(image[None]))[0]
    torch.testing.assert_close(hidden, expected)
