"""Networks rebuilt from their weights compute what the originals compute, or are refused."""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib
import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from benchmarks.random_networks import (
    FORMS,
    SCALINGS,
    STYLES,
    Sample,
    in_file,
    renamed,
    sample,
    scaled,
    train,
)
from benchmarks.rebuild import rebuild
from digitcnn.digits import synthetic
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CapabilityError, CheckpointError
from digitcnn.network import reader
from digitcnn.network.checkpoint import (
    Checkpoint,
    Details,
    digest_of,
    generated_digits,
    load,
    save,
)
from digitcnn.network.reader.tensors import Storage, contiguous_stride, read_tensors
from digitcnn.network.rebuild import RebuiltNetwork, Recipe
from digitcnn.network.rebuild.decision import decide
from digitcnn.network.rebuild.effective import effective
from digitcnn.network.rebuild.guesses import Choices, Facts
from digitcnn.network.rebuild.layers import stack_of
from digitcnn.network.rebuild.network import prepare
from digitcnn.network.rebuild.plans import all_ways, geometries
from digitcnn.network.rebuild.recipe import IMAGENET_SCALING, InputForm, Step
from digitcnn.network.rebuild.scoring import Scorer
from digitcnn.network.rebuild.search import decided, neighbours, with_slopes
from digitcnn.network.rebuild.statistics import Decoder
from digitcnn.network.rebuild.upright import upright

# --- a family of networks -----------------------------------------------------------------------


@functools.cache
def training_digits() -> DigitSet:
    return synthetic.draw("synthetic", "train", images=2000)


@functools.cache
def unseen_digits() -> DigitSet:
    return synthetic.draw("synthetic", "test", images=400)


def outcome(one: Sample) -> str:
    return rebuild(one, training_digits(), unseen_digits()).outcome


@pytest.mark.parametrize("form", ["whole", "safetensors"])
def test_a_sequential_is_rebuilt_exactly_pickled_whole_or_from_its_weights(form: str) -> None:
    digits, network, scaling = training_digits(), trained_lenet(), SCALINGS["MNIST's"]
    one = Sample(network, scaling, in_file(network, form, "sequential"), form)
    loaded = load(one.data, "x", digits=lambda: digits)
    images = unseen_digits().images[:200]
    with torch.no_grad():
        logits = loaded.classifier.logits(images)
    assert torch.allclose(logits, one.logits(images), atol=1e-4, rtol=1e-4)
    assert loaded.verdict.startswith(
        "LeNet-like: conv 6 and 16 of 5x5, linear 400-120-84-10, 61,706 parameters; "
    )
    assert loaded.verdict.count("generated digits") == 1
    assert loaded.classifier.capabilities == {"gradients"}


@functools.cache
def trained_lenet() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    train(network, SCALINGS["MNIST's"], training_digits(), 120)
    return network


