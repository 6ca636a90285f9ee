"""A stranger with the link, over plain HTTP: what may be run, and what may be read."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_over_http import PageOverHttp
from running_app import ROOT, App

from digitcnn.training.config import TrainingConfig
from digitcnn.training.runs import RunStore
from digitcnn.ui.front_door import MAX_WAITING

# What a visitor's calls may write: verdicts, and answers kept for the next time.
MAY_CHANGE = ("outputs/feedback.sqlite3", "outputs/.predictions/", "app.log")

# These take the token along because the owner gets more of an answer: a trial, results kept.
ANSWER_ALL = ("guess", "score", "tell_link")

STROKE = [[[0.5, 0.2], [0.5, 0.8]]]
PAYLOADS: list[Any] = [
    {
        "model": "digitcnn-mnist",
        "strokes": STROKE,
        "width": 0.06,
        "visitor": "stranger",
        "sketch": "one",
        "digit": 1,
    },
    {},
    None,
    [1],
    "x",
    {"visitor": "../../etc", "sketch": "x" * 999, "digit": "1"},
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("public")
    runs = RunStore(folder / "outputs")
    config = TrainingConfig(digits="small", epochs=1, train_images=32, augmentation=False)
    runs.create(config, "planted").log("a line that is no visitor's business")
    app = App(folder, data_dir, "--host", "127.0.0.1")
    yield app
    app.end()


def owner_token(app: App) -> str:
    line = next(line for line in app.output().splitlines() if "#owner=" in line)
    return line.partition("#owner=")[2]


def on_disk(*folders: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of all that a visitor may not change, by path."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            name = str(path.relative_to(folder))
            # An SQLite file has companions while it is written.
            if path.is_file() and not name.startswith(MAY_CHANGE):
                facts = path.stat()
                found[str(path)] = (facts.st_size, facts.st_mtime_ns)
    return found


def run_everything(stranger: PageOverHttp) -> dict[str, str]:
    """Every event and function of the page, hidden ones too; what was said, by the event."""
    said = {}
    for event in stranger.events():
        name = f"{event['id']} {event['api_name'] or ''} {event['targets']}"
        said[name] = stranger.run(event)
        if stranger.is_for_owners(event) and not event["api_name"].startswith(ANSWER_ALL):
            assert said[name].startswith("Only the owner"), name
    for component, function in stranger.server_functions():
        for payload in PAYLOADS:
            reply = stranger.call(component, function, payload)
            assert isinstance(reply, (dict, list, str)), (function, payload)
            said[f"{function} {payload}"] = str(reply)
    return said


def test_whatever_a_stranger_runs_changes_nothing_but_verdicts(shared: App, data_dir: Path) -> None:
    before = on_disk(shared.folder, data_dir)
    assert any("planted" in name for name in before)
    for token in ("", "guess"):
        said = run_everything(PageOverHttp(shared.url, token))
        broken = {name: text for name, text in said.items() if "Something went wrong" in text}
        assert broken == {}
        assert on_disk(shared.folder, data_dir) == before
    assert "Traceback" not in shared.output()


def test_whatever_a_stranger_runs_leaves_a_training_alone(shared: App) -> None:
    owner = PageOverHttp(shared.url, owner_token(shared))
    click = {tuple(target): event for event in owner.events() for target in event["targets"]}
    for name, value in {
        "train-digits": "small",
        "train-epochs": 200,
        "train-name": "the-owners",
        "train-images": 32,
    }.items():
        owner.values[owner.ids[name]] = value
    assert owner.run(click[owner.ids["train-start"], "click"]) == ""

    def state() -> str:
        return RunStore(shared.folder / "outputs").open("the-owners").record().state

    try:
        run_everything(PageOverHttp(shared.url))
        assert state() == "running"
    finally:
        owner.run(click[owner.ids["train-stop"], "click"])
    deadline = time.monotonic() + 30
    while state() == "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_the_chosen_model_can_be_downloaded_and_nothing_else_read(
    shared: App, data_dir: Path
) -> None:
    page = PageOverHttp(shared.url)
    download = page.ids["model-download"]
    offer = next(event for event in page.events() if event["outputs"] == [download])
    page.values[page.ids["model-select"]] = "digitcnn-mnist"
    assert page.run(offer) == ""
    offered = Path(page.values[download]["path"])
    shipped = ROOT / "checkpoints" / "digitcnn-mnist.pt"
    assert page.get(f"/gradio_api/file={offered}") == shipped.read_bytes()

    outputs = shared.folder / "outputs"
    (outputs / "feedback.sqlite3").touch()
    link = offered.with_name("link")
    link.symlink_to(outputs / "planted" / "run.json")
    checkpoints = shared.folder / "checkpoints"
    places = [
        outputs / "feedback.sqlite3",
        *(path for path in (outputs / "planted").iterdir() if path.is_file()),
        shared.folder / "app.log",
        checkpoints / "digitcnn-mnist.pt",
        checkpoints / "." / "digitcnn-mnist.pt",
        next((data_dir / "small").iterdir()),
        ROOT / "app.py",
        ROOT / "pyproject.toml",
        Path(json.__file__),
        Path("/etc/passwd"),
        Path.home() / ".profile",
        link,
        offered.parent,
        offered.parent.parent,
        Path(f"{offered.parent}/../../../etc/passwd"),
    ]
    for place in places:
        for way in (f"file={place}", f"file={urllib.parse.quote(str(place), safe='')}"):
            assert status(f"{shared.url}/gradio_api/{way}") == 403, place
        assert status(f"{shared.url}/gradio_api/file/{place}") == 404
    for way in ("static", "assets", "svelte"):
        assert status(f"{shared.url}/{way}/..%2f..%2f..%2f..%2f..%2fetc/passwd") in (403, 404)


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=http://127.0.0.1:9/",
        "/gradio_api/proxy=https://a.hf.space/",
        "/gradio_api/deep_link?session_hash=a",
        "/monitoring",
        "/monitoring/summary",
        "/gradio_api/vibe-code",
        "/dev/reload",
    ],
)
def test_nothing_is_fetched_written_or_told_on_the_side(shared: App, path: str) -> None:
    assert status(f"{shared.url}{path}") in (403, 404)


def test_an_event_fetches_no_file_from_elsewhere(shared: App) -> None:
    page = PageOverHttp(shared.url)
    event = next(event for event in page.events() if event["inputs"])
    file = {"path": "http://127.0.0.1:9/file", "meta": {"_type": "gradio.FileData"}}
    body = {"data": [file], "fn_index": event["id"], "session_hash": page.session}
    for path in ("/gradio_api/queue/join", "/gradio_api/run/predict"):
        assert "fetches no file" in page.post(path, body)["detail"]


def test_a_file_of_this_machine_is_no_upload(shared: App) -> None:
    page = PageOverHttp(shared.url)
    event = next(
        event
        for event in page.events()
        if any(page.parts[number]["type"] == "uploadbutton" for number in event["inputs"])
    )
    secret = shared.folder / "outputs" / "planted" / "run.json"
    for number in event["inputs"]:
        if page.parts[number]["type"] == "uploadbutton":
            file = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
            page.values[number] = [file]
    assert page.run(event) != ""


def test_a_dropped_file_reaches_the_gate_and_is_told_only_to_its_page(shared: App) -> None:
    page, other = PageOverHttp(shared.url), PageOverHttp(shared.url)
    drop = page.ids["model-drop"]
    receive = next(event for event in page.events() if [drop, "upload"] in event["targets"])
    page.values[drop] = [page.upload("mine.pt", b"no checkpoint at all")]
    assert page.run(receive) == ""
    told = page.values[page.ids["model-verdicts"]]
    assert "mine.pt" in told
    assert 'class="bad"' in told
    assert other.run(receive) == ""
    assert not other.values[other.ids["model-verdicts"]]


def test_one_page_cannot_fill_the_queue(shared: App) -> None:
    page, other = PageOverHttp(shared.url), PageOverHttp(shared.url)
    event = next(event for event in page.events() if page.is_for_owners(event))
    said = [page.join(event) for _ in range(MAX_WAITING + 1)]
    assert all("event_id" in joined for joined in said[:-1])
    assert "wait for its answers" in said[-1]["detail"]
    assert "event_id" in other.join(event)


def test_the_page_tells_no_place_on_this_machine(shared: App, data_dir: Path) -> None:
    page = PageOverHttp(shared.url)
    for path in ("/", "/config", "/gradio_api/info", "/gradio_api/openapi.json"):
        told = page.get(path).decode()
        for place in (shared.folder, data_dir, ROOT, Path.home()):
            assert f"{place}/" not in told, (path, place)


def test_a_large_body_is_refused_before_it_is_sent(shared: App) -> None:
    place = urllib.parse.urlsplit(shared.url).netloc
    for path, size, expected in (
        ("/gradio_api/queue/join", 9 << 20, 413),
        ("/gradio_api/component_server/", 9 << 20, 413),
        ("/gradio_api/upload", 1 << 40, 413),
        ("/login", 9 << 20, 413),
    ):
        connection = http.client.HTTPConnection(place, timeout=30)
        connection.putrequest("POST", path)
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        assert connection.getresponse().status == expected
        connection.close()
