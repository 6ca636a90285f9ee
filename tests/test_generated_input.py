"""Whatever is posted to the page, and whatever a file holds: one sentence, never a traceback.

Hypothesis generates a few inputs for each handler and reader here, 10,000 for each with
``-m long``. Only a DigitCNNError, a sentence for people, may come out.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from coroutines import run_async
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save as to_safetensors

from digitcnn.digits import image_files, sketch
from digitcnn.digits.idx import read_idx, write_idx
from digitcnn.digits.own_set import read_own_set
from digitcnn.errors import DigitCNNError
from digitcnn.network import checkpoint
from digitcnn.network.details import Details
from digitcnn.network.model import DigitCNN
from digitcnn.network.reader import InvalidCheckpoint
from digitcnn.ui.access import Access
from digitcnn.ui.address import FIRST_PORT, Address
from digitcnn.ui.invite import Invite
from digitcnn.ui.login import Logins
from digitcnn.ui.page import build_page
from digitcnn.workspace import Workspace

# The start of the page's sentence for an unforeseen error.
UNEXPECTED = "Something went wrong"
TOKEN = "the owner's very own token"
EXAMPLES = [5, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
# These download files, so only visitors call them here.
DOWNLOADS = {"download_mnist", "fetch_emnist"}


@cache
def generated(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Return up to ``count`` values of the strategy, the same ones every time."""
    values: list[Any] = []

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        values.append(value)

    collect()
    return values


def combinations(strategies: Sequence[st.SearchStrategy[Any]], count: int) -> Iterator[list[Any]]:
    """Yield ``count`` lists with a value of each strategy, combined at random.

    Generating values takes longer than most handlers do, so they are used more than once.
    """
    pools = [generated(strategy, count) for strategy in strategies]
    wild = random.Random(0)
    for _ in range(count):
        yield copy.deepcopy([wild.choice(pool) for pool in pools])


# --- The page --------------------------------------------------------------------------------