@pytest.mark.parametrize("module", ["pickle", "joblib"])
def test_a_perceptron_of_scikit_learn_gives_the_same_probabilities(module: str) -> None:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    digits = training_digits()
    pixels = digits.images.reshape(len(digits), -1) / 255
    perceptron = MLPClassifier((64,), learning_rate_init=0.01, max_iter=8, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        perceptron.fit(pixels, digits.labels)
    file = io.BytesIO()
    importlib.import_module(module).dump(perceptron, file)
    loaded = load(file.getvalue(), "mlp.joblib", digits=lambda: digits)
    with torch.no_grad():
        found = loaded.classifier.logits(digits.images[:200]).softmax(1)
    assert found.numpy() == pytest.approx(perceptron.predict_proba(pixels[:200]), abs=1e-4)


@pytest.mark.long
def test_a_random_network_is_rebuilt_exactly() -> None:
    assert outcome(sample(1, training_digits(), 120)) == "same"


FILES = [(form, "named") for form in FORMS] + [("safetensors", style) for style in STYLES]


@pytest.mark.parametrize(("form", "style"), FILES)
def test_every_format_and_naming_style_gives_the_same_network(form: str, style: str) -> None:
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    network, scaling = trained_perceptron(), SCALINGS["0 to 1"]
    if form == "float16":
        network = copy.deepcopy(network).half().float()
    one = Sample(network, scaling, in_file(network, form, style), f"{form}, {style}")
    assert outcome(one) == "same"


def by_hand(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``x @ W1 + b1``: outputs last, and biases as rows."""
    return {
        "W1": state["fc1.weight"].t().contiguous(), "b1": state["fc1.bias"][None],
        "W2": state["fc2.weight"].t().contiguous(), "b2": state["fc2.bias"][None],
    }  # fmt: skip


def in_words(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """In the order of the layers, under names that say nothing to a program."""
    names = ("input_hidden", "shift_hidden", "hidden_output", "shift_output")
    return dict(zip(names, state.values(), strict=True))


STATES: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "outputs last": by_hand,
    "names without parts": in_words,
    "plural names": lambda state: {
        f"{'weights' if value.dim() == 2 else 'biases'}_{name[2]}": value
        for name, value in state.items()
    },
    "a metric's counts": lambda state: {**state, "confusion": torch.zeros(10, 10)},
    "scikit-learn's names": lambda state: {
        name.replace("weight", "coef_").replace("bias", "intercept_"): value
        for name, value in state.items()
    },
    "buffers of the input's scaling": lambda state: {**state, "mean": torch.zeros(1, 1, 1)},
}


@pytest.mark.parametrize("kind", STATES)
def test_unusual_sets_of_weights_give_the_same_network(kind: str) -> None:
    network, scaling = trained_perceptron(), SCALINGS["0 to 1"]
    buffer = io.BytesIO()
    torch.save(STATES[kind](dict(named(network))), buffer)
    assert outcome(Sample(network, scaling, buffer.getvalue(), kind)) == "same"


IN_PARTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
    "pruned biases": lambda layer: prune.l1_unstructured(layer, "bias", 2),
    "weight norm": parametrizations.weight_norm,
    "weight norm of all outputs": lambda layer: parametrizations.weight_norm(layer, dim=None),
    "weight norm before PyTorch 2": nn.utils.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "spectral norm before PyTorch 2": nn.utils.spectral_norm,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("kind", IN_PARTS)
def test_weights_that_are_stored_in_parts_are_computed(kind: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 6, 1), nn.Linear(6, 10))
    expected = list(network.state_dict())
    for layer in network:
        IN_PARTS[kind](layer)
    network.eval()
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    (state,) = reader.find_state_dicts(reader.read_content(buffer.getvalue()))
    found = read_tensors(effective(state).tensors)
    network(torch.zeros(1, 1, 1, 6))  # the old functions compute the weights before each use
    assert sorted(found) == sorted(expected)
    for name, tensor in found.items():
        layer, _, part = name.partition(".")
        assert torch.allclose(tensor, getattr(network[int(layer)], part), atol=1e-6)


def test_norms_follow_their_layers_in_a_file_that_is_sorted_by_name() -> None:
    """``10`` comes before ``2`` there, and all norms fit all convolutions."""
    parts = [
        part
        for inputs in (1, 8, 8, 8)
        for part in (nn.Conv2d(inputs, 8, 3), nn.ReLU(), nn.BatchNorm2d(8))
    ]
    network = nn.Sequential(*parts, nn.Flatten(), nn.Linear(8 * 20 * 20, 10))
    content = reader.read_content(in_file(network, "safetensors", "sequential"))
    (state,) = reader.find_state_dicts(content)
    norms = stack_of(state).norms
    assert {layer: norm.name for layer, norm in norms.items()} == {
        "0": "2", "3": "5", "6": "8", "9": "11",
    }  # fmt: skip


def test_weights_with_another_order_of_sides_are_turned() -> None:
    specs = dict(named_specs(trained_lenet()))

    def stored(orders: dict[int, tuple[int, ...]]) -> dict[str, reader.TensorSpec]:
        return {
            name: dataclasses.replace(
                spec,
                shape=tuple(spec.shape[side] for side in order),
                stride=tuple(spec.stride[side] for side in order),
            )
            for name, spec in specs.items()
            for order in [orders.get(len(spec.shape), range(len(spec.shape)))]
        }

    keras = {4: (2, 3, 1, 0), 2: (1, 0)}
    mlx = {4: (0, 2, 3, 1)}
    for orders in (keras, {2: keras[2]}, mlx, {}):
        assert upright(reader.StateDict("", stored(orders))).tensors == specs
        bare = {n: spec for n, spec in stored(orders).items() if not n.endswith("bias")}
        expected = {name: specs[name] for name in bare}
        assert upright(reader.StateDict("", bare)).tensors == expected


def test_numbers_of_a_list_are_not_places_in_a_sequential() -> None:
    def pools(*names: str) -> list[float]:
        layers = [nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8 * 25, 10)]
        tensors = {
            f"{name}.{part}": value
            for name, layer in zip(names, layers, strict=True)
            for part, value in layer.state_dict().items()
        }
        (state,) = reader.find_state_dicts(dict(specs_of(tensors.items())))
        return [geometry.cost for geometry in geometries(stack_of(state), state, 5)]

    assert pools("0", "1", "2") == pools("a", "b", "c")


def test_a_batch_norm_of_the_pixels_is_behind_flatten() -> None:
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Linear(784, 10))
    (state,) = reader.find_state_dicts(dict(specs_of(network.state_dict().items())))
    assert list(stack_of(state).norms) == ["flatten"]


def test_guesses_that_few_images_do_not_tell_apart_are_decided_on_more() -> None:
    choices, scorer = search_of(trained_lenet(), 3)
    usual = choices.start(choices.geometries[0])
    best, other = scorer.scores([usual, dataclasses.replace(usual, pool="avg")], 8)
    predicted = best.predicted.clone()
    predicted[0] = 9 - predicted[0]
    alike = dataclasses.replace(other, likelihoods=best.likelihoods.flip(0), predicted=predicted)
    few = [best, alike]
    assert not decide(few, scorer.labels).is_clear
    outcome = decided(few, scorer)
    assert outcome.is_clear
    assert outcome.best.guess == usual
    assert outcome.images > 8


def test_relu_and_leaky_relu_are_compared_on_as_many_images() -> None:
    choices, scorer = search_of(trained_lenet(), 3)
    relu = choices.start(choices.geometries[0])
    scorer.scores([relu], 24)
    finalists = scorer.scores([choices.with_slope(relu, "leaky_relu")], 300)
    scorer.left = 0.0
    scores = with_slopes(finalists, choices, scorer)
    assert min(len(score.predicted) for score in scores) >= 300


def test_a_network_that_reads_few_digits_and_may_skip_layers_is_refused() -> None:
    """Its layers fit one another as well, and it reads some digits without its connections."""
    torch.manual_seed(0)
    network = Residual()
    train(network, SCALINGS["MNIST's"], training_digits(), 100)
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    with pytest.raises(CheckpointError, match="residual"):
        load(buffer.getvalue(), "x", digits=training_digits)


class Residual(nn.Module):
    """Three convolutions, two of which are added to what they take."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 12, 3, padding=1)
        self.conv3 = nn.Conv2d(12, 12, 3, padding=1)
        self.fc = nn.Linear(12 * 49, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, 10] of images [N, 1, 28, 28]."""
        x = functional.max_pool2d(self.conv1(x).relu(), 2)
        x = functional.max_pool2d(x + self.conv2(x).relu(), 2)
        x = x + self.conv3(x).relu()
        logits: Tensor = self.fc(x.flatten(1))
        return logits


LESS_USUAL: dict[str, tuple[InputForm, Callable[[], nn.Sequential]]] = {
    "smaller images": (
        InputForm(side=16, resized=True),
        lambda: nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(8 * 8 * 8, 10),
        ),
    ),
    "the middle of an image": (
        InputForm(side=20),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(400, 32), nn.ReLU(), nn.Linear(32, 10)),
    ),
    "colours as ImageNet's": (
        InputForm(*IMAGENET_SCALING, channels=3),
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(6 * 12 * 12, 10),
        ),
    ),
    "dilated kernels": (
        InputForm(),
        lambda: nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=2, dilation=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(6 * 14 * 14, 10),
        ),
    ),
    "SELU": (
        InputForm(),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.SELU(), nn.Linear(32, 10)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", LESS_USUAL)
def test_less_usual_networks_give_the_same_logits(kind: str) -> None:
    form, make = LESS_USUAL[kind]
    torch.manual_seed(0)
    network, digits = make(), training_digits()
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        picked = torch.randint(len(digits), (64,), generator=generator)
        logits = network(prepare(digits.images[picked], form))
        optimizer.zero_grad()
        functional.cross_entropy(logits, digits.labels[picked].long()).backward()
        optimizer.step()
    loaded = load(in_file(network, "zip", "named"), "x", digits=training_digits)
    images = unseen_digits().images[:100]
    with torch.no_grad():
        expected = network(prepare(images, form))
        found = loaded.classifier.logits(images)
    assert torch.allclose(found, expected, atol=1e-4, rtol=1e-4), loaded.verdict


def test_batch_norms_tell_the_geometry_of_a_deep_network() -> None:
    """Four convolutions, two of them padded, and one pooling: too many geometries to try."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 24, 3), nn.BatchNorm2d(24), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(24, 10),
    )  # fmt: skip
    digits, scaling = training_digits(), SCALINGS["-1 to 1"]
    # Not trained: only its batch norms store the statistics of the images.
    for norm in network:
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 1.0
    with torch.no_grad():
        network(scaled(digits.images[:40], scaling))
    network.eval()
    (state,) = reader.find_state_dicts(dict(named_specs(network)))
    stack = stack_of(state)
    choices = Choices(stack, Facts(), geometries(stack, state, 1))
    tensors = {name: tensor for name, tensor in named(network) if tensor.is_floating_point()}
    decoder = Decoder(stack, tensors, digits.images[:40])
    guesses = decoder.guesses(choices, all_ways(stack, state), 6)
    images = unseen_digits().images[:50]
    with torch.no_grad():
        expected = network(scaled(images, scaling))
    found = [RebuiltNetwork(guess.recipe(stack), tensors).logits(images) for guess in guesses]
    assert any(torch.allclose(logits, expected, atol=1e-4, rtol=1e-4) for logits in found)


def test_a_wrong_scaling_and_a_wrong_geometry_are_changed_together() -> None:
    choices, scorer = search_of(trained_lenet(), 10)
    right = choices.start(choices.geometries[0])
    wrong = dataclasses.replace(right, input=dataclasses.replace(right.input, mean=0.0, std=1.0))
    near = neighbours([choices.moved(wrong, choices.geometries[5])], choices, scorer, 80)
    assert right in near


def test_every_choice_can_be_taken_back() -> None:
    """Else the first images, which are few, would decide for good."""
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.Flatten(),
        nn.Linear(8 * 24 * 24, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip
    (state,) = reader.find_state_dicts(dict(specs_of(network.state_dict().items())))
    stack = stack_of(state)
    choices = Choices(stack, Facts(), geometries(stack, state, 1))
    start = choices.start(choices.geometries[0])
    others = choices.structures(start)
    assert {other.linear_order for other in others} == {("norm", "act"), ("act", "norm")}
    assert {other.bare for other in others} == {False, True}
    for field in ("linear_order", "flatten", "bare", "pool"):
        changed = next(o for o in others if getattr(o, field) != getattr(start, field))
        back = choices.structures(changed)
        assert getattr(start, field) in {getattr(other, field) for other in back}


def test_guesses_that_begin_alike_are_scored_as_each_alone() -> None:
    choices, together = search_of(trained_lenet(), 3)
    usual = choices.start(choices.geometries[0])
    guesses = [*choices.functions(usual), *choices.structures(usual)]
    together.scores(guesses[::2], 10)
    for score in together.scores(guesses, 30):
        _, scorer = search_of(trained_lenet(), 3)
        (alone,) = scorer.scores([score.guess], 30)
        assert torch.allclose(score.likelihoods, alone.likelihoods, atol=1e-5)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU()])
