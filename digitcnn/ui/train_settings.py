"""The settings of the Train tab: controls and their values, time estimate, augmentation preview."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import gradio as gr
import torch
from cachetools import cached
from markupsafe import Markup

from digitcnn.digits.augment import Augmentation, augment
from digitcnn.digits.digit_set import HELD_OUT_SHARE, DigitSet
from digitcnn.digits.names import listed, set_names, written
from digitcnn.errors import ConfigError, DigitCNNError, DigitSetError
from digitcnn.network import device as devices
from digitcnn.options import DEVICES, NETWORKS
from digitcnn.training.config import RANGES, PostTrainingConfig, TrainingConfig
from digitcnn.training.estimate import Stopwatch
from digitcnn.training.run_work import RunWork
from digitcnn.ui.parts import PRIVATE, image_address, status_line, whole
from digitcnn.ui.set_chooser import set_choices, usual_set
from digitcnn.ui.toasts import toasting
from digitcnn.ui.wording import rough_duration
from digitcnn.web import bundle
from digitcnn.web.templates import render, source
from digitcnn.workspace import Workspace

# Epochs, batch size and training images of a first try.
QUICK = (8, 64, 3_000)

# The settings whose controls make up a recipe.
RECIPE = tuple(field.name for field in dataclasses.fields(TrainingConfig))
# What each of NETWORKS is, for people.
NETWORK_NAMES = {
    "digitcnn": "two convolutions",
    "lenet": "LeNet-5",
    "mlp": "one hidden layer",
    "linear": "softmax regression",
    "deep": "five convolutions",
}


class TrainingSettings:
    """The controls of a training's configuration, built inside an open layout.

    recipe: the controls whose values a run stores, in the order of ``recipe_values``; with
    ``device``, the input of ``config_of``.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def build_main(self) -> None:
        """Build the controls that are always visible."""
        self.epochs = gr.Slider(
            1, 200, step=1, **_usual("epochs", "Epochs", "Passes over the training images")
        )
        self.batch_size = gr.Slider(
            16, 1024, step=1, **_usual("batch_size", "Batch size", "Images per step")
        )
        self.learning_rate = learning_rate_slider(TrainingConfig().learning_rate)
        self.digits = gr.CheckboxGroup(
            set_choices(self._workspace, "train"),
            value=[usual_set(self._workspace, "train")],
            label="Digit sets",
            info="Images to train on; those of several sets are pooled",
            elem_id="train-digits",
        )
        self.download = gr.Button(
            "Download MNIST (11 MB)",
            size="sm",
            visible=not self._workspace.catalog.has("mnist", "train"),
            elem_id="train-fetch",
        )
        self.download_status = gr.Markdown(elem_id="train-fetch-status", visible=False)

    def build_more(self) -> None:
        """Build the controls of the accordion."""
        self.name = gr.Textbox(
            label="Run name",
            info="Names the folder and checkpoint; blank: digit set and time",
            max_length=60,
            elem_id="train-name",
        )
        self.network = gr.Dropdown(
            [(f"{name}: {NETWORK_NAMES[name]}", name) for name in NETWORKS],
            **_usual("network", "Network", "Architecture to train"),
        )
        augmented = (
            "Random rotation, shift, scale, shear and stroke width; noise, haze, lines, blur"
        )
        self.augmentation = gr.Checkbox(**_usual("augmentation", "Augmentation", augmented))
        dropped = "Switches off random neurons before the output layer"
        self.dropout = gr.Checkbox(**_usual("dropout", "Dropout", dropped))
        self.train_images = gr.Number(
            0,
            label="Training images",
            info="How many to use; 0: all except the held-out images",
            precision=0,
            elem_id="train-images",
        )
        about = "For weights, image order, augmentation and dropout"
        self.seed = gr.Number(precision=0, **_usual("seed", "Seed", about))
        compute = self._workspace.compute
        self.device = gr.Dropdown(
            list(DEVICES),
            value="auto",
            label="Device",
            info=f"auto is {compute} here. {compute.note}".strip(),
            elem_id="train-device",
        )

    @property
    def recipe(self) -> list[Any]:
        """Return the components that make up a recipe, in the order of ``RECIPE``."""
        return [getattr(self, name) for name in RECIPE]


