"""Which folders app and command line use: option, variable, checkout, current folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import digitcnn
from digitcnn import folders
from digitcnn.cli import main
from digitcnn.folders import (
    cache_folder,
    checkpoint_file,
    checkpoint_folder,
    data_folder,
    output_folder,
)

ROOT = Path(digitcnn.__file__).parents[1]

Rule = Callable[[Path | None, Mapping[str, str]], Path]


@pytest.mark.parametrize(
    ("rule", "variable"),
    [
        (data_folder, "DIGITCNN_DATA"),
        (output_folder, "DIGITCNN_OUTPUT_DIR"),
        (checkpoint_folder, "DIGITCNN_CHECKPOINT_DIR"),
    ],
)
def test_the_option_comes_before_the_variable(rule: Rule, variable: str, tmp_path: Path) -> None:
    named = {variable: str(tmp_path / "variable")}
    assert rule(tmp_path / "option", named) == tmp_path / "option"
    assert rule(None, named) == tmp_path / "variable"
    assert rule(None, {variable: ""}) == rule(None, {})


def test_a_checkout_uses_its_own_folders() -> None:
    assert output_folder(None, {}) == ROOT / "outputs"
    assert checkpoint_folder(None, {}) == ROOT / "checkpoints"
    assert folders.SHIPPED_FILE == ROOT / "checkpoints" / "digitcnn-mnist.pt"
    assert folders.shipped_folder(None, {}) is None


def test_a_checkpoint_is_named_by_file_or_name(tmp_path: Path) -> None:
    assert checkpoint_file(Path(folders.SHIPPED)) == folders.SHIPPED_FILE
    assert checkpoint_file(folders.SHIPPED_FILE) == folders.SHIPPED_FILE
    for other in (Path("no-such-model"), tmp_path / folders.SHIPPED):
        assert checkpoint_file(other) == other


def test_an_installed_package_uses_the_current_folder(tmp_path: Path) -> None:
    """A copy of the package without its checkout, as an installation lays it."""
    shutil.copytree(ROOT / "digitcnn", tmp_path / "site" / "digitcnn")
    code = (
        "from digitcnn import folders as f\n"
        "from pathlib import Path\n"
        "print(f.output_folder(None, {}).resolve(), f.checkpoint_folder(None, {}).resolve())\n"
        "print(f.shipped_folder(None, {}), f.shipped_folder(Path('own'), {}))"
    )
    here = tmp_path / "here"
    here.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=here,
        env={"PYTHONPATH": str(tmp_path / "site")},
    )
    shipped = tmp_path / "site" / "digitcnn" / "shipped"
    assert done.stdout.split() == [
        str(here / "outputs"),
        str(here / "checkpoints"),
        str(shipped),
        "None",
    ]


def test_without_a_home_folder_the_cache_is_in_the_current_one() -> None:
    def no_home(name: str) -> Path:
        raise RuntimeError("could not determine the home directory")

    assert cache_folder(no_home) == Path.cwd() / ".cache" / "digitcnn"
    assert cache_folder(lambda name: Path("~/.cache", name)) == Path.cwd() / ".cache" / "digitcnn"
    no_user = {"DIGITCNN_OUTPUT_DIR": "~no-such-user/x"}
    assert output_folder(None, no_user) == Path("~no-such-user/x")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may")
def test_commands_run_for_a_user_who_is_not_in_the_user_database() -> None:
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        here.chmod(0o777)
        settings: dict[str, Any] = {
            "cwd": here,
            "env": {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            "user": 54_321,
            "capture_output": True,
            "text": True,
            "timeout": 60,
        }
        try:
            subprocess.run([sys.executable, "-c", "import digitcnn"], check=True, **settings)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("that user may not read this checkout")
        listed = subprocess.run([sys.executable, "-m", "digitcnn", "data", "list"], **settings)
        assert (listed.returncode, listed.stderr) == (0, "")
        assert "synthetic" in listed.stdout


def test_train_uses_the_folders_that_the_variables_name(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIGITCNN_OUTPUT_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("DIGITCNN_CHECKPOINT_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("DIGITCNN_DATA", str(data_dir))
    options = ["--epochs", "1", "--train-images", "64", "--name", "mine", "--device", "cpu"]
    assert main(["train", "--digits", "small", "--no-viz", "--no-stability", *options]) == 0
    assert (tmp_path / "runs" / "mine").is_dir()
    assert (tmp_path / "models" / "mine.pt").is_file()