def test_weights_that_relu_never_uses_tell_it_from_leaky_relu(activation: nn.Module) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(8 * 13 * 13, 10)
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), linear)
    digits, scaling = training_digits(), SCALINGS["MNIST's"]
    train(network, scaling, digits, 60)
    network[1] = activation
    # In a long training, leaky ReLU moves the weights that ReLU does not use.
    if isinstance(activation, nn.LeakyReLU):
        with torch.no_grad():
            unused = ~network[:4](scaled(digits.images, scaling)).relu().any(dim=0)
            linear.weight[:, unused] += 0.01 * torch.randn(10, int(unused.sum()))
    one = Sample(network, scaling, in_file(network, "safetensors", "named"), "")
    assert outcome(one) == "same"


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU()])
def test_weights_behind_a_padded_border_tell_relu_from_leaky_relu(activation: nn.Module) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(1, 8, 3, stride=2, padding=1)
    linears = nn.Linear(8 * 7 * 7, 32), activation, nn.Linear(32, 10)
    network = nn.Sequential(convolution, activation, nn.MaxPool2d(2), nn.Flatten(), *linears)
    digits, scaling = training_digits(), SCALINGS["MNIST's"]
    train(network, scaling, digits, 100)
    network.half().float()  # else PyTorch's initialisation might tell
    one = Sample(network, scaling, in_file(network, "float16", "named"), "")
    assert outcome(one) == "same"


