"""Measure what fine-tuning on feedback gains and costs, on real digits of simulated visitors.

    python -m benchmarks.finetune [--checkpoint FILE] [--data-dir DIR] [--visitors N] [--sketches N]

Each visitor draws twice ``--sketches`` digits, framed as sketches are. The first half is given as
feedback, of which every other one is trained on; the second half is never given, so no choice
depends on it. The visitors:

- strangers: ``drawn-digits`` (only 0 3 5 6 8), grouped at random, because its writers are unknown;
- FEMNIST: ``femnist-digits``, grouped at random as well;
- odd hands: the same, each visitor's digits rotated by up to 40 degrees and sheared by up to 0.5;
- liars: the same digits with random labels.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.accuracy import through_the_sketch_path
from benchmarks.measuring import conditions, seconds
from digitcnn.analysis.predictions import predict
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.folders import SHIPPED_FILE, data_folder
from digitcnn.intervals import accuracy_text
from digitcnn.network.checkpoint import Checkpoint, load
from digitcnn.network.device import choose
from digitcnn.training.finetune import FineTuningEnd, fine_tune
from digitcnn.training.finetune_verdict import ComparisonRow, compare_models
from digitcnn.training.sketches import Sketches
from digitcnn.training.stop_signal import StopSignal

LARGEST_TURN, LARGEST_SLANT = 40.0, 0.5  # degrees; horizontal pixels per vertical pixel

Change = Callable[[Tensor, torch.Generator], Tensor]


def as_drawn(images: Tensor, _: torch.Generator) -> Tensor:
    return images


def odd_hand(images: Tensor, generator: torch.Generator) -> Tensor:
    """One visitor's digits, all turned and slanted by the same amounts: uint8 [N, 28, 28]."""
    turn, slant = (torch.rand(2, generator=generator) * 2 - 1).tolist()
    angle, slant = math.radians(turn * LARGEST_TURN), slant * LARGEST_SLANT
    cos, sin = math.cos(angle), math.sin(angle)
    map_ = torch.tensor([[[cos, slant * cos - sin, 0.0], [sin, slant * sin + cos, 0.0]]])
    grid = functional.affine_grid(
        map_.expand(len(images), 2, 3), [len(images), 1, 28, 28], align_corners=False
    )
    turned = functional.grid_sample(images[:, None].float(), grid, align_corners=False)
    return turned[:, 0].round().to(torch.uint8)


def visitors(
    digits: DigitSet, count: int, sketches: int, change: Change
) -> tuple[Sketches, DigitSet]:
    """The feedback of so many visitors, and as many sketches of theirs that are never given."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(digits), generator=generator)
    images = [
        through_the_sketch_path(change(digits.images[part], generator))
        for part in order[: 2 * count * sketches].split(2 * sketches)
    ]
    labels = digits.labels[order[: 2 * count * sketches]].split(2 * sketches)
    given = Sketches(
        torch.cat([drawn[:sketches] for drawn in images]),
        torch.cat([each[:sketches] for each in labels]),
        [f"visitor {place // sketches}" for place in range(count * sketches)],
    )
    rest = DigitSet(
        torch.cat([drawn[sketches:] for drawn in images]),
        torch.cat([each[sketches:] for each in labels]),
        "never given",
        "test",
    )
    return given, rest


def learned(
    base: Checkpoint, given: Sketches, rest: DigitSet, catalog: Catalog
) -> tuple[FineTuningEnd, list[ComparisonRow]]:
    """The verdict, and its rows with one for the sketches that were never given."""
    with tempfile.TemporaryDirectory() as folder:
        *_, end = fine_tune(
            base,
            given,
            catalog=catalog,
            checkpoints=Path(folder),
            compute=choose("auto"),
            stop=StopSignal(),
        )
        assert isinstance(end, FineTuningEnd)
        rows = list(end.rows)
        if end.checkpoint is not None:
            new = load(end.checkpoint).network
            answers = (predict(network, rest) for network in (base.network, new))
            rows.append(compare_models(rest.name, *answers, decides=False))
    return end, rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED_FILE)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--visitors", type=int, default=6)
    parser.add_argument("--sketches", type=int, default=30, help="given as feedback, by each")
    args = parser.parse_args(arguments)
    base, catalog = load(args.checkpoint), Catalog(data_folder(args.data_dir))
    print(f"{conditions()}; {args.checkpoint.stem}\n")
    print("| visitors | images | count | before | after | difference, points | |")
    print("|---|---|---|---|---|---|---|")
    for who, name, change in (
        ("strangers", "drawn-digits", as_drawn),
        ("FEMNIST", "femnist-digits", as_drawn),
        ("odd hands", "femnist-digits", odd_hand),
        ("liars", "femnist-digits", as_drawn),
    ):
        given, rest = visitors(catalog.open(name, "test"), args.visitors, args.sketches, change)
        if who == "liars":
            random = torch.randint(0, 10, (len(given),), generator=torch.Generator().manual_seed(1))
            given = Sketches(given.images, random.to(torch.uint8), given.visitors)
        results: list[tuple[FineTuningEnd, list[ComparisonRow]]] = []
        took = seconds(lambda: results.append(learned(base, given, rest, catalog)))  # noqa: B023
        [(end, rows)] = results
        verdict = f"{'saved' if end.checkpoint else 'not saved'}, {took:.0f} s"
        for line in rows:
            print(
                f"| {who} | {line.title} | {line.n:,} | {accuracy_text(line.before, line.n)} | "
                f"{accuracy_text(line.after, line.n)} | {line.difference:+.2f} ({line.low:+.2f} to "
                f"{line.high:+.2f}) | {verdict} |",
                flush=True,
            )
            who = verdict = ""
        print(f"\n{end.message}\n" if not end.checkpoint else "", end="", flush=True)


if __name__ == "__main__":
    main()
