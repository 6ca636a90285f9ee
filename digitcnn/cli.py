"""The command line: ``python -m digitcnn COMMAND``.

One JSON object on standard output with ``--json``, a short text without; progress and messages go
to standard error. Exits 0 on success, 2 on unusable input with one sentence, 130 on Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import NoReturn

from digitcnn.commands import compare, data, evaluate, export, figures, predict, stability, train
from digitcnn.commands.base import say
from digitcnn.errors import DigitCNNError
from digitcnn.files import without_nan

# In the order of --help.
COMMANDS = (train, evaluate, compare, stability, figures, predict, export, data)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = parser().parse_args(arguments)
    try:
        result, text, status = args.command(args)
    except DigitCNNError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("Interrupted.")
        return 130
    print(json.dumps(without_nan(result), allow_nan=False) if args.json else text)
    return int(status)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help.\n")


def parser() -> argparse.ArgumentParser:
    """All commands with their arguments."""
    whole = _Parser(
        prog="python -m digitcnn",
        description=sys.modules[__name__].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return whole