def test_a_file_with_two_sets_of_weights_is_searched_once_where_that_is_in_vain() -> None:
    state = nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10)).state_dict()
    buffer, asked = io.BytesIO(), []
    torch.save({"model": state, "ema": {name: 2 * value for name, value in state.items()}}, buffer)

    def digits() -> DigitSet:
        asked.append(True)
        return training_digits()

    with pytest.raises(CheckpointError, match="reads at best"):
        load(buffer.getvalue(), "x", digits=digits)
    assert len(asked) == 1


def test_a_network_for_digits_as_emnist_has_them_is_recognised() -> None:
    digits, form = training_digits(), InputForm(framed=True)
    framed = prepare(digits.images, form)
    inked = (framed > 0.3).any(0)[0]
    assert inked[3].any()
    assert not inked[0].any()
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    images = (255 * framed[:, 0]).round().to(torch.uint8)
    train(network, SCALINGS["0 to 1"], dataclasses.replace(digits, images=images), 150)
    loaded = load(in_file(network, "zip", "named"), "x", digits=training_digits)
    assert "digits enlarged to the frame" in loaded.verdict


def named(network: nn.Sequential) -> list[tuple[str, Tensor]]:
    return list(renamed(network, "named").state_dict().items())


def named_specs(network: nn.Sequential) -> Iterator[tuple[str, reader.TensorSpec]]:
    return specs_of(named(network))


