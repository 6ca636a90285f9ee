"""scikit-learn's perceptron, which is read, and its other estimators, which are refused by name."""

from __future__ import annotations

from digitcnn.network.reader.pickle_reader import Placeholder
from digitcnn.network.reader.tensors import InvalidCheckpoint, Module, StateDict, shown
from digitcnn.network.reader.unnamed import Budget, paired

_NO_NETWORK = "which is not a neural network; choose a network's file"
_CHANGES_IMAGES = (
    "which changes the images before a network sees them; save an MLPClassifier alone that was "
    "trained on the pixels"
)
_ESTIMATORS = {
    **dict.fromkeys(
        ("ensemble", "tree", "neighbors", "svm", "naive_bayes", "gaussian_process"), _NO_NETWORK
    ),
    **dict.fromkeys(
        ("pipeline", "preprocessing", "decomposition", "compose", "feature_selection"),
        _CHANGES_IMAGES,
    ),
}
# Parts of a classifier that reads pixels, and a linear classifier.
_ACCEPTED_ESTIMATORS = {"LabelBinarizer", "LabelEncoder", "LinearSVC"}


def refuse_other_estimators(name: str) -> None:
    """Raise InvalidCheckpoint for a class of scikit-learn that is no network of its own."""
    package, _, rest = name.partition(".")
    reason = _ESTIMATORS.get(rest.partition(".")[0]) if package == "sklearn" else None
    kind = name.rpartition(".")[2]
    if package == "skorch" and kind[:1].isupper():
        raise InvalidCheckpoint(
            f"is skorch's {shown(kind, 40)}, which pickles its network in a format of its own; "
            'save it with save_params(f_params="digits.pt")'
        )
    if reason is not None and kind[:1].isupper() and kind not in _ACCEPTED_ESTIMATORS:
        raise InvalidCheckpoint(f"has scikit-learn's {shown(kind, 40)}, {reason}")


_PERCEPTRON = "sklearn.neural_network._multilayer_perceptron.MLPClassifier"
_ACTIVATIONS = {"relu": ["ReLU"], "tanh": ["Tanh"], "logistic": ["Sigmoid"], "identity": []}


def read_perceptron(
    path: str, value: Placeholder, seen: set[int], budget: Budget
) -> StateDict | None:
    """Return scikit-learn's perceptron, with its modules as in PyTorch; None for others."""
    state = value.state
    if value.name != _PERCEPTRON or not isinstance(state, dict):
        return None
    tensors = paired([state.get("coefs_"), state.get("intercepts_")], seen, budget)
    activation = state.get("activation")
    if not tensors or not isinstance(activation, str) or activation not in _ACTIVATIONS:
        return None
    modules = [Module("", "Sequential", True, {}), Module("flatten", "Flatten", True, {})]
    for layer in range(len(tensors) // 2):
        kinds = [*(_ACTIVATIONS[activation] if layer else []), "Linear"]
        modules += [Module(str(layer), kind, True, {}) for kind in kinds]
    return StateDict(path, tensors, modules)
