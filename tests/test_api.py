"""The calls for programs, of a running lab, as documented and as strangers make them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from page_over_http import PageOverHttp
from PIL import Image
from running_app import ROOT, App

from digitcnn.cli import main
from digitcnn.digits.idx import read_idx

CALLS = {"/predict", "/models", "/digit_sets", "/training", "/evaluate"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[App]:
    running = App(tmp_path_factory.mktemp("api"), data_dir)
    yield running
    running.end()


@pytest.fixture(scope="module")
def lab(app: App) -> Client:
    return Client(app.url, verbose=False)


@pytest.fixture(scope="module")
def picture(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A digit as people send it, dark on white and large, and which it is."""
    images = read_idx(data_dir / "small" / "test-images-idx3-ubyte.gz", dimensions=3)
    labels = read_idx(data_dir / "small" / "test-labels-idx1-ubyte.gz", dimensions=1)
    path = tmp_path_factory.mktemp("pictures") / "digit.png"
    Image.fromarray(255 - images[0].numpy()).resize((280, 280)).save(path)
    return path, int(labels[0])


def test_every_call_is_named_and_documented(lab: Client) -> None:
    found = lab.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(found) == CALLS
    assert all(len(call["description"]) > 40 for call in found.values())


def test_an_image_is_classified(lab: Client, picture: tuple[Path, int]) -> None:
    path, digit = picture
    for model in ((), ("digitcnn-mnist",)):
        answer = lab.predict(handle_file(str(path)), *model, api_name="/predict")
        assert answer["digit"] == digit
        assert abs(sum(answer["probabilities"]) - 1) < 1e-5
        assert len(base64.b64decode(answer["seen"])) == 784


def test_evaluate_gives_the_numbers_of_the_command(
    lab: Client, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = lab.predict("digitcnn-mnist", "small", api_name="/evaluate")
    shipped = str(ROOT / "checkpoints" / "digitcnn-mnist.pt")
    arguments = ["--checkpoint", shipped, "--digits", "small", "--data-dir", str(data_dir)]
    assert main(["evaluate", *arguments, "--device", "cpu", "--json"]) == 0
    assert asked == json.loads(capsys.readouterr().out)["small"]


def test_models_sets_and_training_are_listed(lab: Client) -> None:
    (model,) = lab.predict(api_name="/models")
    assert model["name"] == "digitcnn-mnist"
    assert "claimed" in model["verdict"]
    sets = lab.predict(api_name="/digit_sets")
    assert {"name": "small", "split": "test", "n": 100, "present": True} in sets
    assert lab.predict(api_name="/training")["state"] == "idle"


@pytest.mark.parametrize(
    ("call", "arguments", "says"),
    [
        ("/evaluate", ("nothing", "small"), "There is no checkpoint nothing; available: "),
        ("/evaluate", ("digitcnn-mnist", "nothing"), "nothing"),
        ("/evaluate", (["x"], "small"), "No model is chosen"),
        ("/evaluate", ("digitcnn-mnist", {"y": 1}), "No test set was given"),
        ("/predict", (None, ""), "No image was received"),
    ],
    ids=["no model", "no set", "no name", "no set name", "no picture"],
)
def test_an_invalid_call_gets_a_sentence(
    lab: Client, app: App, call: str, arguments: tuple[Any, ...], says: str
) -> None:
    with pytest.raises(AppError, match=re.escape(says)) as caught:
        lab.predict(*arguments, api_name=call)
    assert str(app.folder) not in str(caught.value)
    assert "Something went wrong" not in str(caught.value)


def test_a_text_file_and_a_path_of_the_lab_are_refused(app: App, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no picture")
    page = PageOverHttp(app.url)
    (predict,) = (event for event in page.events() if event["api_name"] == "predict")
    picture, model = predict["inputs"]
    page.values[model] = ""
    page.values[picture] = page.upload("note.png", b"no picture")
    assert page.run(predict).startswith("This image cannot be read")
    secret = app.folder / "checkpoints" / "digitcnn-mnist.pt"
    page.values[picture] = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    assert page.run(predict) != ""
    assert "no picture" not in page.run(predict)  # refused before it was opened


def test_the_example_of_the_reference_runs(
    app: App, picture: tuple[Path, int], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    reference = (ROOT / "docs" / "reference.md").read_text("utf-8")
    example = re.search(r"```python\n(.+?)```", reference, re.S)
    assert example is not None
    code = example[1].replace("http://127.0.0.1:7860", app.url).replace('"synthetic"', '"small"')
    monkeypatch.chdir(picture[0].parent)
    exec(compile(code, "reference.md", "exec"), {})
    printed = capsys.readouterr().out
    assert f"{picture[1]} [" in printed
    assert "digitcnn-mnist digitcnn network, trained on MNIST" in printed
