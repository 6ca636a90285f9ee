"""``python app.py``: invalid options, addresses, owner and visitors, shutdown."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from page_over_http import PageOverHttp
from running_app import NO_NETWORK, ROOT, App, serve
from warm_process import WarmProcess

from digitcnn.network.checkpoint import Details, save
from digitcnn.network.model import DigitCNN
from digitcnn.ui.address import lan_host

STARTING = "Starting digitcnn; its address follows in a few seconds.\n"
START = ["train-start", "train-stop", "train-resume", "train-fetch"]


def app_py(
    *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def test_a_port_in_use_gives_one_sentence(tmp_path: Path) -> None:
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


def startup_error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one sentence of an app that does not start; in this process, to save seconds."""
    specification = importlib.util.spec_from_file_location("app_script", ROOT / "app.py")
    assert specification is not None
    assert specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    try:
        status = script.main(list(arguments))
    except SystemExit as leaving:  # argparse exits like this
        status = leaving.code
    printed = capsys.readouterr()
    assert status == 2
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    return printed.err


@pytest.mark.parametrize("place", [["--port", "99999"], ["--host", "203.0.113.7"]])
def test_an_unavailable_address_gives_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: list[str]
) -> None:
    assert place[1] in startup_error(
        capsys, *place, "--output-dir", str(tmp_path), "--device", "cpu"
    )


@pytest.mark.parametrize("arguments", [["--port", "soon"], ["--device", "abacus"], ["--nonsense"]])
def test_unusable_arguments_give_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert arguments[-1] in startup_error(capsys, *arguments)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("DIGITCNN_OWNER_TOKEN", "secret", "6 characters"),
        ("DIGITCNN_AUTH", "nobody", "name:password"),
        ("GRADIO_SERVER_PORT", "abc", "GRADIO_SERVER_PORT is 'abc'"),
        ("GRADIO_NUM_PORTS", "-1", "GRADIO_NUM_PORTS is '-1'"),
        ("GRADIO_SERVER_NAME", "203.0.113.7", "203.0.113.7"),
    ],
)
def test_unusable_variables_give_one_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    problem: str,
) -> None:
    monkeypatch.setenv(name, value)
    assert problem in startup_error(capsys, "--output-dir", str(tmp_path), "--device", "cpu")


def test_an_error_of_gradio_at_import_gives_one_sentence(tmp_path: Path) -> None:
    folders = ["--output-dir", str(tmp_path), "--checkpoint-dir", str(tmp_path), "--device", "cpu"]
    done = app_py(*folders, environment={"GRADIO_NODE_NUM_PORTS": "abc", **NO_NETWORK})
    assert done.returncode == 2
    assert done.stdout == STARTING, "it is not printed before the imports"
    assert len(done.stderr.splitlines()) == 1
    assert "'abc'" in done.stderr


def test_an_error_of_gradio_at_launch_gives_one_sentence(tmp_path: Path) -> None:
    folders = ["--output-dir", str(tmp_path), "--checkpoint-dir", str(tmp_path), "--device", "cpu"]
    environment = {**os.environ, **NO_NETWORK, "GRADIO_DEBUG": "abc"}
    output, errors = tmp_path / "output", tmp_path / "errors"
    process = WarmProcess(
        serve, *folders, folder=tmp_path, environment=environment, output=output, errors=errors
    )
    assert process.wait(60) == 2
    assert output.read_text() == STARTING
    (line,) = errors.read_text().splitlines()
    assert "'abc'" in line


