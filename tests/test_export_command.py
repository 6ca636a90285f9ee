"""``export`` as a script uses it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

import digitcnn
from digitcnn.cli import main

ROOT = Path(digitcnn.__file__).parents[1]
SHIPPED = ROOT / "checkpoints" / "digitcnn-mnist.pt"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        status = main(["export", *arguments])
    except SystemExit as leaving:
        status = int(str(leaving.code))
    return status, *capsys.readouterr()


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence with which the command is refused."""
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    return err


def test_a_page_is_written_over_an_older_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "page.html"
    target.write_text("older")
    status, out, err = run(capsys, "--checkpoint", str(SHIPPED), "--page", str(target), "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["checkpoint"] == "digitcnn-mnist"
    assert found["format"] == "page"
    assert found["file"] == str(target)
    assert found["bytes"] == target.stat().st_size < 4_000_000
    assert target.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.long
def test_an_onnx_model_agrees_with_pytorch_on_ten_thousand_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{error}: pip install -e '.[onnx]'")
    target = tmp_path / "model.onnx"
    status, out, err = run(capsys, "--checkpoint", str(SHIPPED), "--onnx", str(target), "--json")
    assert status == 0, err
    found = json.loads(out)
    assert len(out.splitlines()) == 1
    assert found["checked_images"] == 10_000
    assert found["disagreements"] == 0
    assert 0 <= found["largest_difference"] < 1e-4
    assert found["bytes"] == target.stat().st_size


def test_onnx_without_its_packages_names_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    target = tmp_path / "model.onnx"
    status, out, err = run(capsys, "--checkpoint", str(SHIPPED), "--onnx", str(target), "--json")
    assert (status, out) == (2, "")
    assert "pip install -e '.[onnx]'" in err
    assert len(err.splitlines()) == 1
    assert not target.exists()


def test_the_checkpoint_itself_is_never_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "mine.pt"
    copy.write_bytes(SHIPPED.read_bytes())
    assert "never changed" in refusal(capsys, "--checkpoint", str(copy), "--page", str(copy))
    assert copy.read_bytes() == SHIPPED.read_bytes()


def test_unusable_input_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = str(tmp_path / "nowhere" / "page.html")
    sentence = refusal(capsys, "--checkpoint", str(SHIPPED), "--page", nowhere)
    assert "cannot be written" in sentence
    refusal(capsys, "--checkpoint", str(tmp_path / "none.pt"), "--page", nowhere)
    refusal(capsys, "--checkpoint", str(SHIPPED))
    refusal(capsys, "--checkpoint", str(SHIPPED), "--page", nowhere, "--onnx", nowhere)
