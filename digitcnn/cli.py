"""The command line: ``python -m digitcnn COMMAND``.

Results go to standard output (one JSON object with --json), progress and messages to standard
error. Exit codes: 0 success, 2 invalid input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence

from digitcnn import terminal
from digitcnn.commands.arguments import add_commands
from digitcnn.errors import DigitCNNError
from digitcnn.files import without_nan
from digitcnn.process import end_at_once, share_cores, started_by_torchrun

PROGRAM = "python -m digitcnn"


def main(arguments: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run one command; return the exit status. program: what was typed to run it."""
    status = terminal.run(lambda: _main(parser(program).parse_args(arguments)))
    if started_by_torchrun():
        end_at_once(status)
    return status


def _main(args: argparse.Namespace) -> int:
    share_cores()
    try:
        command = importlib.import_module(f"digitcnn.commands.{args.module}")
        result, text, status = command.run(args)
    except DigitCNNError as error:
        terminal.log(str(error))
        return 2
    except KeyboardInterrupt:
        terminal.log("Interrupted.")
        return 130
    print(json.dumps(without_nan(result), allow_nan=False) if args.json else text)
    return int(status)


def parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """Return the parser of all commands with their arguments."""
    parser = terminal.Parser(
        prog=program,
        description=sys.modules[__name__].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_commands(parser.add_subparsers(metavar="COMMAND", required=True))
    return parser
