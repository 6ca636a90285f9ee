"""``train``: train a network, or go on with a run."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from digitcnn.analysis.stability import MOST_PASSES
from digitcnn.commands.base import Answer, add_command, catalog_of, download, say
from digitcnn.digits.catalog import Catalog
from digitcnn.errors import DownloadError, RunError
from digitcnn.network import device as devices
from digitcnn.training import runs
from digitcnn.training.config import Closing, TrainingConfig
from digitcnn.training.job import resumable
from digitcnn.training.loop import EpochEnd, StepProgress
from digitcnn.training.perform import Phase, RunEnd, StopSignal, open_training_set, perform
from digitcnn.training.runs import Run, RunStore


def add(commands: Any) -> None:
    recipe = TrainingConfig()
    parser = add_command(
        commands,
        "train",
        _train,
        help="train a network",
        description="Train a network. The defaults are the default recipe.",
    )
    option = parser.add_argument
    option("--epochs", type=int, default=recipe.epochs, help="passes over the training images")
    option("--batch-size", type=int, default=recipe.batch_size, help="images per step")
    option(
        "--learning-rate",
        type=float,
        default=recipe.learning_rate,
        help="peak of the one-cycle schedule",
    )
    option(
        "--digits",
        default=argparse.SUPPRESS,
        help="digit set to learn from (default: mnist, fetched where it is not on this machine; "
        "synthetic where it cannot be fetched)",
    )
    option("--seed", type=int, default=recipe.seed, help="of weights, order, dropout, augmentation")
    option("--name", default=argparse.SUPPRESS, help="of run and checkpoint (default: set, time)")
    option("--output-dir", type=Path, default=Path("outputs"), help="folder of runs")
    option("--checkpoint-dir", type=Path, default=Path("checkpoints"), help="folder of checkpoints")
    option("--no-save", action="store_true", help="write neither checkpoint nor resume state")
    option("--no-viz", action="store_true", help="draw no figures at the end")
    option(
        "--no-stability",
        action="store_true",
        help="make no passes with dropout at the end, and no figure of them",
    )
    option(
        "--stability-passes",
        type=int,
        default=argparse.SUPPRESS,
        help=f"passes of each kind, 1 to {MOST_PASSES} (default: as many as epochs)",
    )
    option(
        "--augmentation",
        choices=("on", "off"),
        default="on" if recipe.augmentation else "off",
        help="change each batch at random",
    )
    option(
        "--train-images",
        type=int,
        default=argparse.SUPPRESS,
        help="learn from only so many images (default: all that are not held out)",
    )
    option(
        "--resume",
        metavar="RUN",
        default=argparse.SUPPRESS,
        help="go on with a run after its last finished epoch, with that run's settings",
    )


def _train(args: argparse.Namespace) -> Answer:
    catalog = catalog_of(args)
    compute = devices.choose(args.device)
    if compute.note:
        say(compute.note)
    run = _opened_run(args, catalog, RunStore(args.output_dir))
    say(f"Training on {compute}.")
    stop = StopSignal()
    with _stopping_on_ctrl_c(stop):
        end = _watch(run, catalog, args.checkpoint_dir, compute, stop)
    result = {
        "run": end.run,
        "checkpoint": None if end.checkpoint is None else str(end.checkpoint),
        "digest": end.digest,
        "epochs": end.epochs,
        "seconds": round(end.seconds, 3),
        "metrics": end.metrics,
    }
    return result, _train_text(end), 0 if end.state == runs.FINISHED else 130


def _opened_run(args: argparse.Namespace, catalog: Catalog, store: RunStore) -> Run:
    if hasattr(args, "resume"):
        # A path such as outputs/NAME is what a shell completes.
        path = Path(args.resume)
        if path.name != args.resume and path.parent.resolve() != store.folder.resolve():
            store = RunStore(path.parent)
        return resumable(store, path.name)
    config = TrainingConfig(
        digits=getattr(args, "digits", "mnist"),
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        seed=args.seed,
        train_images=getattr(args, "train_images", None),
        augmentation=args.augmentation == "on",
    )
    closing = Closing(
        figures=not args.no_viz,
        stability=not args.no_stability,
        passes=getattr(args, "stability_passes", None),
    )
    if not catalog.has(config.digits, "train"):
        config = _with_fetched_digits(config, catalog, named=hasattr(args, "digits"))
    # Whatever is wrong with the images is said before a folder is made for the run.
    open_training_set(config, catalog)
    return store.create(config, getattr(args, "name", None), not args.no_save, closing)


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
def _stopping_on_ctrl_c(stop: StopSignal) -> Iterator[None]:
    """The first Ctrl-C ends the training between two batches, or what follows it; the second ends
    the process."""

    def handle(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        say("Stopping; press Ctrl-C again to leave at once.")
        stop.stop()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _watch(
    run: Run, catalog: Catalog, folder: Path, compute: devices.Compute, stop: StopSignal
) -> RunEnd:
    with tqdm(unit="step", file=sys.stderr, disable=None, dynamic_ncols=True) as bar:
        for progress in perform(
            run, catalog=catalog, checkpoints=folder, compute=compute, stop=stop
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
                with bar.external_write_mode(file=sys.stderr):
                    say(f"{progress.text} ...")
            else:
                return progress
    raise RunError(f"The run '{run.name}' ended without a result.")


def _train_text(end: RunEnd) -> str:
    lines = [end.message]
    for name, metrics in end.metrics.items():
        low, high = metrics.get("accuracy_low"), metrics.get("accuracy_high")
        interval = "" if low is None else f" (95 % interval {100 * low:.2f} to {100 * high:.2f})"
        shown = "held-out images" if name == "held_out" else f"{name} test"
        lines.append(f"{shown}: {100 * metrics['accuracy']:.2f} %{interval}, n = {metrics['n']}")
    lines += end.stability
    if end.checkpoint is not None:
        lines.append(f"checkpoint: {end.checkpoint}")
    return "\n".join(lines)
