"""``python -m digitcnn COMMAND``, and the ``digitcnn`` script."""

from __future__ import annotations

import sys

from digitcnn import cli
from digitcnn.ui import launcher


def script() -> int:
    """Run ``digitcnn``: serve the page with the app's options, or run a COMMAND."""
    arguments = sys.argv[1:]
    if arguments and not arguments[0].startswith("-"):
        return cli.main(arguments, program="digitcnn")
    commands = "digitcnn COMMAND runs a command: train, evaluate, ...; see digitcnn train --help"
    return launcher.main(arguments, program="digitcnn", epilog=commands)


if __name__ == "__main__":
    sys.exit(cli.main())