def fetch(request: urllib.request.Request) -> Any:
    return urllib.request.urlopen(request, timeout=30)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[App]:
    app = App(tmp_path_factory.mktemp("local"), data_dir)
    yield app
    app.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[App]:
    """An app for the network, whose only model was never trained."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "checkpoints").mkdir()
    untrained = DigitCNN(generator=torch.Generator().manual_seed(0)).eval()
    save(folder / "checkpoints" / "mine.pt", untrained, Details(digits="synthetic", seed=0))
    app = App(folder, data_dir, "--host", "0.0.0.0")
    yield app
    app.end()


def test_visitors_through_a_proxy_change_nothing(local: App) -> None:
    visitor = PageOverHttp(local.url, headers={"X-Forwarded-For": "203.0.113.9"})
    for element in START:
        assert visitor.press(element).startswith("Only the owner"), element


def test_the_printed_token_makes_the_owner(shared: App) -> None:
    line = next(line for line in shared.output().splitlines() if "#owner=" in line)
    token = line.partition("#owner=")[2]
    assert PageOverHttp(shared.url, token).press("train-stop") == "No training is running."


def test_no_token_is_printed_where_none_is_needed(local: App) -> None:
    assert "owner" not in local.output()
    assert PageOverHttp(local.url).press("train-stop") == "No training is running."


@pytest.mark.long
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks://127.0.0.1:9"])
def test_the_app_starts_behind_a_proxy(tmp_path: Path, data_dir: Path, proxy: str) -> None:
    app = App(
        tmp_path, data_dir, environment={"ALL_PROXY": proxy, "all_proxy": proxy}, new_process=True
    )
    try:
        with fetch(urllib.request.Request(f"{app.url}/config")) as answer:
            assert json.load(answer)["title"] == "digitcnn"
        assert "Traceback" not in app.output()
    finally:
        app.end()


def has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6_loopback(), reason="this machine has no IPv6")
@pytest.mark.parametrize(
    "host", ["[::1]", *(pytest.param(host, marks=pytest.mark.long) for host in ("::1", "::"))]
)
def test_the_app_serves_on_ipv6(tmp_path: Path, data_dir: Path, host: str) -> None:
    app = App(tmp_path, data_dir, "--host", host)
    port = urllib.parse.urlsplit(app.url).port
    try:
        with fetch(urllib.request.Request(f"http://[::1]:{port}/config")) as answer:
            assert json.load(answer)["title"] == "digitcnn"
        (line,) = [line for line in app.output().splitlines() if line.startswith("digitcnn is")]
        assert re.search(rf"at http://\[[0-9a-f:]+\]:{port}/$", line)
        assert f"{line.split(' at ')[1]}#owner=" in app.output()
    finally:
        app.end()


def test_an_app_for_the_network_prints_the_address_to_type_there(shared: App) -> None:
    url = f"http://{lan_host() or '127.0.0.1'}:{urllib.parse.urlsplit(shared.url).port}/"
    assert f"digitcnn is running at {url}\n" in shared.output()
    assert f"Owner link: {url}#owner=" in shared.output()
    assert "localhost" not in shared.output()


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_a_signal_stops_the_app_within_five_seconds(
    tmp_path: Path, data_dir: Path, number: signal.Signals
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    app = App(tmp_path, data_dir, environment={"GRADIO_TEMP_DIR": str(scratch)})
    assert list(scratch.glob("digitcnn-page-*")) != []
    signalled = time.monotonic()
    app.process.send_signal(number)
    assert app.process.wait(20) == 0
    assert time.monotonic() - signalled < 5
    assert "Traceback" not in app.output()
    assert list(scratch.glob("digitcnn-page-*")) == []  # uploads and copies are deleted
    app.end()


def test_a_model_that_misreads_sketches_causes_a_warning(shared: App) -> None:
    deadline = time.monotonic() + 30
    while "mine misreads" not in shared.output():
        assert time.monotonic() < deadline, shared.output()
        time.sleep(0.05)
    assert shared.output().count("built-in test sketches") == 1


def test_an_auth_file_makes_visitors_log_in(tmp_path: Path, data_dir: Path) -> None:
    names = tmp_path / "names"
    names.write_text("ada:lovelace\n")
    app = App(tmp_path, data_dir, "--auth-file", str(names))
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            fetch(urllib.request.Request(f"{app.url}/config"))
        assert refused.value.code == 401
        form = urllib.parse.urlencode({"username": "ada", "password": "lovelace"}).encode()
        with fetch(urllib.request.Request(f"{app.url}/login", form)) as entered:
            cookies = "; ".join(
                value.partition(";")[0] for value in entered.headers.get_all("Set-Cookie")
            )
        request = urllib.request.Request(f"{app.url}/config", headers={"Cookie": cookies})
        with fetch(request) as answer:
            assert json.load(answer)["title"] == "digitcnn"
        wrong = urllib.parse.urlencode({"username": "ada", "password": "byron"}).encode()
        with pytest.raises(urllib.error.HTTPError):
            fetch(urllib.request.Request(f"{app.url}/login", wrong))
    finally:
        app.end()
