"""What digitcnn uses of Gradio beyond its documentation is there, and used in one module only."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import gradio as gr
import pytest
from coroutines import run_async
from gradio import networking, tunneling

import digitcnn.ui
from digitcnn.ui import gradio_private

UI = Path(digitcnn.ui.__file__).parent
MOVED = f"Gradio {gr.__version__} changed this; adapt digitcnn/ui/gradio_private.py."


def empty_page() -> gr.Blocks:
    """A page without anything; Gradio makes it an event loop unless there is one."""

    async def build() -> gr.Blocks:
        with gr.Blocks(analytics_enabled=False) as page:
            return page

    return run_async(build())


def test_a_page_counts_the_pending_calls_of_a_session() -> None:
    page = empty_page()
    assert hasattr(getattr(page, "_queue", None), "pending_event_ids_session"), MOVED
    assert gradio_private.pending_calls(page, "a session") == 0
    page._queue.pending_event_ids_session["a session"] = {"one", "two"}
    assert gradio_private.pending_calls(page, "a session") == 2


def test_a_page_limits_the_calls_that_wait() -> None:
    page = empty_page()
    assert hasattr(getattr(page, "_queue", None), "max_size"), MOVED
    gradio_private.limit_queue(page, 3)
    assert page._queue.max_size == 3


def test_an_event_carries_what_the_page_sent() -> None:
    sent = {"digit": 3}
    assert gradio_private.event_data(gr.EventData(None, sent)) == sent, MOVED
    assert gradio_private.event_data(gr.EventData(None, "text")) == {}


def test_a_page_has_the_secret_of_its_share_links() -> None:
    page = empty_page()
    assert len(gradio_private.share_secret(page)) >= 20, MOVED


def test_files_are_copied_where_they_may_be_downloaded(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"weights")
    for copy in (
        gradio_private.save_file_to_cache(tmp_path / "model.pt", str(tmp_path / "cache")),
        gradio_private.save_bytes_to_cache(b"weights", "run.json", str(tmp_path / "cache")),
    ):
        assert Path(copy).read_bytes() == b"weights", MOVED
        assert Path(copy).is_relative_to(tmp_path / "cache"), MOVED


def test_a_file_that_may_be_being_downloaded_is_not_written_again(tmp_path: Path) -> None:
    first = Path(gradio_private.save_bytes_to_cache(b"figure", "08.png", str(tmp_path)))
    assert list(first.parent.iterdir()) == [first], "its temporary file is left"
    first.write_bytes(b"untouched")
    assert gradio_private.save_bytes_to_cache(b"figure", "08.png", str(tmp_path)) == str(first)
    assert first.read_bytes() == b"untouched"


def test_the_share_server_is_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    assert networking.GRADIO_API_SERVER.startswith("https://"), MOVED
    assert hasattr(tunneling, "CERTIFICATE_PATH"), MOVED
    monkeypatch.setattr(networking, "GRADIO_SHARE_SERVER_ADDRESS", "share.example:7000")
    server = gradio_private.find_share_server(1.0)
    assert server == gradio_private.ShareServer("share.example", 7000, None)


def test_the_tunnel_calls_what_digitcnn_overrides() -> None:
    base = tunneling.Tunnel
    assert "self._start_tunnel(" in inspect.getsource(base.start_tunnel), MOVED
    assert "self._read_url_from_tunnel_stream(" in inspect.getsource(base._start_tunnel), MOVED
    assert gradio_private.SUCCESS.strip() in inspect.getsource(base), MOVED
    assert len(inspect.signature(base).parameters) == 6, MOVED


def test_other_modules_use_only_what_gradio_documents() -> None:
    modules = [path for path in sorted(UI.rglob("*.py")) if path.name != "gradio_private.py"]
    assert len(modules) > 20
    found = [
        f"{module.relative_to(UI)}, line {node.lineno}: {ast.unparse(node)}"
        for module in modules
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom | ast.Import | ast.Attribute) and is_private(node)
    ]
    assert found == []


def is_private(node: ast.ImportFrom | ast.Import | ast.Attribute) -> bool:
    """Whether this takes what Gradio, or anything else, keeps to itself."""
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").startswith("gradio")
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
        return any(name.startswith("gradio") and name != "gradio" for name in names)
    owner = node.value
    ours = isinstance(owner, ast.Name) and owner.id in ("self", "cls", "os", "super")
    return node.attr.startswith("_") and not node.attr.startswith("__") and not ours