def specs_of(tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, reader.TensorSpec]]:
    for name, tensor in tensors:
        shape = tuple(tensor.shape)
        dtype = str(tensor.dtype).removeprefix("torch.")
        storage = Storage(dtype, tensor.numel(), bytes)
        yield name, reader.TensorSpec(dtype, shape, contiguous_stride(shape), 0, storage)


def search_of(network: nn.Sequential, most: int) -> tuple[Choices, Scorer]:
    """Return what the search for a network starts with; most: the geometries to choose from."""
    (state,) = reader.find_state_dicts(dict(named_specs(network)))
    stack, digits = stack_of(state), training_digits()
    choices = Choices(stack, Facts(), geometries(stack, state, most))
    return choices, Scorer(stack, dict(named(network)), digits.images, digits.labels.long())


@functools.cache
def trained_with_norm() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.BatchNorm2d(6), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(6 * 12 * 12, 10),
    )  # fmt: skip
    train(network, SCALINGS["-1 to 1"], training_digits(), 100)
    return network


def test_the_order_around_batch_norm_is_found_together_with_the_scaling() -> None:
    network, scaling = trained_with_norm(), SCALINGS["-1 to 1"]
    one = Sample(network, scaling, in_file(network, "safetensors", "named"), "conv, ReLU, norm")
    assert outcome(one) == "same"


@pytest.mark.parametrize("program", ["Keras", "MLX"])
def test_a_list_of_weights_with_channels_last_gives_the_same_logits(program: str) -> None:
    network, scaling = trained_with_norm(), SCALINGS["-1 to 1"]
    conv, norm, linear = network[0].state_dict(), network[2].state_dict(), network[5].state_dict()
    matrix = linear["weight"].reshape(10, 6, 144).transpose(1, 2).reshape(10, -1)
    is_keras = program == "Keras"
    weights = [
        conv["weight"].permute((2, 3, 1, 0) if is_keras else (0, 2, 3, 1)).contiguous(),
        conv["bias"],
        *list(norm.values())[:4],
        matrix.t().contiguous() if is_keras else matrix,
        linear["bias"],
    ]
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    assert outcome(Sample(network, scaling, buffer.getvalue(), program)) == "same"


