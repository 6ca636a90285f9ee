"""``python app.py`` as it is started: what it refuses, who may train, how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from running_app import ROOT, App

START = ["train-start", "train-stop", "train-resume", "train-fetch"]


def app_py(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = app_py("--port", port, "--output-dir", str(tmp_path), "--device", "cpu")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert port in done.stderr
    assert "choose another --port" in done.stderr


@pytest.mark.parametrize("arguments", [["--port", "soon"], ["--device", "abacus"], ["--nonsense"]])
def test_unusable_arguments_are_one_sentence(arguments: list[str]) -> None:
    done = app_py(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert arguments[-1] in done.stderr


def handler(client: Client, element: str) -> tuple[int, list[Any]]:
    """The endpoint behind a button, and inputs as the page would send them."""
    ids = {
        component["props"].get("elem_id"): component["id"]
        for component in client.config["components"]
    }
    values = {
        component["id"]: component["props"].get("value")
        for component in client.config["components"]
    }
    for dependency in client.config["dependencies"]:
        if (ids[element], "click") in [tuple(target) for target in dependency["targets"]]:
            return dependency["id"], [values[number] for number in dependency["inputs"]]
    raise AssertionError(f"nothing happens on a click on {element}")


def press(url: str, element: str, token: str = "", headers: dict[str, str] | None = None) -> Any:
    client = Client(url, verbose=False, headers=headers or {})
    index, inputs = handler(client, element)
    return client.predict(token, *inputs[1:], fn_index=index)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[App]:
    app = App(tmp_path_factory.mktemp("local"), data_dir)
    yield app
    app.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[App]:
    app = App(tmp_path_factory.mktemp("shared"), data_dir, "--host", "127.0.0.1")
    yield app
    app.end()


@pytest.mark.parametrize("element", START)
def test_a_stranger_changes_nothing_on_a_shared_app(shared: App, element: str) -> None:
    for token in ("", "guess"):
        with pytest.raises(AppError, match="Only the owner"):
            press(shared.url, element, token)


@pytest.mark.parametrize("element", START)
def test_whoever_comes_through_a_proxy_changes_nothing(local: App, element: str) -> None:
    with pytest.raises(AppError, match="Only the owner"):
        press(local.url, element, headers={"X-Forwarded-For": "203.0.113.9"})


def test_the_printed_token_makes_the_owner(shared: App) -> None:
    line = next(line for line in shared.output().splitlines() if "#owner=" in line)
    token = line.partition("#owner=")[2]
    with pytest.raises(AppError, match="No training is running"):
        press(shared.url, "train-stop", token)


def test_no_token_is_printed_where_none_is_needed(local: App) -> None:
    assert "owner" not in local.output()
    with pytest.raises(AppError, match="No training is running"):
        press(local.url, "train-stop")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_app_within_five_seconds(
    tmp_path: Path, data_dir: Path, number: signal.Signals
) -> None:
    app = App(tmp_path, data_dir)
    asked = time.monotonic()
    app.process.send_signal(number)
    assert app.process.wait(20) == 0
    assert time.monotonic() - asked < 5
    assert "Traceback" not in app.output()
