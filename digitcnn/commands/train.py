"""``train``: train a network, one for each of several seeds, or resume a run.

With ``--seeds K`` above 1 the JSON is ``{"runs": [...], "mean": {SET: {..}}, "std": {SET: {..}}}``:
the runs each as a single one's object, and mean and sample standard deviation over the finished
ones of every metric in ``services.train.SUMMARISED``.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from digitcnn.commands.base import Result, catalog_of, download
from digitcnn.commands.progress import stopping_on_ctrl_c, watched
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.names import result_title
from digitcnn.digits.training_images import missing_sets, open_training_images
from digitcnn.errors import ConfigError, DownloadError
from digitcnn.folders import checkpoint_folder, output_folder
from digitcnn.network import device as devices
from digitcnn.options import MOST_SEEDS
from digitcnn.process import end_at_once
from digitcnn.services.train import Metrics, plan_runs, summarise_seeds, train
from digitcnn.terminal import log
from digitcnn.training import distributed
from digitcnn.training.background import StopSignal
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.distributed import Processes
from digitcnn.training.events import RunEnd
from digitcnn.training.job import resumable
from digitcnn.training.run import Run
from digitcnn.training.run_record import FINISHED
from digitcnn.training.runs import RunStore
from digitcnn.training.session import assist_training


def run(args: argparse.Namespace) -> Result:
    """Train one run, or several with --seeds; only the first of several processes returns."""
    with distributed.joined() as processes:
        if processes.first:
            return _train(args, processes)
        _assist(args, processes)
    end_at_once(0)  # the first process prints for all


def _assist(args: argparse.Namespace, processes: Processes) -> None:
    stop = StopSignal()
    with stopping_on_ctrl_c(stop, log=lambda text: None):
        device = processes.receive()
        if device is not None:
            compute = devices.choose(device)
            assist_training(processes, catalog=catalog_of(args), compute=compute, stop=stop)


def _train(args: argparse.Namespace, processes: Processes) -> Result:
    catalog = catalog_of(args)
    compute = processes.together(devices.choose(args.device))
    if compute.note:
        log(compute.note)
    runs = _plan(args, catalog)
    log(f"Training on {compute}.")
    processes.notify(compute.device.type)
    stop = StopSignal()
    events = train(
        runs,
        args.seeds,
        catalog=catalog,
        checkpoints=checkpoint_folder(args.checkpoint_dir),
        compute=compute,
        stop=stop,
        processes=processes,
    )
    ends = [view.ended for view in watched(events, stop) if view.ended is not None]
    processes.notify(None)
    complete = len(ends) == args.seeds and all(end.state == FINISHED for end in ends)
    status = 0 if complete else 130
    if args.seeds == 1:
        return _to_json(ends[0]), _run_text(ends[0]), status
    finished, mean, std = summarise_seeds(ends)
    result = {"runs": [_to_json(end) for end in ends], "mean": mean, "std": std}
    texts = [f"{end.run}: {_run_text(end)}" for end in ends]
    return result, "\n\n".join([*texts, _summary_text(finished, args.seeds, mean, std)]), status


def _plan(args: argparse.Namespace, catalog: Catalog) -> Iterable[Run]:
    """Return the runs, after checking all of them before the first starts."""
    store = RunStore(output_folder(args.output_dir))
    if args.resume is not None:
        if args.seeds != 1:
            raise ConfigError("A resumed run keeps its own seed; leave out --seeds or --resume.")
        # A path such as outputs/NAME is what a shell completes.
        path = Path(args.resume)
        if path.name != args.resume and path.parent.resolve() != store.folder.resolve():
            store = RunStore(path.parent)
        return [resumable(store, path.name)]
    if not 1 <= args.seeds <= MOST_SEEDS:
        raise ConfigError(
            f"--seeds is {args.seeds}; choose a number of runs from 1 to {MOST_SEEDS}."
        )
    config = TrainingConfig(
        digits="mnist" if args.digits is None else args.digits,
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        seed=args.seed,
        train_images=args.train_images,
        augmentation=args.augmentation == "on",
        dropout=args.dropout == "on",
        network=args.network,
    )
    post_training = PostTrainingConfig(
        figures=not args.no_viz,
        stability=not args.no_stability,
        passes=args.stability_passes,
    )
    config = _with_available_digits(config, catalog, named=args.digits is not None)
    open_training_images(catalog, config.digits, config.train_images)
    return plan_runs(
        store, config, args.name, args.seeds, saves=not args.no_save, post_training=post_training
    )


def _with_available_digits(
    config: TrainingConfig, catalog: Catalog, *, named: bool
) -> TrainingConfig:
    """Download the training sets that are missing; synthetic replaces one where that fails.

    named: whether the user named the sets, which then may not be replaced. Raises DigitSetError for
    a damaged set, which is never replaced.
    """
    try:
        for name in missing_sets(catalog, config.digits):
            download(catalog, name)
    except DownloadError as error:
        if named:
            raise
        log(f"{error} Training on synthetic digits instead.")
        return dataclasses.replace(config, digits="synthetic")
    return config


def _to_json(end: RunEnd) -> dict[str, Any]:
    return {
        "run": end.run,
        "checkpoint": None if end.checkpoint is None else str(end.checkpoint),
        "digest": end.digest,
        "epochs": end.epochs,
        "seconds": round(end.seconds, 3),
        "metrics": end.metrics,
    }


def _run_text(end: RunEnd) -> str:
    lines = [end.message]
    for name, metrics in end.metrics.items():
        low, high = metrics.get("accuracy_low"), metrics.get("accuracy_high")
        interval = "" if low is None else f" (95% interval {100 * low:.2f} to {100 * high:.2f})"
        lines.append(
            f"{result_title(name)}: {100 * metrics['accuracy']:.2f}%{interval}, n = {metrics['n']}"
        )
    lines += end.stability
    if end.checkpoint is not None:
        lines.append(f"checkpoint: {end.checkpoint}")
    return "\n".join(lines)


def _summary_text(count: int, planned: int, mean: Metrics, std: Metrics) -> str:
    if not count:
        return f"None of {planned} runs finished."
    seeds = f"{count} seeds" if count == planned else f"{count} of {planned} planned seeds"
    lines = [f"Accuracy, mean and standard deviation over {seeds}:"]
    for name in mean:
        deviation = std[name]["accuracy"]
        spread = "–" if math.isnan(deviation) else f"{100 * deviation:.2f} points"
        lines.append(f"{result_title(name)}: {100 * mean[name]['accuracy']:.2f}% ± {spread}")
    return "\n".join(lines)
