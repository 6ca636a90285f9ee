"""The request guard in front of Gradio, and the page's folder of files."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from coroutines import run_async

from digitcnn.feedback.entry import MAX_STROKES_BYTES
from digitcnn.ui.page_files import LIFETIME_SECONDS, PageFiles
from digitcnn.ui.request_guard import (
    MAX_BODY_BYTES,
    MAX_PENDING,
    MAX_UPLOAD_BYTES,
    UPLOAD,
    RequestGuard,
)

JOIN = "/gradio_api/queue/join"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An app behind the guard: responds with the body that reached it."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def files(tmp_path: Path) -> PageFiles:
    folder = tmp_path / "page"
    (folder / "hash").mkdir(parents=True)
    (folder / "hash" / "offered.pt").write_bytes(b"offered")
    (tmp_path / "feedback.sqlite3").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "feedback.sqlite3")
    return PageFiles(folder)


def ask(
    files: PageFiles,
    method: str,
    path: str,
    *,
    root: str = "",
    pending: int = 0,
    **request: Any,
) -> httpx.Response:
    guard = RequestGuard(echo, files, lambda session: pending)

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(guard, root_path=root)
        async with httpx.AsyncClient(transport=transport, base_url="http://lab") as client:
            return await client.request(method, path, **request)

    return run_async(asked())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/config"),
        ("GET", "/assets/index.js"),
        ("GET", "/gradio_api/queue/data?session_hash=a"),
        ("GET", "/gradio_api/info"),
    ],
)
def test_routes_of_the_page_pass(files: PageFiles, method: str, path: str) -> None:
    assert ask(files, method, path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/monitoring"),
        ("GET", "/monitoring/summary"),
        ("GET", "/gradio_api/deep_link?session_hash=a"),
        ("GET", "/gradio_api/proxy=https://x.hf.space/"),
        ("GET", "/gradio_api/file/etc/passwd"),
        ("GET", "/gradio_api/custom_component/a/client/b/c"),
        ("GET", "/dev/reload"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/vibe-edit"),
        ("POST", "/gradio_api/stream/1"),
        ("POST", "/config"),
        ("PUT", "/"),
        ("DELETE", "/gradio_api/upload"),
    ],
)
def test_other_routes_do_not_exist(files: PageFiles, method: str, path: str) -> None:
    assert ask(files, method, path).status_code == 404


def test_a_proxy_may_strip_its_prefix_or_not(
    files: PageFiles,
) -> None:
    for path in ("/config", "/lab/config"):
        assert ask(files, "GET", path, root="/lab").status_code == 200
    assert ask(files, "GET", "/lab/monitoring", root="/lab").status_code == 404
    assert ask(files, "GET", "/labconfig", root="/lab").status_code == 404


def test_only_files_of_the_pages_folder_can_be_read(files: PageFiles) -> None:
    inside = files.folder / "hash" / "offered.pt"
    assert ask(files, "GET", f"/gradio_api/file={inside}").status_code == 200
    outside = files.folder.parent / "feedback.sqlite3"
    for path in (
        outside,
        files.folder / ".." / "feedback.sqlite3",
        files.folder / "link",
        files.folder,
        files.folder / "absent",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "..%2f..%2fetc/passwd",
        "http://127.0.0.1/",
        "https://example.org/",
        "file:///etc/passwd",
        "hash%00/offered.pt",
    ):
        assert ask(files, "GET", f"/gradio_api/file={path}").status_code == 403, path


def test_a_body_reaches_the_app_unchanged(files: PageFiles) -> None:
    body = json.dumps({"data": ["drawn", 1.5]}).encode()
    assert ask(files, "POST", JOIN, content=body).content == body


def test_a_large_body_is_rejected_with_or_without_its_length(files: PageFiles) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b" " * (MAX_BODY_BYTES // 8)

    assert ask(files, "POST", JOIN, content=b" " * (MAX_BODY_BYTES + 1)).status_code == 413
    assert ask(files, "POST", JOIN, content=parts()).status_code == 413
    assert ask(files, "POST", "/login", content=parts()).status_code == 413


def test_a_body_of_too_many_values_is_rejected_and_the_longest_sketch_passes(
    files: PageFiles,
) -> None:
    sketch = {"data": {"strokes": [[[0, 0]] * (MAX_STROKES_BYTES // 6)]}}
    assert ask(files, "POST", JOIN, json=sketch).status_code == 200
    for value in ("{},", "0,", "[],"):
        body = f"[{value * 400_000}0]".encode()
        assert len(body) < MAX_BODY_BYTES
        assert ask(files, "POST", JOIN, content=body).status_code == 413


def test_an_upload_must_announce_a_length_within_the_limit(
    files: PageFiles,
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"part"

    assert ask(files, "POST", UPLOAD, content=b"a file").content == b"a file"
    assert ask(files, "POST", UPLOAD, content=parts()).status_code == 411
    headers = {"Content-Length": str(MAX_UPLOAD_BYTES + 1)}
    assert ask(files, "POST", UPLOAD, content=b"", headers=headers).status_code == 413


def test_uploads_are_rejected_when_the_folder_is_full(files: PageFiles) -> None:
    with (files.folder / "sparse").open("wb") as file:
        file.truncate(2 << 30)  # no byte of it is on the disk
    assert ask(files, "POST", UPLOAD, content=b"one more").status_code == 507


@pytest.mark.parametrize("text", ["", "{", "[" * 200_000, "not json", "\ud800"])
def test_a_malformed_call_is_rejected(files: PageFiles, text: str) -> None:
    body = text.encode("utf-8", "surrogatepass")
    assert ask(files, "POST", JOIN, content=body).status_code == 400


@pytest.mark.parametrize("address", ["http://10.0.0.1/x", "HTTPS://example.org/", "ftp://x/y"])
def test_a_file_object_with_an_address_is_rejected(files: PageFiles, address: str) -> None:
    escaped = json.dumps(
        {"data": [{"a": [{"path": address, "meta": {"_type": "gradio.FileData"}}]}]}
    ).replace("path", "p\\u0061th")
    for route in (JOIN, "/gradio_api/run/predict", "/gradio_api/component_server/"):
        answer = ask(files, "POST", route, content=escaped.encode())
        assert answer.status_code == 400
        assert "upload the file" in answer.json()["detail"]


def test_a_page_with_many_pending_calls_is_rejected(files: PageFiles) -> None:
    body = {"data": [], "session_hash": "mine"}
    assert ask(files, "POST", JOIN, json=body, pending=MAX_PENDING - 1).status_code == 200
    assert ask(files, "POST", JOIN, json=body, pending=MAX_PENDING).status_code == 429


def test_files_are_deleted_after_an_hour(files: PageFiles) -> None:
    offered = files.folder / "hash" / "offered.pt"
    files.sweep(time.time() + LIFETIME_SECONDS - 60)
    assert offered.exists()
    files.sweep(time.time() + LIFETIME_SECONDS + 60)
    assert list(files.folder.iterdir()) == []
    assert (files.folder.parent / "feedback.sqlite3").read_bytes() == b"secret"


def test_every_process_has_its_own_folder_and_deletes_abandoned_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    abandoned = PageFiles.make().folder
    os.utime(abandoned, (0, 0))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    made = PageFiles.make()
    assert os.environ["GRADIO_TEMP_DIR"] == str(made.folder)
    assert list(tmp_path.iterdir()) == [made.folder]
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700
    made.remove()
    assert list(tmp_path.iterdir()) == []
