"""The same training digit nine times, as the network sees it with the settings on the page."""

from __future__ import annotations

from typing import Any

import gradio as gr
import torch
from markupsafe import Markup

from digitcnn.digits.augment import Augmentation, augment
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.names import listed
from digitcnn.errors import DigitCNNError, DigitSetError
from digitcnn.ui.parts import PRIVATE, image_address, status_line
from digitcnn.ui.toasts import toasting
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

COPIES = 9
# Some changes are made to a small share of a batch only; this many copies have all of them.
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