def _usual(name: str, label: str, info: str) -> dict[str, Any]:
    """Return what the control of a setting shows at first, and the texts beside it."""
    value, elem_id = getattr(TrainingConfig(), name), f"train-{name.replace('_', '-')}"
    return {"value": value, "label": label, "info": info, "elem_id": elem_id}


def learning_rate_slider(rate: float) -> gr.HTML:
    """Build a logarithmic slider with the rate itself beside it, which is its value.

    The template has no ``${}``: Gradio loses its value where the page opens on another
    tab.
    """
    return gr.HTML(
        rate,
        html_template=source("train/learning_rate.html"),
        css_template=bundle.style("learning_rate.css"),
        js_on_load=bundle.on_load("logarithmicSlider"),
        elem_id="train-learning-rate",
        container=True,
        elem_classes="rate",
    )


def recipe_values(config: TrainingConfig) -> list[Any]:
    """Return the values of the ``recipe`` controls for a configuration."""
    values = config.to_json()
    values |= {"digits": set_names(config.digits), "train_images": config.train_images or 0}
    return list(values.values())


def config_of(*values: Any) -> tuple[TrainingConfig, str]:
    """Return the values of the ``recipe`` controls and of the device, of any type, as settings.

    Raises ConfigError.
    """
    *recipe, device = values
    settings = dict(zip(RECIPE, recipe, strict=True))
    digits = settings["digits"]
    if not isinstance(digits, str):
        # The chosen names; any other value gives no name, which is rejected.
        settings["digits"] = ",".join(map(str, digits if isinstance(digits, list) else []))
    # 0 means all: an emptied number field sends 0 as well.
    settings["train_images"] = settings["train_images"] or None
    for name in ("epochs", "batch_size", "seed", "train_images"):
        settings[name] = whole(settings[name])
    images = settings["train_images"]
    if isinstance(images, (int, float)) and images < 0:
        raise ConfigError(
            f"The number of training images is {images}; choose a whole number from 0, for all, "
            f"to {RANGES['train_images'][1]:,}.",
            field="train-images",
        )
    return TrainingConfig(**settings), device


def problems_of(*values: Any) -> list[ConfigError]:
    """Return the problems of the values, each checked on its own by ``config_of``."""
    *recipe, device = values
    usual = recipe_values(TrainingConfig())
    problems = []
    for place, value in enumerate(recipe):
        try:
            config_of(*usual[:place], value, *usual[place + 1 :], device)
        except ConfigError as error:
            problems.append(error)
    return problems


