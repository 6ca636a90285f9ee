"""The command line: ``python -m digitcnn COMMAND``.

One JSON object on standard output with ``--json``, a short text without; progress and messages go
to standard error. Exits 0 on success, 2 on unusable input with one sentence, 130 on Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from digitcnn.analysis.metrics import evaluate
from digitcnn.analysis.predictions import predict
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.sketch import from_picture, open_picture
from digitcnn.errors import (
    DigitCNNError,
    DigitSetError,
    DownloadError,
    RunError,
    SketchError,
)
from digitcnn.files import without_nan
from digitcnn.network import checkpoint as checkpoints
from digitcnn.network import device as devices
from digitcnn.training import runs
from digitcnn.training.config import TrainingConfig
from digitcnn.training.job import resumable
from digitcnn.training.loop import EpochEnd, StepProgress
from digitcnn.training.perform import Phase, RunEnd, StopSignal, open_training_set, perform
from digitcnn.training.runs import Run, RunStore
from digitcnn.workspace import data_folder

Result = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = _parser().parse_args(arguments)
    try:
        result, text, status = args.command(args)
    except DigitCNNError as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        _say("Interrupted.")
        return 130
    print(json.dumps(without_nan(result), allow_nan=False) if args.json else text)
    return int(status)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m digitcnn",
        description=sys.modules[__name__].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_train(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_data(commands)
    return parser


def _add_command(commands: Any, name: str, function: Any, **texts: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, formatter_class=argparse.ArgumentDefaultsHelpFormatter, **texts
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=argparse.SUPPRESS,
        help="folder of digit sets (default: DIGITCNN_DATA, else the user's cache folder)",
    )
    parser.add_argument(
        "--device", choices=devices.CHOICES, default="auto", help="where to compute"
    )
    parser.set_defaults(command=function)
    return parser


def _catalog(args: argparse.Namespace) -> Catalog:
    return Catalog(data_folder(getattr(args, "data_dir", None)))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- train ------------------------------------------------------------------------------------


def _add_train(commands: Any) -> None:
    recipe = TrainingConfig()
    parser = _add_command(
        commands,
        "train",
        _train,
        help="train a network",
        description="Train a network. The defaults are the default recipe.",
    )
    add = parser.add_argument
    add("--epochs", type=int, default=recipe.epochs, help="passes over the training images")
    add("--batch-size", type=int, default=recipe.batch_size, help="images per step")
    add(
        "--learning-rate",
        type=float,
        default=recipe.learning_rate,
        help="peak of the one-cycle schedule",
    )
    add(
        "--digits",
        default=argparse.SUPPRESS,
        help="digit set to learn from (default: mnist, fetched where it is not on this machine; "
        "synthetic where it cannot be fetched)",
    )
    add("--seed", type=int, default=recipe.seed, help="of weights, order, augmentation, dropout")
    add("--name", default=argparse.SUPPRESS, help="of run and checkpoint (default: set and time)")
    add("--output-dir", type=Path, default=Path("outputs"), help="folder of runs")
    add("--checkpoint-dir", type=Path, default=Path("checkpoints"), help="folder of checkpoints")
    add("--no-save", action="store_true", help="write neither checkpoint nor resume state")
    add(
        "--augmentation",
        choices=("on", "off"),
        default="on" if recipe.augmentation else "off",
        help="change each batch at random",
    )
    add(
        "--train-images",
        type=int,
        default=argparse.SUPPRESS,
        help="learn from only so many images (default: all that are not held out)",
    )
    add(
        "--resume",
        metavar="RUN",
        default=argparse.SUPPRESS,
        help="go on with a run after its last finished epoch, with that run's settings",
    )


def _train(args: argparse.Namespace) -> tuple[Result, str, int]:
    catalog = _catalog(args)
    compute = devices.choose(args.device)
    if compute.note:
        _say(compute.note)
    run = _opened_run(args, catalog, RunStore(args.output_dir))
    _say(f"Training on {compute}.")
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
    if not catalog.has(config.digits, "train"):
        config = _with_fetched_digits(config, catalog, named=hasattr(args, "digits"))
    # Whatever is wrong with the images is said before a folder is made for the run.
    open_training_set(config, catalog)
    return store.create(config, getattr(args, "name", None), saves=not args.no_save)


def _with_fetched_digits(config: TrainingConfig, catalog: Catalog, named: bool) -> TrainingConfig:
    """Fetch the training set; where nobody asked for it by name, fall back to synthetic digits."""
    try:
        _download(catalog, config.digits)
    except DownloadError as error:
        if named:
            raise
        _say(f"{error} Training on synthetic digits instead.")
        return TrainingConfig.from_json({**config.to_json(), "digits": "synthetic"})
    return config


@contextmanager
def _stopping_on_ctrl_c(stop: StopSignal) -> Iterator[None]:
    """The first Ctrl-C ends the training between two batches, the second ends the process."""

    def handle(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        _say("Stopping after this batch; press Ctrl-C again to leave at once.")
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
                    _say(
                        f"epoch {result.epoch}: loss {result.loss:.4f}, held-out accuracy "
                        f"{100 * result.accuracy:.2f} %, {result.seconds:.1f} s"
                    )
            elif isinstance(progress, Phase):
                with bar.external_write_mode(file=sys.stderr):
                    _say(f"{progress.text} ...")
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
    if end.checkpoint is not None:
        lines.append(f"checkpoint: {end.checkpoint}")
    return "\n".join(lines)


# --- evaluate ---------------------------------------------------------------------------------


def _add_evaluate(commands: Any) -> None:
    parser = _add_command(commands, "evaluate", _evaluate, help="score a network on test sets")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the network to score")
    parser.add_argument(
        "--digits",
        default=argparse.SUPPRESS,
        help="test sets, separated by commas (default: those of mnist,emnist-digits that are here)",
    )


def _evaluate(args: argparse.Namespace) -> tuple[Result, str, int]:
    loaded = checkpoints.load(args.checkpoint)
    network = loaded.network.to(devices.choose(args.device).device)
    evaluations = {}
    for digit_set in _test_sets(args):
        with tqdm(unit="image", file=sys.stderr, disable=None, leave=False) as bar:
            bar.set_description(digit_set.name)
            predictions = predict(
                network,
                digit_set,
                digest=loaded.digest,
                progress=partial(_advance, bar),
                keep_features=False,
            )
        evaluations[digit_set.name] = evaluate(predictions, loaded.details.temperature or 1.0)
    lines = [f"{'digit set':24} {'images':>7} {'errors':>7}  accuracy (95 % interval), NLL, ECE"]
    lines += [
        f"{name:24} {result.n:7} {result.errors:7}  {100 * result.accuracy:.2f} % "
        f"({100 * result.accuracy_low:.2f} to {100 * result.accuracy_high:.2f}), "
        f"{result.nll:.4f}, {100 * result.ece:.2f} %"
        for name, result in evaluations.items()
    ]
    found = {name: result.to_json() for name, result in evaluations.items()}
    return found, "\n".join(lines), 0


def _advance(bar: tqdm, done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)


def _test_sets(args: argparse.Namespace) -> list[DigitSet]:
    """The sets that were named, else the usual ones that are on this machine."""
    catalog = _catalog(args)
    if hasattr(args, "digits"):
        names = [name.strip() for name in args.digits.split(",")]
    else:
        here = [e.name for e in catalog.entries() if e.present and e.split == "test"]
        names = [name for name in ("mnist", "emnist-digits") if name in here]
        for name in ("mnist", "emnist-digits"):
            if name not in here:
                _say(f"{name} is not on this machine: python -m digitcnn data download {name}")
        if not names:
            raise DigitSetError("Neither is here; fetch one, or name others with --digits.")
    return [catalog.open(name, "test") for name in dict.fromkeys(names)]


# --- predict ----------------------------------------------------------------------------------


def _add_predict(commands: Any) -> None:
    parser = _add_command(commands, "predict", _predict, help="read digits from image files")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the network to ask")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="picture of one digit")


def _predict(args: argparse.Namespace) -> tuple[Result, str, int]:
    loaded = checkpoints.load(args.checkpoint)
    loaded.network.to(devices.choose(args.device).device)
    result = {image: _answer(loaded, Path(image)) for image in args.images}
    lines = []
    for image, answer in result.items():
        if answer.get("blank"):
            lines.append(f"{image}: blank")
        else:
            digit = answer["digit"]
            lines.append(f"{image}: {digit} ({100 * answer['probabilities'][digit]:.1f} %)")
    return result, "\n".join(lines), 0


def _answer(loaded: checkpoints.Checkpoint, path: Path) -> Result:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SketchError(f"{path} cannot be read ({error.strerror}).") from error
    try:
        image = from_picture(open_picture(data))
    except SketchError as error:
        raise SketchError(f"{path}: {error}") from error
    if image is None:
        return {"digit": None, "blank": True}
    images = image.unsqueeze(0).to(loaded.network.output.weight.device)
    probabilities = loaded.probabilities(images)[0].tolist()
    return {"digit": max(range(10), key=probabilities.__getitem__), "probabilities": probabilities}


# --- data -------------------------------------------------------------------------------------


def _add_data(commands: Any) -> None:
    data = commands.add_parser("data", help="list and fetch digit sets")
    actions = data.add_subparsers(metavar="ACTION", required=True)
    _add_command(actions, "list", _data_list, help="digit sets and whether they are here")
    download = _add_command(actions, "download", _data_download, help="fetch a digit set")
    download.add_argument("name", metavar="NAME", help="such as mnist, emnist-digits or usps")
    download.add_argument("--split", choices=("train", "test"), default=None, help="only this one")


def _data_list(args: argparse.Namespace) -> tuple[Result, str, int]:
    entries = _catalog(args).entries()
    rows = [
        {
            "name": entry.name,
            "split": entry.split,
            "n": entry.n,
            "present": entry.present,
            "path": None if entry.path is None else str(entry.path),
        }
        for entry in entries
    ]
    lines = [
        f"{entry.name:24} {entry.split:6} {entry.n if entry.present else 'not here':>9}"
        for entry in entries
    ]
    return {"sets": rows}, "\n".join(lines), 0


def _data_download(args: argparse.Namespace) -> tuple[Result, str, int]:
    catalog = _catalog(args)
    _download(catalog, args.name, args.split)
    return _data_list(args)


def _download(catalog: Catalog, name: str, split: str | None = None) -> None:
    with tqdm(unit="B", unit_scale=True, file=sys.stderr, disable=None) as bar:
        for progress in catalog.download(name, split):
            bar.total = progress.total
            bar.set_description(progress.file)
            bar.update(progress.done - bar.n)
    _say(f"{name} is in {catalog.data_dir}.")
