"""Serve the page: launch it, print its addresses, and shut down on a signal."""

from __future__ import annotations

import gc
import os
import signal
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

import gradio as gr

from digitcnn import terminal
from digitcnn.errors import CheckpointError, ConfigError
from digitcnn.process import release_freed_memory
from digitcnn.ui.access import Access
from digitcnn.ui.address import Address
from digitcnn.ui.environment import PUBLIC_VARIABLES, hidden_from_gradio
from digitcnn.ui.gradio_private import share_secret
from digitcnn.ui.invite import Invite
from digitcnn.ui.login import Logins
from digitcnn.ui.models import Models
from digitcnn.ui.page import build_page, launch_options
from digitcnn.ui.page_files import PageFiles
from digitcnn.ui.share_link import ShareLink
from digitcnn.workspace import Workspace

# Ctrl-C and SIGTERM end the process within 5 s, even during a batch or with open connections.
SHUTDOWN_SECONDS = 3.5

# The first page is served first; then the model is checked on sketches.
FIRST_CHECK_SECONDS = 1.0

# Seconds between deletions of old uploads and downloads, and releases of freed memory.
SWEEP_SECONDS = 300.0


@dataclass(frozen=True)
class Settings:
    """How the app was started.

    named_host: whether --host was given. token: the owner's, None for a new one. logins: None for
    access without login.
    """

    address: Address
    named_host: bool
    share: bool
    root_path: str | None
    open_to_all: bool
    token: str | None
    logins: Logins | None

    @property
    def shares(self) -> bool:
        """Whether a public link is requested, by the option or by Gradio's variable."""
        return self.share or os.environ.get("GRADIO_SHARE", "").lower() == "true"

    @property
    def public(self) -> bool:
        """Whether others may reach the page."""
        variables = any(os.environ.get(name) for name in PUBLIC_VARIABLES)
        return bool(self.shares or self.named_host or self.root_path or variables)


def serve(settings: Settings, workspace: Workspace) -> NoReturn:
    """Serve the page until a signal ends the process. Raises ConfigError when it cannot."""
    access = Access.from_settings(
        public=settings.public, token=settings.token, open_to_all=settings.open_to_all
    )
    if workspace.compute.note:
        terminal.log(workspace.compute.note)
    # Created here, before many threads use them.
    jobs = workspace.job, workspace.fine_tuning, workspace.experiment_job
    files = PageFiles.make()  # before any component, which reads the folder from a variable
    link = ShareLink(settings.address, log=terminal.announce, now=datetime.now)
    invite = Invite(
        settings.address,
        link if settings.shares else None,
        with_login=settings.logins is not None,
        open_to_all=settings.open_to_all,
    )
    page = build_page(workspace, access, invite)
    ended = _launch(page, settings, files)

    def print_owner_link(url: str | None) -> None:
        if settings.public and not settings.open_to_all:
            owner_link = access.owner_link(url or settings.address.url)
            terminal.announce(f"Owner link: {owner_link}")

    # What exists now is never freed. Ignoring it makes full garbage collections shorter and more
    # frequent, so fewer states of closed pages wait for one.
    gc.freeze()
    terminal.announce(f"digitcnn is running at {settings.address.url}")
    if settings.shares:
        link.open(share_secret(page), opened=print_owner_link)
    else:
        print_owner_link(None)
    if not ended.wait(FIRST_CHECK_SECONDS):
        _check_sketches(workspace)
    while not ended.wait(SWEEP_SECONDS):
        files.sweep()
        release_freed_memory()
    terminal.log("Shutting down; an unfinished run can be resumed.")
    for job in jobs:  # at most one of them is running
        job.shutdown(SHUTDOWN_SECONDS)
    link.close()
    files.remove()
    os._exit(0)  # threads that still serve a request would delay a normal exit


def _launch(page: gr.Blocks, settings: Settings, files: PageFiles) -> threading.Event:
    """Launch the page; return the event that a signal sets.

    Raises ConfigError where it cannot be served.
    """
    launched, ended = threading.Event(), threading.Event()

    def end(*_: object) -> None:
        if not launched.is_set():
            files.remove()
            os._exit(0)  # launch() ignores the signal, and there is nothing to save yet
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        with hidden_from_gradio():
            page.launch(
                server_name=settings.address.url_host,
                server_port=settings.address.port,
                share=False,  # the link is opened later: the app does not wait for it
                root_path=settings.root_path,
                # Gradio awaits it, though its types do not say so.
                auth=settings.logins.check if settings.logins else None,  # type: ignore[arg-type]
                auth_message="digitcnn: log in with the name and password that you were given.",
                prevent_thread_lock=True,
                quiet=True,
                **launch_options(page, files),
            )
    except Exception as error:  # Gradio raises many kinds, bare Exception among them
        files.remove()
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"Cannot serve the page ({reason:.300}); choose another --port or --host."
        ) from error
    launched.set()
    return ended


def _check_sketches(workspace: Workspace) -> None:
    """Warn on the terminal if the default model cannot read sketches."""
    models = Models(workspace)
    try:
        warning = models.drawing_warning(models.default) if models.default else ""
    except CheckpointError as error:
        warning = str(error)
    if warning:
        terminal.log(warning)
