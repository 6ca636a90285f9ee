"""Which guess about a network is taken, and when a file is refused as ambiguous."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from digitcnn.network.rebuild.decision import (
    Score,
    decide,
    likelihoods_of,
    most_accurate_first,
)
from digitcnn.network.rebuild.unused import moved_oppositely, were_trained

N = 1000


@dataclass(frozen=True)
class Guess:
    cost: float = 0.0


def digits() -> Tensor:
    return torch.arange(N) % 10


def score(loss: Tensor | float, wrong: int = 0, cost: float = 0.0) -> Score[Guess]:
    """A guess with this loss of each image, that reads so many first images wrong.

    wrong: negative for the last images.
    """
    predicted = digits()
    rows = slice(wrong) if wrong >= 0 else slice(wrong, None)
    predicted[rows] = (predicted[rows] + 1) % 10
    losses = torch.as_tensor(loss, dtype=torch.float64).expand(N)
    return Score(Guess(cost), -losses, predicted, 0.0)


def noise(seed: int) -> Tensor:
    return torch.rand(N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_clearly_likelier_guess_is_taken_and_a_distant_one_not_named() -> None:
    outcome = decide([score(0.1 + 0.1 * noise(0)), score(1.0 + noise(1), wrong=300)], digits())
    assert outcome.accepted
    assert not outcome.is_close


def test_a_guess_with_the_same_answers_is_taken_and_the_runner_up_named() -> None:
    outcome = decide([score(0.1 * noise(0)), score(0.1 * noise(1), wrong=4)], digits())
    assert outcome.accepted
    assert outcome.agreement == pytest.approx(0.996)
    assert outcome.is_close


def test_an_equally_likely_guess_is_named_before_a_worse_one() -> None:
    best, alike = noise(0), score(noise(1), wrong=4)
    outcome = decide([score(best), score(best + 1.0), alike], digits())
    assert outcome.accepted
    assert outcome.runner_up is alike
    assert outcome.is_close


def test_the_runner_up_is_named_where_it_fits_nearly_as_well() -> None:
    """A significant lead may be small, and the likelier of two guesses may be the wrong one."""
    best = 0.3 + 0.3 * noise(0)
    outcome = decide([score(best), score(best * 1.1, wrong=40)], digits())
    assert outcome.accepted
    assert outcome.p_value < 1e-6
    assert outcome.is_close


@pytest.mark.parametrize("place", [0, 1])
def test_an_equally_likely_guess_with_other_answers_forbids_acceptance(place: int) -> None:
    """Also behind a runner-up that has the same answers as the best."""
    best, other = noise(0), score(noise(1), wrong=200)
    rivals = [score(best + 0.001, wrong=-200)]
    rivals.insert(place, other)
    outcome = decide([score(best, wrong=-200), *rivals], digits())
    assert not outcome.accepted
    assert outcome.runner_up is other


def test_of_equally_likely_guesses_the_one_that_reads_significantly_more_is_taken() -> None:
    loss = 0.3 + 0.1 * noise(0)
    swapped = loss.view(-1, 2).flip(1).flatten()  # as likely, image by image another
    more, fewer = score(swapped, wrong=100), score(loss, wrong=160)
    assert most_accurate_first([fewer, more], digits()) == [more, fewer]
    for other in (
        score(swapped, wrong=155),  # not significantly more
        score(swapped, wrong=100, cost=0.05),  # more unusual
        score(swapped + 0.1, wrong=100),  # less likely
    ):
        assert most_accurate_first([fewer, other], digits()) == [fewer, other]
    assert decide([more, fewer], digits()).accepted
    assert not decide([more, score(loss, wrong=-105)], digits()).accepted
    assert not decide([score(swapped, wrong=100, cost=0.05), fewer], digits()).accepted


@pytest.mark.parametrize(("wrong", "accepted"), [(50, True), (250, False)])
def test_an_unusual_guess_counts_if_neither_reads_well(wrong: int, accepted: bool) -> None:
    best, other = score(0.5 + noise(0), wrong), score(0.5 + noise(1), -wrong, cost=0.2)
    outcome = decide([best, other], digits())
    assert outcome.best is best
    assert outcome.accepted is accepted


def test_a_much_more_unusual_guess_has_to_fit_much_better() -> None:
    best = noise(0)
    likelier = score(0.9 * best, wrong=200, cost=0.3)
    outcome = decide([score(best), likelier], digits())
    assert outcome.accepted
    assert outcome.is_close
    near = score(noise(1), wrong=200, cost=0.05)
    assert not decide([score(best, wrong=-200), near], digits()).accepted


def test_an_unusual_guess_has_to_be_significantly_likelier() -> None:
    """Here it misses two images of a thousand, the usual one four: its mean loss is half."""
    two, four = torch.zeros(2, N, dtype=torch.float64)
    two[:2], four[:4] = 8.0, 8.0
    unusual, usual = score(two, wrong=2, cost=0.3), score(four, wrong=4)
    assert unusual.fit(N) > usual.fit(N)
    assert decide([unusual, usual], digits()).best is usual
    clearly = score(0.5 * noise(0), cost=0.3)
    assert decide([clearly, score(noise(0))], digits()).best is clearly


def test_a_usual_guess_that_fits_as_well_forbids_a_likelier_one_with_other_answers() -> None:
    likelier = score(0.94 * noise(0), wrong=-20, cost=0.07)
    outcome = decide([likelier, score(noise(0), wrong=20)], digits())
    assert outcome.p_value < 0.05
    assert not outcome.accepted
    assert decide([likelier, score(noise(0), wrong=-24)], digits()).accepted


def test_logits_that_are_too_small_are_as_likely_as_larger_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(N, 10, generator=generator)
    logits[torch.arange(N), digits()] += 1.5
    logits *= 1.5  # as sure as they are right
    small, large, sure = (
        likelihoods_of(gain * logits, digits())[0].mean() for gain in (0.85, 1, 4)
    )
    assert float(large - small) == pytest.approx(0.0, abs=1e-3)
    assert float(large - sure) > 0.1  # too sure is never excused


INPUTS, UNUSED = 400, torch.arange(400) < 40


def trained_layer(unused_moved: float, init: str = "PyTorch's") -> Tensor:
    """Weights [32, 400] after a training; unused inputs' moved by so much of the bound."""
    torch.manual_seed(0)
    linear = nn.Linear(INPUTS, 32)
    if init == "normal":
        nn.init.kaiming_normal_(linear.weight)
    weight = linear.weight.detach()
    scale = torch.where(UNUSED, unused_moved, 0.6) / math.sqrt(INPUTS)
    return weight + scale * torch.randn(weight.shape)


