"""digitcnn's page: ``python app.py``, then open the printed address."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

# Read by Gradio when it is imported: no request leaves the machine unasked.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# Gradio's page of past calls would keep drawings in everybody's browser.
os.environ["GRADIO_RUN_HISTORY"] = "False"
# Read by OpenMP when PyTorch is imported: threads that wait for each other soon sleep. By default
# they spin for milliseconds, and where a training ran on the same cores, an answer to a drawing was
# seen to take 50 ms of processor time instead of 2. A training alone is as fast with either.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

from digitcnn.errors import CheckpointError, ConfigError, DigitCNNError
from digitcnn.folders import checkpoint_folder, data_folder, feedback_place, output_folder
from digitcnn.heap import share_heaps
from digitcnn.options import DEVICES
from digitcnn.workspace import Workspace

if TYPE_CHECKING:
    from digitcnn.ui.login import Logins

# Ctrl-C and SIGTERM end the process within 5 s, whatever a batch or a connection still does.
SHUTDOWN_SECONDS = 3.5

# The first page comes first; whether the model can read drawings is looked at after it.
FIRST_LOOK_SECONDS = 1.0

# How often uploads and downloads that have lain for an hour are looked for.
SWEEP_SECONDS = 300.0

# Shorter secrets can be guessed through the link.
SHORTEST_TOKEN = 16

PUBLIC_VARIABLES = ("GRADIO_SERVER_NAME", "GRADIO_SHARE", "GRADIO_ROOT_PATH", "SPACE_ID")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see python app.py --help.\n")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = _Parser(description="digitcnn: a handwritten-digit lab in one page.")
    add = parser.add_argument
    add("--host", help="address to listen on (default: 127.0.0.1, this machine only)")
    add("--port", type=int, help="port to listen on (default: the first free one from 7860)")
    add("--share", action="store_true", help="make a public link through Gradio's tunnel")
    add("--open", action="store_true", help="everyone with the address is an owner")
    add("--root-path", help="path that a proxy in front of the app adds, such as /digitcnn")
    add("--auth-file", type=Path, help="file of name:password lines; asks everybody to log in")
    add("--data-dir", type=Path, help="folder of digit sets (default: DIGITCNN_DATA, else cache)")
    add("--output-dir", type=Path, help="folder of runs")
    add(
        "--checkpoint-dir",
        type=Path,
        help="folder of checkpoints",
    )
    add("--device", choices=DEVICES, default="auto", help="where to train")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    share_heaps()
    outputs = output_folder(args.output_dir)
    try:
        workspace = Workspace(
            data_folder(args.data_dir),
            outputs,
            checkpoint_folder(args.checkpoint_dir),
            feedback_place(outputs),
            args.device,
        )
        serve(args, workspace)
    except DigitCNNError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def serve(args: argparse.Namespace, workspace: Workspace) -> None:
    """Serve the page until a signal ends it. Raises ConfigError when it cannot be served."""
    # Before anything that takes seconds: what is wrong with the arguments is said at once.
    _check_address(args.host, args.port)
    token = _owner_token()

    from digitcnn.ui.access import Access
    from digitcnn.ui.page import build_page, launch_options
    from digitcnn.ui.page_files import PageFiles
    from digitcnn.ui.share_link import ShareLink

    logins = _logins(args.auth_file)

    # Gradio's own variables make the page reachable as the options do.
    share = args.share or os.environ.get("GRADIO_SHARE", "").lower() == "true"
    public = bool(
        share
        or args.host
        or args.root_path
        or any(os.environ.get(name) for name in PUBLIC_VARIABLES)
    )
    access = Access.from_settings(public=public, token=token, open_to_all=args.open)
    if workspace.compute.note:
        print(workspace.compute.note, file=sys.stderr)
    jobs = workspace.job, workspace.fine_tuning  # made here once, before many threads ask for them
    files = PageFiles.make()  # before any component is, for each takes its folder from it
    link: ShareLink | None = None
    page = build_page(workspace, access, lambda: link.line if link is not None else "")
    launched, ended = threading.Event(), threading.Event()

    def end(*_: object) -> None:
        if not launched.is_set():
            files.remove()
            os._exit(0)  # launch() would not listen, and there is nothing to keep yet
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        _, local_url, _ = page.launch(
            server_name=args.host,
            server_port=args.port,
            share=False,  # the link is made below: the app does not wait for it
            root_path=args.root_path,
            auth=logins.check if logins else None,
            prevent_thread_lock=True,
            quiet=True,
            **launch_options(page, files),
        )
    except (OSError, ValueError) as error:
        files.remove()
        raise ConfigError(
            f"The page cannot be served ({error}); choose another --port or --host."
        ) from error
    launched.set()
    say(f"digitcnn is at {local_url}")

    def tell_owner(share_url: str | None) -> None:
        if public and not args.open:
            say(f"The owner's address: {access.owner_link(share_url or local_url)}")

    if share:
        link = ShareLink(
            page.server_name,
            page.server_port,
            page.share_token,
            local_url=local_url,
            say=say,
            opened=tell_owner,
            now=datetime.now,
        )
    else:
        tell_owner(None)
    if not ended.wait(FIRST_LOOK_SECONDS):
        _check_drawings(workspace)
    while not ended.wait(SWEEP_SECONDS):
        files.sweep()
    print("Ending; a running training can be resumed.", file=sys.stderr, flush=True)
    for job in jobs:  # only one of them is at work
        job.shutdown(SHUTDOWN_SECONDS)
    if link is not None:
        link.close()
    files.remove()
    # Threads that still serve somebody would hold a normal exit.
    sys.stdout.flush()
    os._exit(0)


def _check_drawings(workspace: Workspace) -> None:
    """Warn on the terminal where the model that pages begin with cannot read drawings."""
    from digitcnn.ui.models import Models

    models = Models(workspace)
    try:
        warning = models.drawing_warning(models.default) if models.default else ""
    except CheckpointError as error:
        warning = str(error)
    if warning:
        print(warning, file=sys.stderr, flush=True)


def say(line: str) -> None:
    print(line, flush=True)


def _owner_token() -> str | None:
    """DIGITCNN_OWNER_TOKEN. Raises ConfigError for one that could be guessed."""
    token = os.environ.get("DIGITCNN_OWNER_TOKEN")
    if token and len(token) < SHORTEST_TOKEN:
        raise ConfigError(
            f"DIGITCNN_OWNER_TOKEN has {len(token)} characters; take at least {SHORTEST_TOKEN}, "
            "for whoever guesses it owns this lab."
        )
    return token


def _logins(file: Path | None) -> Logins | None:
    """Those of --auth-file, else of DIGITCNN_AUTH. Raises ConfigError where they are unusable."""
    from digitcnn.ui.login import Logins

    if file is not None:
        return Logins.from_file(file)
    text = os.environ.get("DIGITCNN_AUTH")
    return Logins.from_text(text, "DIGITCNN_AUTH") if text else None


def _check_address(host: str | None, port: int | None) -> None:
    """Raises ConfigError where nothing can listen; Gradio would try for minutes."""
    if port is not None and not 1 <= port <= 65535:
        raise ConfigError(f"The port is {port}; choose a --port from 1 to 65535.")
    address = (host or "127.0.0.1", port or 0)
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigError(
            f"Nothing can listen on {address[0]}, port {port or 'any'} ({error.strerror}); "
            "choose another --port or --host."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