def quick(config: TrainingConfig, workspace: Workspace) -> TrainingConfig:
    """Return the settings of a first try, a minute on two cores; a small set is used whole."""
    epochs, batch_size, most = QUICK
    files = [workspace.catalog.entry(name, "train").n or 0 for name in set_names(config.digits)]
    few = most if sum(count - max(1, count // HELD_OUT_SHARE) for count in files) > most else None
    return dataclasses.replace(config, epochs=epochs, batch_size=batch_size, train_images=few)


class Devices:
    """The devices of this machine, each tried once, however often the page asks."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._tried = cached({}, condition=threading.Condition())(_tried)

    def get(self, device: str) -> devices.Compute:
        """Return a device. Raises ConfigError for one that is unknown, absent or failed."""
        if device == "auto":
            return self._workspace.compute
        if device not in DEVICES:
            return devices.choose(device)
        result = self._tried(device)
        if isinstance(result, str):
            raise ConfigError(result, field="device")
        return result


def _tried(device: str) -> devices.Compute | str:
    """Return a device, or why it cannot be used."""
    try:
        return devices.choose(device)
    except ConfigError as error:
        return str(error)


class TimeEstimate:
    """How long a quick training and one with the chosen settings would take."""

    def __init__(self, workspace: Workspace, computes: Devices) -> None:
        self._workspace, self._computes = workspace, computes
        self._stopwatch = Stopwatch()

    def texts(
        self, config: TrainingConfig, device: str, *, may_try: bool
    ) -> tuple[str, tuple[str, str]]:
        """Return what both trainings are, as Markdown, and what to write on their buttons.

        may_try: whether to run a trial if needed. Raises ConfigError for a bad device.
        """
        compute = self._computes.get(device)
        problem = self._problem(config)
        if problem:
            return problem, ("", "")
        job = self._workspace.job
        self._stopwatch.learn(job.view())
        trainings = {"Quick training": quick(config, self._workspace), "Start training": config}
        lines, labels = [], []
        for name, each in trainings.items():
            work = RunWork.of(each, PostTrainingConfig(), self._workspace.catalog)
            rate = self._stopwatch.images_per_second(
                each, compute, may_try=may_try, undisturbed=lambda: job.exclusive.free
            )
            time = rough_duration(work.seconds(each.epochs, rate)) if rate else ""
            epochs = f"{each.epochs} epoch{'s' * (each.epochs > 1)}"
            lines.append(
                f"**{name}**: {work.images:,} images, {epochs}, batches of {each.batch_size:,}"
            )
            # While a job runs it slows this down, and the status says how long it takes.
            labels.append(f" (about {time})" if time and job.exclusive.free else "")
        lines[0] += "; other settings as below"
        return "  \n".join(lines), (labels[0], labels[1])

    def _problem(self, config: TrainingConfig) -> str:
        """Return why these sets cannot be trained on, in a sentence; empty where they can."""
        for name in set_names(config.digits):
            entry = self._workspace.catalog.entry(name, "train")
            if entry.problem is not None:
                return entry.problem
            if entry.n is None:
                name = written(name)
                return f"{name} is not downloaded yet; download it or use synthetic digits."
        return ""


COPIES = 9
# Some distortions affect only a small share of a batch; this many copies show all of them.
BATCH = 180


def preview(digit_set: DigitSet, number: int, *, augmentation: bool) -> Markup:
    """Render training image ``number``, modulo the set's size, nine times.

    The number also seeds the augmentation, so the same number gives the same images.
    """
    place = number % len(digit_set)
    images = digit_set.images[place : place + 1].expand(COPIES, -1, -1)
    if augmentation:
        random = torch.Generator().manual_seed(number)
        batch = augment(digit_set.images[place].expand(BATCH, -1, -1), Augmentation(), random)
        chosen = torch.randperm(BATCH, generator=random)[:COPIES]
        images = batch[chosen].round().clamp(0, 255).to(torch.uint8)
    return render(
        "train/augmentation_preview.html",
        digit=int(digit_set.labels[place]),
        digits=listed(digit_set.name),
        addresses=[image_address(image) for image in images],
        augmentation=augmentation,
    )


class AugmentationPreview:
    """The nine images and a button for another digit, built inside an open layout."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.images = gr.HTML(elem_id="train-preview")
        self.another = gr.Button("Another digit", size="sm", elem_id="train-preview-another")
        self._number = gr.State(0)

    def connect(self, accordion: gr.Accordion, digits: Any, augmentation: gr.Checkbox) -> None:
        """Draw the images when the accordion is opened, a setting changes, or on request.

        Not when the page is loaded: the training images take memory that a visitor's page does
        not need.
        """
        inputs = [digits, augmentation, self._number]
        outputs = [self.images, self._number]
        for event in (accordion.expand, augmentation.change):
            event(self.preview_augmentation, inputs, outputs, **PRIVATE)
        self.another.click(self.preview_another, inputs, outputs, **PRIVATE)

    @toasting
    def preview_another(self, digits: Any, augmentation: Any, number: int) -> list[Any]:
        """Show the next digit."""
        return self.preview_augmentation(digits, augmentation, number + 1)

    def preview_augmentation(self, digits: Any, augmentation: Any, number: int) -> list[Any]:
        """Show the current digit; a set that is not available is a line, not a toast."""
        names = [digits] if isinstance(digits, str) else digits
        try:
            if not isinstance(names, list) or not names or not isinstance(names[0], str):
                raise DigitSetError("No digit set is chosen; choose one above.")
            digit_set = self._workspace.catalog.open(names[0], "train")
        except DigitCNNError as error:
            return [status_line(str(error)), number]
        return [preview(digit_set, number, augmentation=bool(augmentation)), number]
