"""A visitor with the link, over plain HTTP: what can be run, and what can be read."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from page_over_http import PageOverHttp
from running_app import ROOT, App

from digitcnn.training.config import TrainingConfig
from digitcnn.training.runs import RunStore
from digitcnn.ui.request_guard import MAX_PENDING

# What a visitor's calls may write: feedback, and cached predictions.
MAY_CHANGE = ("outputs/feedback.sqlite3", "outputs/.predictions/", "app.log")

# These take the token because the owner gets more (a trial run, cached results, the link, a choice
# that others follow), or the visitor's id in its field.
ANSWER_ALL = (
    "estimate_time",
    "evaluate_steps",
    "show_link",
    "record_choice",
    "make_prediction",
    "own_prediction",
)

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
    runs.create(config, "planted").log("a line that is not for visitors")
    app = App(folder, data_dir, "--host", "127.0.0.1")
    yield app
    app.end()


def owner_token(app: App) -> str:
    line = next(line for line in app.output().splitlines() if "#owner=" in line)
    return line.partition("#owner=")[2]


def on_disk(*folders: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of all that a visitor may not change, by path."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            name = str(path.relative_to(folder))
            # An SQLite file has companions while it is written.
            if path.is_file() and not name.startswith(MAY_CHANGE):
                facts = path.stat()
                found[str(path)] = (facts.st_size, facts.st_mtime_ns)
    return found


def run_events(visitor: PageOverHttp, *, owners_only: bool = False) -> dict[str, str]:
    """Run every event of the page, hidden ones too; return the responses by name."""
    responses = {}
    # The sets that are chosen without it have 8,000 images.
    visitor.values[visitor.ids["evaluate-digits"]] = ["small"]
    for event in visitor.events():
        if owners_only and not visitor.is_for_owners(event):
            continue
        name = f"{event['id']} {event['api_name'] or ''} {event['targets']}"
        responses[name] = visitor.run(event)
        if visitor.is_for_owners(event) and not event["api_name"].startswith(ANSWER_ALL):
            assert responses[name].startswith("Only the owner"), name
    return responses


def run_everything(
    visitor: PageOverHttp, payloads: Sequence[Any] = PAYLOADS, *, owners_only: bool = False
) -> dict[str, str]:
    """Run every event and function of the page, hidden ones too; return the responses by name."""
    responses = run_events(visitor, owners_only=owners_only)
    for component, function in visitor.server_functions():
        for payload in payloads:
            reply = visitor.call(component, function, payload)
            assert isinstance(reply, (dict, list, str)), (function, payload)
            responses[f"{function} {payload}"] = str(reply)
    return responses


# A visitor may evaluate and measure, which takes a while.
OWNERS_ONLY = pytest.mark.parametrize(
    "owners_only",
    [True, pytest.param(False, marks=pytest.mark.long)],
    ids=["the owner's events", "all events"],
)


@OWNERS_ONLY
def test_visitors_change_nothing_but_feedback(
    shared: App, data_dir: Path, owners_only: bool
) -> None:
    before = on_disk(shared.folder, data_dir)
    assert any("planted" in name for name in before)
    for responses in (
        run_everything(PageOverHttp(shared.url), owners_only=owners_only),
        run_events(PageOverHttp(shared.url, "guess"), owners_only=True),
    ):
        broken = {name: text for name, text in responses.items() if "Something went wrong" in text}
        assert broken == {}
    assert on_disk(shared.folder, data_dir) == before
    assert "Traceback" not in shared.output()


@OWNERS_ONLY
def test_visitors_cannot_disturb_a_training(shared: App, owners_only: bool) -> None:
    owner = PageOverHttp(shared.url, owner_token(shared))
    run = f"beside-{owners_only}"
    for name, value in {
        "train-digits": ["small"],
        "train-epochs": 200,
        "train-name": run,
        "train-images": 32,
    }.items():
        owner.values[owner.ids[name]] = value
    assert owner.press("train-start") == ""

    def state() -> str:
        return RunStore(shared.folder / "outputs").open(run).record().state

    try:
        run_everything(PageOverHttp(shared.url), PAYLOADS[:1], owners_only=owners_only)
        assert state() == "running"
    finally:
        owner.press("train-stop")
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


def test_only_the_chosen_model_can_be_downloaded(shared: App, data_dir: Path) -> None:
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
def test_other_routes_of_gradio_are_closed(shared: App, path: str) -> None:
    assert status(f"{shared.url}{path}") in (403, 404)


def test_remote_files_are_not_fetched(shared: App) -> None:
    page = PageOverHttp(shared.url)
    event = next(event for event in page.events() if event["inputs"])
    file = {"path": "http://127.0.0.1:9/file", "meta": {"_type": "gradio.FileData"}}
    body = {"data": [file], "fn_index": event["id"], "session_hash": page.session}
    for path in ("/gradio_api/queue/join", "/gradio_api/run/predict"):
        assert "Links to remote files" in page.post(path, body)["detail"]


def test_a_local_path_is_not_accepted_as_an_upload(shared: App) -> None:
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


def test_a_dropped_file_is_checked_and_reported_to_its_page_only(shared: App) -> None:
    page, other = PageOverHttp(shared.url), PageOverHttp(shared.url)
    drop = page.ids["model-drop"]
    receive = next(event for event in page.events() if [drop, "upload"] in event["targets"])
    page.values[drop] = [page.upload("mine.pt", b"no checkpoint at all")]
    assert page.run(receive) == ""
    shown = page.values[page.ids["model-verdicts"]]
    assert "mine.pt" in shown
    assert 'class="bad"' in shown
    assert other.run(receive) == ""
    assert not other.values[other.ids["model-verdicts"]]


def test_one_page_cannot_fill_the_queue(shared: App) -> None:
    page, other = PageOverHttp(shared.url), PageOverHttp(shared.url)
    event = next(event for event in page.events() if page.is_for_owners(event))
    replies = [page.join(event) for _ in range(MAX_PENDING + 1)]
    assert all("event_id" in joined for joined in replies[:-1])
    assert "wait for them to finish" in replies[-1]["detail"]
    assert "event_id" in other.join(event)


def test_the_page_reveals_no_path(shared: App, data_dir: Path) -> None:
    page = PageOverHttp(shared.url)
    for path in ("/", "/config", "/gradio_api/info", "/gradio_api/openapi.json"):
        text = page.get(path).decode()
        for place in (shared.folder, data_dir, ROOT, Path.home()):
            assert f"{place}/" not in text, (path, place)


def test_a_large_body_is_rejected_before_it_is_sent(shared: App) -> None:
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
