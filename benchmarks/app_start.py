"""How soon the app answers, and what it holds in memory, against ``import torch, gradio`` alone.

    python -m benchmarks.app_start [--rounds N]

First how soon help and ``data list`` answer, which import none of the two: 0.3 s is the goal.

From the start of ``python app.py`` to the first digit read over HTTP, files warm; peak memory of
the process (VmHWM, so on Linux only) idle, and after a short training with its progress asked for
once a second, as a page does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.measuring import conditions, in_turn, seconds
from benchmarks.running_app import RunningApp
from digitcnn.digits.catalog import Catalog
from digitcnn.folders import PACKAGE, data_folder

BARE = "import torch, gradio"
# Peak memory of the process itself, after the imports.
PEAK = "print(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])"


def first_answer(folder: Path) -> None:
    with RunningApp(folder) as app:
        app.answer()


def bare() -> None:
    subprocess.run([sys.executable, "-c", BARE], check=True)


def command(*arguments: str) -> Callable[[], object]:
    """Return what runs ``python ARGUMENTS`` to its end."""
    line = [sys.executable, *arguments]
    return lambda: subprocess.run(line, check=True, stdout=subprocess.DEVNULL)


def print_command_times(rounds: int) -> None:
    """Print how soon commands answer that import nothing heavy."""
    app = str(PACKAGE.parent / "app.py")
    commands = {
        "app.py --help": command(app, "--help"),
        "digitcnn train --help": command("-m", "digitcnn", "train", "--help"),
        "digitcnn data list": command("-m", "digitcnn", "data", "list"),
    }
    times = in_turn({name: partial(seconds, run) for name, run in commands.items()}, rounds)
    print(f"{rounds} rounds, median\n\n| command | seconds |\n|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {taken:.2f} |")
    print()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(arguments)
    print(conditions())
    print_command_times(args.rounds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first_answer(folder)  # warms the files
        times = in_turn(
            {"bare": lambda: seconds(bare), "app": lambda: seconds(lambda: first_answer(folder))},
            args.rounds,
        )
        print(f"{args.rounds} rounds, median\n\n| what | seconds | times the imports alone |")
        print(f"|---|---|---|\n| {BARE} | {times['bare']:.2f} | 1.00 |")
        ratio = times["app"] / times["bare"]
        print(f"| from app.py to the first answer | {times['app']:.2f} | {ratio:.2f} |\n")
        done = subprocess.run(
            [sys.executable, "-c", f"{BARE}; {PEAK}"], check=True, capture_output=True, text=True
        )
        base = int(done.stdout) / 1024
        print("| peak memory | MB | above the imports alone |\n|---|---|---|")
        print(f"| {BARE} | {base:.0f} | |")
        with RunningApp(folder) as app:
            app.answer()
            print(f"| idle, after an answer | {app.peak_megabytes():.0f} | "
                  f"{app.peak_megabytes() - base:+.0f} |")  # fmt: skip
            digits = "mnist" if Catalog(data_folder(None)).has("mnist", "train") else "synthetic"
            app.start_training(digits, images=20_000, epochs=1)
            while (state := app.training_state()) in ("running", "interrupted"):
                time.sleep(1)
                app.answer()
            print(f"| after training on {digits}, {state} | {app.peak_megabytes():.0f} | "
                  f"{app.peak_megabytes() - base:+.0f} |")  # fmt: skip


if __name__ == "__main__":
    main()