words = st.sampled_from(
    ["small", "digitcnn-mnist", "net", "train", "../../etc/passwd", "", "<b>x</b>", "\x00", "on"]
)
numbers = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(allow_nan=True, allow_infinity=True), st.booleans()
)
anything = st.recursive(
    st.one_of(st.none(), numbers, words, st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
places = st.floats(-2, 3, allow_nan=False)
strokes = st.lists(
    st.lists(st.lists(places, min_size=2, max_size=2), min_size=1, max_size=8), max_size=4
)
# What the page sends, or nearly: any part may be of any type or missing.
payloads = st.one_of(
    anything,
    st.fixed_dictionaries(
        {},
        optional={
            "model": st.one_of(words, anything),
            "strokes": st.one_of(strokes, anything),
            "width": st.one_of(places, anything),
            "picture": st.one_of(st.text(max_size=40), anything),
            "visitor": st.one_of(words, anything),
            "sketch": st.one_of(words, anything),
            "digit": st.one_of(st.integers(-1, 10), anything),
            "rival": st.one_of(st.integers(-1, 10), anything),
            "axis": st.one_of(st.integers(-1, 6), anything),
            "page": st.one_of(st.integers(-1, 3), anything),
            "id": st.one_of(st.integers(-1, 3), anything),
            "kind": st.one_of(st.sampled_from(["set", "list"]), anything),
            "whose": st.one_of(st.sampled_from(["mine", "everybody"]), anything),
            "right": st.one_of(st.sampled_from(["any", "right", "wrong"]), anything),
        },
    ),
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[gr.Blocks]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "checkpoints").mkdir()
    checkpoint.save(
        folder / "checkpoints" / "net.pt",
        DigitCNN(generator=torch.Generator().manual_seed(0)).eval(),
        Details(digits="small", epochs=1),
    )
    workspace = Workspace(
        data_dir,
        folder / "outputs",
        folder / "checkpoints",
        folder / "outputs" / "feedback.sqlite3",
        device="cpu",
    )

    async def built() -> gr.Blocks:  # Gradio takes the running loop, and would leave one open
        access = Access(TOKEN, local_is_owner=False, open_to_all=False)
        return build_page(workspace, access, Invite(Address("127.0.0.1", FIRST_PORT)))

    yield run_async(built())
    workspace.job.shutdown(5.0)


def with_request(handler: Callable[..., Any], values: list[Any]) -> list[Any]:
    """The arguments of a call: request and event, the last value, where they are asked for."""
    request = gr.Request(session_hash="somebody", headers={"host": "lab.example"})
    arguments = list(values)
    for place, parameter in enumerate(inspect.signature(handler).parameters.values()):
        if "Request" in str(parameter.annotation):
            arguments.insert(place, request)
        elif "EventData" in str(parameter.annotation):
            arguments.insert(place, gr.EventData(None, arguments.pop()))
    return arguments


def call_as_gradio(handler: Callable[..., Any], values: list[Any]) -> None:
    """Call a handler of the page as Gradio does; it may refuse in a foreseen sentence."""
    try:
        result = handler(*with_request(handler, values))
        if inspect.isgenerator(result):
            for _ in zip(range(20), result, strict=False):
                pass
            result.close()
    except gr.Error as error:
        refusal = str(error.message)
    else:
        return
    assert refusal, values
    assert UNEXPECTED not in refusal, values


OF_ONE_KIND: dict[type, st.SearchStrategy[Any]] = {
    gr.Textbox: st.one_of(st.none(), words, st.text(max_size=40)),
    gr.Number: st.one_of(st.none(), numbers),
    gr.Slider: numbers,
}
# Of an upload Gradio gives the path; the file may be gone by then.
UPLOADED = st.just("/nowhere/x.pt")
ONE_UPLOAD = st.one_of(st.none(), UPLOADED)
UPLOADS = st.one_of(st.none(), st.lists(UPLOADED, max_size=9))
OWNERS, STRANGERS = st.sampled_from(["", TOKEN]), st.sampled_from(["", "guess"])


def name_of(handler: Any) -> str:
    return str(getattr(handler, "func", handler).__name__)


def kinds_for(event: Any) -> list[st.SearchStrategy[Any]]:
    """Values of any kind for an event's inputs; of a visitor without a token and of the owner."""
    kinds: list[st.SearchStrategy[Any]] = []
    for part in event.inputs:
        if getattr(part, "elem_id", None) == "owner-token":
            kinds.append(STRANGERS if name_of(event.fn) in DOWNLOADS else OWNERS)
        elif isinstance(part, gr.File | gr.UploadButton):
            kinds.append(UPLOADS if part.file_count == "multiple" else ONE_UPLOAD)
        elif isinstance(part, gr.State):
            kinds.append(st.just(part.value))  # kept by the app, never sent by a page
        else:
            # Of some components Gradio itself lets one kind through, of the others anything.
            found = [kind for what, kind in OF_ONE_KIND.items() if isinstance(part, what)]
            kinds.append(found[0] if found else anything)
    if "EventData" in str(inspect.signature(event.fn)):
        kinds.append(anything)
    return kinds


@pytest.mark.parametrize("examples", EXAMPLES)
def test_every_event_of_the_page_accepts_any_input(page: gr.Blocks, examples: int) -> None:
    # Many controls start the same handler with the same inputs.
    events = {
        (event.fn, tuple(part._id for part in event.inputs)): event
        for event in page.fns.values()
        if callable(event.fn) and event.inputs
    }
    assert len(events) > 15
    assert {name_of(event.fn) for event in events.values()} >= DOWNLOADS
    for event in events.values():
        for values in combinations(kinds_for(event), examples):
            call_as_gradio(event.fn, values)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_every_function_of_pad_and_panels_replies_to_anything(
    page: gr.Blocks, examples: int
) -> None:
    functions = [function for part in page.blocks.values() for function in functions_of(part)]
    assert len(functions) >= 3
    for function in functions:
        for values in combinations([payloads], examples):
            reply = json.dumps(function(*with_request(function, values)))
            assert UNEXPECTED not in reply, (function.__name__, values)


def functions_of(part: Any) -> list[Callable[[Any], Any]]:
    return list(getattr(part, "server_fns", ()))


# --- Files -----------------------------------------------------------------------------------


def damaged(content: bytes, seed: int) -> bytes:
    """Bytes near ``content``: some changed, cut, put in or repeated."""
    wild, data = random.Random(seed), bytearray(content)
    for _ in range(wild.randint(1, 4)):
        place = wild.randrange(len(data) + 1)
        how = wild.randrange(4)
        if how == 0 and place < len(data):
            data[place] = wild.randrange(256)
        elif how == 1:
            del data[place : place + wild.choice((1, 7, 1000, len(data)))]
        elif how == 2:
            data[place:place] = wild.randbytes(wild.choice((1, 8, 100)))
        else:
            data[place:place] = data[: wild.choice((4, 64))]
    return bytes(data)


def _checkpoint() -> bytes:
    state = DigitCNN(generator=torch.Generator().manual_seed(0)).state_dict()
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def _safetensors() -> bytes:
    return bytes(to_safetensors(DigitCNN(generator=torch.Generator().manual_seed(0)).state_dict()))


def _picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((40, 30), 80).save(file, format=kind)
    return file.getvalue()


def _idx(folder: Path, suffix: str) -> bytes:
    path = folder / f"good-images-idx3-ubyte{suffix}"
    write_idx(path, torch.arange(784 * 3).remainder(256).to(torch.uint8).view(3, 28, 28))
    return path.read_bytes()


def _npz() -> bytes:
    file = io.BytesIO()
    images = np.arange(4 * 784).astype(np.uint8).reshape(4, 28, 28)
    np.savez(file, images=images, labels=np.arange(4))
    return file.getvalue()


@pytest.fixture
def readers(tmp_path: Path) -> dict[str, tuple[bytes, Callable[[bytes], Any]]]:
    """By name: a good file, and how its bytes are read."""

    def by_path(name: str, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
        def from_bytes(data: bytes) -> Any:
            path = tmp_path / name
            path.write_bytes(data)
            return read(path)

        return from_bytes

    def own(path: Path) -> Any:
        return read_own_set(path, name="mine", split="test", framing="none")

    return {
        "checkpoint": (_checkpoint(), lambda data: checkpoint.load(data, "a.pt")),
        "safetensors": (_safetensors(), lambda data: checkpoint.load(data, "a.safetensors")),
        **{
            kind: (_picture(kind), lambda data: sketch.from_image(image_files.open_image(data)))
            for kind in ("png", "jpeg", "gif", "bmp", "webp")
        },
        "idx": (
            _idx(tmp_path, ""),
            by_path("a-idx3-ubyte", lambda path: read_idx(path, dimensions=3)),
        ),
        "idx.gz": (
            _idx(tmp_path, ".gz"),
            by_path("a-idx3-ubyte.gz", lambda path: read_idx(path, dimensions=3)),
        ),
        "npz": (_npz(), by_path("a.npz", own)),
        "logins": (b"ann:secret-1\nbob:secret-2\n", by_path("auth", Logins.from_file)),
    }


@pytest.mark.parametrize("examples", EXAMPLES)
def test_every_reader_refuses_a_damaged_file_in_a_sentence(
    readers: dict[str, tuple[bytes, Callable[[bytes], Any]]], examples: int
) -> None:
    for name, (good, read) in readers.items():
        read(good)  # what is damaged below was whole
        for seed in range(examples):
            refuses_in_a_sentence(name, read, damaged(good, seed))
        for bad in generated(st.binary(max_size=300), examples):
            refuses_in_a_sentence(name, read, bad)


def refuses_in_a_sentence(name: str, read: Callable[[bytes], Any], bad: bytes) -> None:
    try:
        read(bad)
    except DigitCNNError as error:
        refusal = str(error)
    else:
        return  # it was damaged where nothing is lost, as in an image's pixels
    assert refusal, name
    assert "\n" not in refusal, name


@pytest.mark.parametrize("examples", EXAMPLES)
def test_details_of_a_checkpoint_may_say_anything(examples: int) -> None:
    plain = Details(digits="small", epochs=2, temperature=1.1).to_plain()

    keys = st.sampled_from([*plain, "another"])
    for key, value in generated(st.tuples(keys, anything), max(examples, 60)):
        with contextlib.suppress(InvalidCheckpoint):
            Details.read({**plain, key: value}).claim()
