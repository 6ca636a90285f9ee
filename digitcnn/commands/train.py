"""``train``: train a network, several of one configuration, or go on with a run.

With ``--seeds K`` above 1 the JSON is ``{"runs": [...], "mean": {SET: {..}}, "std": {SET: {..}}}``:
the runs each as a single one's object, and over the finished ones the mean and the sample standard
deviation of every number in SUMMARISED.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
import signal
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from digitcnn.commands.base import Answer, catalog_of, download, folder_option
from digitcnn.digits.catalog import Catalog
from digitcnn.errors import ConfigError, DownloadError, RunError
from digitcnn.folders import checkpoint_folder, output_folder
from digitcnn.network import device as devices
from digitcnn.options import MOST_SEEDS
from digitcnn.terminal import say
from digitcnn.training import distributed, runs
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.distributed import Processes
from digitcnn.training.events import EpochEnd, Phase, RunEnd, StepProgress
from digitcnn.training.job import resumable
from digitcnn.training.runs import Run, RunStore
from digitcnn.training.session import StopSignal, assist_training, open_training_set, run_training

SUMMARISED = ("accuracy", "nll", "ece", "brier", "macro_f1")

_Numbers = dict[str, dict[str, float]]


def run(args: argparse.Namespace) -> Answer:
    with distributed.joined() as processes:
        if processes.first:
            return _train_first(args, processes)
        _assist_training(args, processes)
    raise SystemExit(0)  # the first process speaks for all


def _assist_training(args: argparse.Namespace, processes: Processes) -> None:
    stop = StopSignal()
    with _stopping_on_ctrl_c(stop, tell=lambda text: None):
        device = processes.receive()
        if device is not None:
            compute = devices.choose(device)
            assist_training(processes, catalog=catalog_of(args), compute=compute, stop=stop)


def _train_first(args: argparse.Namespace, processes: Processes) -> Answer:
    catalog = catalog_of(args)
    compute = processes.together(devices.choose(args.device))
    if compute.note:
        say(compute.note)
    planned = _planned(args, catalog, RunStore(output_folder(folder_option(args, "output_dir"))))
    checkpoints = checkpoint_folder(folder_option(args, "checkpoint_dir"))
    say(f"Training on {compute}.")
    processes.notify(compute.device.type)
    stop = StopSignal()
    ends: list[RunEnd] = []
    with _stopping_on_ctrl_c(stop):
        for number, open_run in enumerate(planned, 1):
            if len(planned) > 1:
                say(f"Run {number} of {len(planned)}:")
            run = open_run()
            ends.append(_watch(run, catalog, checkpoints, compute, stop, processes))
            if stop.is_set():
                break
    processes.notify(None)
    whole = len(ends) == len(planned) and all(end.state == runs.FINISHED for end in ends)
    status = 0 if whole else 130
    if len(planned) == 1:
        return _to_json(ends[0]), _train_text(ends[0]), status
    mean, std = _over_seeds(ends)
    result = {"runs": [_to_json(end) for end in ends], "mean": mean, "std": std}
    texts = [f"{end.run}: {_train_text(end)}" for end in ends]
    return result, "\n\n".join([*texts, _seeds_text(ends, len(planned), mean, std)]), status


def _to_json(end: RunEnd) -> dict[str, Any]:
    return {
        "run": end.run,
        "checkpoint": None if end.checkpoint is None else str(end.checkpoint),
        "digest": end.digest,
        "epochs": end.epochs,
        "seconds": round(end.seconds, 3),
        "metrics": end.metrics,
    }


def _planned(
    args: argparse.Namespace, catalog: Catalog, store: RunStore
) -> list[Callable[[], Run]]:
    """What makes or opens each run. Whatever is wrong with any of them is said before the first
    begins; of several runs, a folder is made only for one that does begin."""
    count = args.seeds
    if not 1 <= count <= MOST_SEEDS:
        raise ConfigError(f"--seeds is {count}; choose a number of runs from 1 to {MOST_SEEDS}.")
    if hasattr(args, "resume"):
        if count > 1:
            raise ConfigError("A run is resumed with its own seed; leave out --seeds or --resume.")
        run = _resumed(args, store)
        return [lambda: run]
    config, closing = _configured(args, catalog)
    name = getattr(args, "name", None)
    saves = not args.no_save
    if count == 1:
        only = store.create(config, name, saves, closing)
        return [lambda: only]
    base = name or runs.default_name(config.digits, datetime.now(timezone.utc))
    configs = [dataclasses.replace(config, seed=config.seed + i) for i in range(count)]
    names = [f"{base}-seed{config.seed}" for config in configs]
    for each in names:
        store.check_new(each)
    return [
        partial(store.create, each, its_name, saves, closing)
        for each, its_name in zip(configs, names, strict=True)
    ]


def _over_seeds(ends: Sequence[RunEnd]) -> tuple[_Numbers, _Numbers]:
    """Mean and sample standard deviation of each number over the finished runs, by digit set.

    NaN where too few runs are finished. Sets that not every one of them was tested on are left
    out.
    """
    finished = [end.metrics for end in ends if end.state == runs.FINISHED]
    mean: _Numbers = {}
    std: _Numbers = {}
    for name in finished[0] if finished else ():
        if all(name in metrics for metrics in finished):
            columns = {key: [metrics[name].get(key) for metrics in finished] for key in SUMMARISED}
            # Undefined is None in these numbers, which are the JSON's.
            numbers = {
                key: [math.nan if value is None else float(value) for value in column]
                for key, column in columns.items()
            }
            mean[name] = {key: statistics.fmean(column) for key, column in numbers.items()}
            std[name] = {
                key: statistics.stdev(column) if len(column) > 1 else math.nan
                for key, column in numbers.items()
            }
    return mean, std


def _seeds_text(ends: Sequence[RunEnd], planned: int, mean: _Numbers, std: _Numbers) -> str:
    finished = sum(end.state == runs.FINISHED for end in ends)
    if not finished:
        return f"None of {planned} runs was finished."
    of = f"{finished} seeds" if finished == planned else f"{finished} of {planned} planned seeds"
    lines = [f"Accuracy, mean and standard deviation over {of}:"]
    for name, numbers in mean.items():
        deviation = std[name]["accuracy"]
        spread = "–" if math.isnan(deviation) else f"{100 * deviation:.2f} points"
        lines.append(f"{_set_title(name)}: {100 * numbers['accuracy']:.2f} % ± {spread}")
    return "\n".join(lines)


def _set_title(name: str) -> str:
    return "held-out images" if name == "held_out" else f"{name} test"


def _resumed(args: argparse.Namespace, store: RunStore) -> Run:
    # A path such as outputs/NAME is what a shell completes.
    path = Path(args.resume)
    if path.name != args.resume and path.parent.resolve() != store.folder.resolve():
        store = RunStore(path.parent)
    return resumable(store, path.name)


def _configured(
    args: argparse.Namespace, catalog: Catalog
) -> tuple[TrainingConfig, PostTrainingConfig]:
    """The configuration of the first run, whose digits are on this machine and can be read."""
    config = TrainingConfig(
        digits=getattr(args, "digits", "mnist"),
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        seed=args.seed,
        train_images=getattr(args, "train_images", None),
        augmentation=args.augmentation == "on",
    )
    closing = PostTrainingConfig(
        figures=not args.no_viz,
        stability=not args.no_stability,
        passes=getattr(args, "stability_passes", None),
    )
    # A damaged set is an error: other digits must not take its place unnoticed.
    if not catalog.check(config.digits, "train"):
        config = _with_fetched_digits(config, catalog, named=hasattr(args, "digits"))
    open_training_set(config, catalog)
    return config, closing


def _with_fetched_digits(config: TrainingConfig, catalog: Catalog, named: bool) -> TrainingConfig:
    """Fetch the training set; where nobody asked for it by name, fall back to synthetic digits."""
    try:
        download(catalog, config.digits)
    except DownloadError as error:
        if named:
            raise
        say(f"{error} Training on synthetic digits instead.")
        return TrainingConfig.from_json({**config.to_json(), "digits": "synthetic"})
    return config


@contextmanager
def _stopping_on_ctrl_c(stop: StopSignal, tell: Callable[[str], None] = say) -> Iterator[None]:
    """The first Ctrl-C ends the training between two batches, or what follows it; the second ends
    the process."""

    def handle(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        tell("Stopping; press Ctrl-C again to leave at once.")
        stop.stop()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _watch(
    run: Run,
    catalog: Catalog,
    folder: Path,
    compute: devices.Compute,
    stop: StopSignal,
    processes: Processes,
) -> RunEnd:
    said = ""
    with tqdm(unit="step", file=sys.stderr, disable=None, dynamic_ncols=True) as bar:
        for progress in run_training(
            run,
            catalog=catalog,
            checkpoints=folder,
            compute=compute,
            stop=stop,
            processes=processes,
        ):
            if isinstance(progress, StepProgress):
                bar.total = progress.steps
                bar.update(progress.step - bar.n)
                bar.set_description(f"epoch {progress.epoch}/{progress.epochs}")
                bar.set_postfix_str(
                    f"loss {progress.losses[-1]:.4f}, {progress.images_per_second:.0f} images/s"
                )
            elif isinstance(progress, EpochEnd):
                result = progress.result
                with bar.external_write_mode(file=sys.stderr):
                    say(
                        f"epoch {result.epoch}: loss {result.loss:.4f}, held-out accuracy "
                        f"{100 * result.accuracy:.2f} %, {result.seconds:.1f} s"
                    )
            elif isinstance(progress, Phase):
                bar.set_description(progress.text)
                # A line for each phase; how far it has come is left to the bar.
                phase = re.sub(r"\d[\d,]*", "", progress.text)
                if phase != said:
                    with bar.external_write_mode(file=sys.stderr):
                        say(f"{progress.text} ...")
                said = phase
            else:
                return progress
    raise RunError(f"The run '{run.name}' ended without a result.")


def _train_text(end: RunEnd) -> str:
    lines = [end.message]
    for name, metrics in end.metrics.items():
        low, high = metrics.get("accuracy_low"), metrics.get("accuracy_high")
        interval = "" if low is None else f" (95 % interval {100 * low:.2f} to {100 * high:.2f})"
        lines.append(
            f"{_set_title(name)}: {100 * metrics['accuracy']:.2f} %{interval}, n = {metrics['n']}"
        )
    lines += end.stability
    if end.checkpoint is not None:
        lines.append(f"checkpoint: {end.checkpoint}")
    return "\n".join(lines)