@pytest.mark.parametrize("behind_maps", ["fc", ""])
@pytest.mark.parametrize(("moved", "answer"), [(0.0, False), (0.3, True)])
def test_weights_that_relu_never_uses_tell_whether_they_were_trained(
    moved: float, answer: bool, behind_maps: str
) -> None:
    tensors = {"fc.weight": trained_layer(moved)}
    assert were_trained({"fc": UNUSED}, tensors, behind_maps) is answer


@pytest.mark.parametrize(("moved", "answer"), [(0.0, False), (0.3, None)])
def test_weights_behind_relus_that_died_in_training_are_not_taken_for_those_of_leaky_relu(
    moved: float, answer: bool | None
) -> None:
    tensors = {"fc.weight": trained_layer(moved)}
    assert were_trained({"fc": UNUSED}, tensors, is_scaled=False) is answer


def test_half_precision_tells_only_by_weights_beyond_the_bound() -> None:
    for moved, answer in ((0.0, False), (0.3, True)):
        tensors = {"fc.weight": trained_layer(moved).half().float()}
        assert were_trained({"fc": UNUSED}, tensors) is answer
        assert were_trained({"fc": UNUSED}, tensors, behind_maps="fc") is None


@pytest.mark.parametrize("behind_maps", ["fc", ""])
def test_weights_of_another_initialisation_say_nothing(behind_maps: str) -> None:
    tensors = {"fc.weight": trained_layer(0.0, "normal")}
    assert were_trained({"fc": UNUSED}, tensors, behind_maps) is None


def test_a_layer_whose_inputs_are_all_used_says_nothing() -> None:
    assert were_trained({"fc": UNUSED & False}, {"fc.weight": trained_layer(0.0)}) is None


CONSTANT = (torch.arange(INPUTS) >= 40) & (torch.arange(INPUTS) < 60)


def opposed(
    unused_moved: Tensor | float, unused: Tensor = UNUSED, constant: Tensor = CONSTANT
) -> bool:
    """Whether weights [32, 400] tell that unused inputs' moved so, in parts of how others did."""
    torch.manual_seed(0)
    linear = nn.Linear(INPUTS, 32)
    drift = 0.5 * torch.randn(32) / math.sqrt(INPUTS)
    weight, bias = linear.weight.detach(), linear.bias.detach()
    weight[:, constant] += drift.unsqueeze(1)
    weight[:, unused] += (unused_moved * drift).unsqueeze(1)
    low = torch.where(constant, 0.3, 0.0)
    high = torch.where(constant, 0.3, torch.where(unused, 0.0, 1.0))
    tensors = {"fc.weight": weight, "fc.bias": bias + drift}
    return moved_oppositely({"fc": (low, high)}, tensors)


def test_weights_that_moved_against_those_of_constant_inputs_tell_of_leaky_relu() -> None:
    assert opposed(-0.5)


@pytest.mark.parametrize("moved", [0.0, 0.5])
def test_weights_that_did_not_move_or_before_relus_died_do_not(moved: float) -> None:
    assert not opposed(moved)


def test_a_few_unused_inputs_do_not_tell() -> None:
    assert not opposed(-0.5, unused=torch.arange(INPUTS) < 5)


def test_without_constant_inputs_the_bias_tells_but_not_by_chance() -> None:
    none = torch.zeros(INPUTS, dtype=torch.bool)
    assert opposed(-1.0, constant=none)
    assert not opposed(
        4 * torch.randn(32, generator=torch.Generator().manual_seed(1)), UNUSED, none
    )