def test_the_search_starts_with_the_channels_where_the_file_has_them() -> None:
    (state,) = reader.find_state_dicts(dict(named_specs(trained_lenet())))
    stack = stack_of(state)
    found = geometries(stack, state, 1)
    choices = [Choices(stack, Facts(channels_last=last), found) for last in (False, True)]
    assert [each.start(found[0]).flatten for each in choices] == ["flatten", "flatten_last"]


def test_an_order_that_was_worse_with_other_choices_is_tried_again_at_the_end() -> None:
    choices, scorer = search_of(trained_with_norm(), 10)
    start = choices.start(choices.geometries[0])
    form = dataclasses.replace(start.input, mean=0.5, std=0.5)
    right = dataclasses.replace(start, input=form, order=("act", "norm", "pool"))
    wrong = dataclasses.replace(right, order=("norm", "act", "pool"))
    assert right in neighbours([wrong], choices, scorer, 80)


def test_a_whole_sequential_is_rebuilt_where_no_other_geometry_fits_its_steps() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 2, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(6 * 14 * 14, 10),
    )  # fmt: skip
    digits, scaling = training_digits(), SCALINGS["0 to 1"]
    train(network, scaling, digits, 100)
    one = Sample(network, scaling, in_file(network, "whole", "sequential"), "conv 2x2, padded")
    assert outcome(one) == "same"


@functools.cache
def trained_perceptron() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 24), nn.ReLU(), nn.Linear(24, 10))
    train(network, SCALINGS["0 to 1"], training_digits(), 120)
    return network


# --- what a rebuilt network can do --------------------------------------------------------------


@pytest.fixture(scope="module")
def rebuilt() -> Checkpoint:
    digits, network = training_digits(), trained_perceptron()
    return load(in_file(network, "zip", "named"), "mlp.pth", digits=lambda: digits)


def test_a_saved_network_round_trips(rebuilt: Checkpoint, tmp_path: Path) -> None:
    network = rebuilt.classifier
    assert isinstance(network, RebuiltNetwork)
    digest = save(tmp_path / "kept.pt", network, Details(), description=rebuilt.description)
    kept = load(tmp_path / "kept.pt", digits=lambda: pytest.fail("it is not rebuilt again"))
    assert kept.digest == digest == rebuilt.digest == digest_of(network)
    assert kept.verdict == rebuilt.verdict
    images = generated_digits().images[:50]
    assert torch.equal(kept.probabilities(images), rebuilt.probabilities(images))


def test_missing_capabilities_give_one_sentence(rebuilt: Checkpoint) -> None:
    with pytest.raises(CapabilityError, match=r"^The model mlp\.pth is not digitcnn's network"):
        _ = rebuilt.network
    assert rebuilt.classify(generated_digits().images[:3]).is_digit is None


def test_logits_are_differentiable_and_follow_any_number_type(rebuilt: Checkpoint) -> None:
    images = generated_digits().images[:4]
    pixels = images.float().requires_grad_()
    logits = rebuilt.classifier.logits(pixels)
    assert torch.allclose(logits, rebuilt.classifier.logits(images))
    logits.sum().backward()
    assert pixels.grad is not None
    assert bool(pixels.grad.abs().sum() > 0)


# --- what is refused ----------------------------------------------------------------------------


def weights(*layers: nn.Module) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return nn.Sequential(*layers).state_dict()


