"""Variables that Gradio must not see while it is imported and launched."""

from __future__ import annotations

import os

import pytest

from digitcnn.ui.environment import hidden_from_gradio

PROXIES = {
    "http_proxy": "http://proxy.example:8080",
    "ALL_PROXY": "socks://proxy.example:1080",
    "GRADIO_SERVER_PORT": "7000",
}


def test_proxies_and_addresses_are_hidden_and_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "here")
    for name, value in PROXIES.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with hidden_from_gradio():
        assert not set(PROXIES) & set(os.environ)
        assert os.environ["GRADIO_TEMP_DIR"] == "here"
    assert dict(os.environ) == before


def test_the_environment_is_restored_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:8080")
    with pytest.raises(ValueError, match="launch"), hidden_from_gradio():
        raise ValueError("launch")
    assert os.environ["https_proxy"] == "http://proxy.example:8080"
