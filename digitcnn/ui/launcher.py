"""The command that serves the page: its options, and early checks of them.

Nothing heavy is imported here; the page itself is built in ``serve``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from digitcnn import terminal
from digitcnn.errors import ConfigError, DigitCNNError
from digitcnn.folders import (
    checkpoint_folder,
    data_folder,
    feedback_place,
    output_folder,
    shipped_folder,
)
from digitcnn.options import DEVICES
from digitcnn.process import share_heaps
from digitcnn.ui.address import choose_address
from digitcnn.ui.environment import hidden_from_gradio, prepare_libraries
from digitcnn.ui.login import Logins

# Shorter secrets can be guessed through the link.
SHORTEST_TOKEN = 16


def parser(program: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the app's options; arguments as ``main``."""
    parser = terminal.Parser(
        prog=program, description="digitcnn: a handwritten-digit lab in one page.", epilog=epilog
    )
    add = parser.add_argument
    add("--host", help="address to listen on (default: 127.0.0.1, this machine only)")
    add("--port", type=int, help="port to listen on (default: the first free one from 7860)")
    add("--share", action="store_true", help="create a public link through Gradio's tunnel")
    add("--open", action="store_true", help="make everyone with the address an owner")
    add("--root-path", help="path prefix added by a reverse proxy, such as /digitcnn")
    add("--auth-file", type=Path, help="file of name:password lines; visitors must log in")
    add(
        "--data-dir",
        type=Path,
        help="digit-set folder (default: DIGITCNN_DATA, else the cache folder)",
    )
    add(
        "--output-dir",
        type=Path,
        help="folder of runs and feedback (default: DIGITCNN_OUTPUT_DIR, else outputs)",
    )
    add(
        "--checkpoint-dir",
        type=Path,
        help="checkpoint folder (default: DIGITCNN_CHECKPOINT_DIR, else checkpoints)",
    )
    add("--device", choices=DEVICES, default="auto", help="where to train")
    return parser


def main(
    arguments: Sequence[str] | None = None,
    program: str = "python app.py",
    epilog: str | None = None,
) -> int:
    """Serve the page until a signal ends it; return the exit status.

    program: what was typed to run it. epilog: the last line of its help.
    """
    return terminal.run(lambda: _main(parser(program, epilog).parse_args(arguments)))


def _main(args: argparse.Namespace) -> int:
    try:
        _serve(args)
    except DigitCNNError as error:
        terminal.log(str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _serve(args: argparse.Namespace) -> None:
    # Before anything that takes seconds, so that errors in the arguments are shown at once.
    address = choose_address(args.host, args.port)
    token = _owner_token()
    logins = _logins(args.auth_file)
    # The imports take seconds, on a busy machine half a minute.
    terminal.announce("Starting digitcnn; its address follows in a few seconds.")
    share_heaps()
    prepare_libraries()
    try:
        with hidden_from_gradio():
            from digitcnn.ui import serve
            from digitcnn.workspace import Workspace
    except ValueError as error:  # another of Gradio's variables is not a number
        raise ConfigError(f"Gradio cannot start ({error}); check its variables.") from error
    outputs = output_folder(args.output_dir)
    workspace = Workspace(
        data_folder(args.data_dir),
        outputs,
        checkpoint_folder(args.checkpoint_dir),
        feedback_place(outputs),
        args.device,
        shipped=shipped_folder(args.checkpoint_dir),
    )
    settings = serve.Settings(
        address=address,
        named_host=bool(args.host),
        share=args.share,
        root_path=args.root_path,
        open_to_all=args.open,
        token=token,
        logins=logins,
    )
    serve.serve(settings, workspace)


def _owner_token() -> str | None:
    """Return DIGITCNN_OWNER_TOKEN. Raises ConfigError for one that could be guessed."""
    token = os.environ.get("DIGITCNN_OWNER_TOKEN")
    if token and len(token) < SHORTEST_TOKEN:
        raise ConfigError(
            f"DIGITCNN_OWNER_TOKEN has {len(token)} characters; use at least {SHORTEST_TOKEN}, "
            "because whoever guesses it becomes the owner."
        )
    return token


def _logins(file: Path | None) -> Logins | None:
    """Return the logins of --auth-file, else of DIGITCNN_AUTH.

    Raises ConfigError where they are unusable.
    """
    if file is not None:
        return Logins.from_file(file)
    text = os.environ.get("DIGITCNN_AUTH")
    return Logins.from_text(text, "DIGITCNN_AUTH") if text else None