OTHERS: dict[str, tuple[Callable[[], dict[str, Tensor]], str]] = {
    "six classes": (lambda: weights(nn.Linear(784, 6)), "has 6 outputs"),
    "letters": (lambda: weights(nn.Linear(784, 26)), "26 classes, such as letters"),
    "an autoencoder": (
        lambda: weights(nn.Linear(784, 32), nn.Linear(32, 784)),
        "like an autoencoder",
    ),
    "a transformer": (
        lambda: nn.TransformerEncoderLayer(16, 2, 16).state_dict(),
        "is a transformer",
    ),
    "a recurrent network": (lambda: nn.LSTM(28, 16).state_dict(), "is a recurrent network"),
    "a residual network": (
        lambda: {"layer1.0.conv1.weight": torch.zeros(8, 1, 3, 3), "fc.weight": torch.ones(10, 8)},
        "branching",
    ),
    "branches": (
        lambda: {"a.weight": torch.ones(20, 784), "b.weight": torch.ones(10, 30)},
        "branching network",
    ),
    "an ensemble": (
        lambda: {
            f"models.{n}.{name}": value
            for n in range(3)
            for name, value in weights(nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 10)).items()
        },
        "an ensemble of 3 networks",
    ),
    "group norm": (
        lambda: weights(nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8), nn.Linear(8 * 13 * 13, 10)),
        "group or instance normalisation",
    ),
    "layer norm of maps": (
        lambda: weights(nn.Conv2d(1, 8, 3), nn.LayerNorm([26, 26]), nn.Linear(8 * 13 * 13, 10)),
        "layer normalisation of whole maps",
    ),
    "a bias under another name": (
        lambda: {"fc.weight": torch.ones(10, 784), "offsets": torch.ones(10)},
        "belong to no layer that digitcnn knows (offsets)",
    ),
    "another size of image": (lambda: weights(nn.Linear(121, 10)), "takes 121 numbers, 11x11"),
    "untrained": (lambda: weights(nn.Linear(784, 10)), "reads at best"),
    "CIFAR": (
        lambda: weights(nn.Conv2d(3, 8, 3), nn.Linear(8 * 13 * 13, 10)),
        "colour images",
    ),
    "adapters": (
        lambda: {**weights(nn.Linear(784, 10)), "0.lora_A": torch.zeros(4, 784)},
        "low-rank adapters",
    ),
    "flattened weights": (
        lambda: {"_fsdp_wrapped_module._flat_param": torch.zeros(7850)},
        "flattened weights of FSDP",
    ),
    "a spiking network": (
        lambda: {**weights(nn.Linear(784, 10)), "lif1.beta": torch.tensor(0.9)},
        "is a spiking network",
    ),
    "a matrix that is computed otherwise": (
        lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(784, 10))).state_dict(),
        "has reparametrised weights",
    ),
    "NaN": (
        lambda: {"fc.weight": torch.full((10, 784), float("nan"))},
        "NaN or infinite numbers",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_are_refused_with_their_kind(name: str) -> None:
    make, sentence = OTHERS[name]
    buffer = io.BytesIO()
    torch.save(make(), buffer)
    with pytest.raises(CheckpointError) as refusal:
        load(buffer.getvalue(), "x.pth")
    assert sentence in str(refusal.value)
    assert str(refusal.value).startswith("x.pth ")


MLP = {"fc.weight": (10, 784)}
HOSTILE: dict[str, tuple[dict[str, tuple[int, ...]], tuple[Step, ...]]] = {
    "padding without end": (
        {"c.weight": (10, 1, 1, 1)},
        (Step("conv", "c", (1, 9999, 1, 1)), Step("adaptive_avg", "", (1,)), Step("flatten")),
    ),
    "a thousand maps": (
        {"c.weight": (2000, 1, 1, 1)},
        (Step("conv", "c", (1, 0, 1, 1)),),
    ),
    "a pooling of nothing": (MLP, (Step("max_pool", "", (0, 0, 0, 0)),)),
    "no stride": ({"c.weight": (10, 1, 1, 1)}, (Step("conv", "c", (0, 0, 1, 1)),)),
    "a missing tensor": (MLP, (Step("flatten"), Step("linear", "other"))),
    "eleven outputs": ({"fc.weight": (11, 784)}, (Step("flatten"), Step("linear", "fc"))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_recipe_that_does_not_fit_is_refused_before_anything_is_computed(name: str) -> None:
    shapes, steps = HOSTILE[name]
    with pytest.raises(ValueError):  # noqa: PT011
        Recipe(InputForm(), steps).check(shapes)
