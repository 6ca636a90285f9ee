"""A real browser and the real app, started as a person starts it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Error, expect, sync_playwright
from running_app import CHROMIUM_FLAGS, App, system_chromium

# Three workers on two cores, each with an app and a browser: a condition may take its time.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Chromium: the system's where there is one, else Playwright's own; skips without any.

    Opening the page in it costs 2.5 seconds of processor time, in a new context or not, and loading
    it again in an open tab half as much: let the tests of a module share a page.
    """
    with sync_playwright() as playwright:
        try:
            running = playwright.chromium.launch(
                executable_path=system_chromium(), args=CHROMIUM_FLAGS
            )
        except Error as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"no browser was found: {str(error).splitlines()[0]}")
        yield running
        running.close()


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[App]:
    """The app that the browser tests share."""
    running = App(tmp_path_factory.mktemp("app"), data_dir)
    yield running
    running.end()


@pytest.fixture
def own_app(tmp_path: Path, data_dir: Path) -> Iterator[App]:
    """An app for one test that ends it, or needs it as it was at the start."""
    running = App(tmp_path, data_dir)
    yield running
    running.end()
