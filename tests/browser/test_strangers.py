"""Three strangers' files are dropped at once, compared on two sets, and asked on the pad."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from drawing import ONE, draw
from playwright.sync_api import expect
from running_app import App
from torch import Tensor, nn
from torch.nn import functional

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from sample_onnx import like_the_model_zoo, saved, training_digits

pytestmark = [pytest.mark.browser, pytest.mark.long]


class Stranger(nn.Module):
    """Somebody's network, pickled as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.pool, self.relu = nn.MaxPool2d(2), nn.ReLU()
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        return self.fc3(self.relu(self.fc2(self.relu(self.fc1(x.flatten(1))))))


def trained(network: nn.Module, mean: float, std: float, seed: int) -> nn.Module:
    digits = training_digits()
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.reset_parameters()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(400):
        picked = torch.randint(len(digits), (64,))
        inputs = (digits.images[picked].float().unsqueeze(1) / 255 - mean) / std
        loss = functional.cross_entropy(network(inputs), digits.labels[picked].long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def files(folder: Path) -> list[Path]:
    """A pickled convolutional network, a perceptron in safetensors, and an ONNX model."""
    pickled, tensors, onnx = folder / "lenet.pth", folder / "mlp.safetensors", folder / "zoo.onnx"
    torch.save(trained(Stranger(), 0.0, 1.0, 0), pickled)
    perceptron = nn.Sequential(nn.Flatten(), nn.Linear(784, 24), nn.ReLU(), nn.Linear(24, 10))
    state = trained(perceptron, 0.0, 1.0, 1).state_dict()
    safetensors.torch.save_file({f"net.{name}": value for name, value in state.items()}, tensors)
    onnx.write_bytes(saved(like_the_model_zoo()))
    return [pickled, tensors, onnx]


VERDICTS = ("LeNet-like: conv 6 and 16", "Perceptron: linear 784-24-10", "ONNX model: 1 Conv")


@pytest.mark.timeout(300)
def test_three_strangers_are_compared_on_two_sets_and_used_on_the_pad(
    browser: Any, app: App, tmp_path: Path
) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 1600})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.set_default_timeout(120_000)
    page.goto(app.url)
    page.locator("#pad canvas").wait_for(state="attached")
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.locator("#compare-run").wait_for()
    page.locator("#compare-files input[type=file]").set_input_files(list(map(str, files(tmp_path))))
    for verdict in VERDICTS:
        page.get_by_text(verdict).first.wait_for()
    shot(page, "verdicts")
    sets = page.locator("input[type=checkbox]").locator("visible=true")
    for box in sets.all():
        box.uncheck()
    for name in ("small", "synthetic"):
        page.locator(f"input[type=checkbox][name={name}]").locator("visible=true").check()
    page.locator("#compare-run").click()
    table = page.locator("#compare-table")
    for name in ("lenet", "mlp", "zoo", "small", "synthetic"):
        expect(table).to_contain_text(name, timeout=120_000)
    shot(page, "compared")

    page.locator("#model-select input").click()
    page.get_by_role("option", name=re.compile("^zoo")).click()
    page.get_by_role("tab", name="Sketchpad", exact=True).click()
    draw(page, ONE)
    page.locator('#pad-answer[data-digit="1"], #pad-answer [data-digit="1"]').first.wait_for()
    shot(page, "pad")
    assert problems == []
    page.close()


def shot(page: Any, name: str) -> None:
    """A screenshot for people, where a folder for them is named."""
    folder = os.environ.get("DIGITCNN_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"strangers-{name}.png", full_page=True)
