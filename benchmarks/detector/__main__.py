"""Train the OOD detector, write ``network/ood_detector.npz``, and refit the models that ship.

    python -m benchmarks.detector [--seed N] [--rounds N] [--data-dir DIR] [--output FILE]

The examples are MNIST's training images without the held-out ones, generated and printed digits,
and generated non-digits (``examples``), distorted again for each use. Before half of the steps,
non-digits that score higher than a quarter of the digits are left out: such look-alikes cannot be
distinguished from digits. It runs on one core, so that a seed gives the same weights each time on
the same machine. The weights that ship are from an earlier version (docs/models.md).
--rounds: another length than 266 rounds of 32 steps; fewer rounds generate fewer non-digits.
--output: another file than the shipped one; then no model is refitted.
No choice was based on other people's files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks.detector.distortion import distorted
from benchmarks.detector.examples import digits_of_every_hand, non_digits
from benchmarks.detector.glyphs import glyphs
from benchmarks.measuring import options
from benchmarks.refit_detector import SHIPPED, refit
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import CLASSES, split_held_out
from digitcnn.folders import data_folder
from digitcnn.network.model import Conv, Linear, MaxPool
from digitcnn.network.ood import LAYERS, TENSORS, WEIGHTS_FILE, OODDetector

GENERATED, PRINTED = 30_000, 6_000
BATCH = 128
# Batches distorted at a time; each is used this often, every time in another place.
CHUNK, USES = 16, 2
ROUNDS = 266  # of CHUNK * USES steps
NON_DIGITS = 830  # to generate for each round; the round draws 1,024
LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 3e-3, 2e-2, 0.2
TRIM_AFTER, TRIM_SHARE = 0.45, 0.25


class Training(nn.Module):
    """The detector with batch norms and dropout, as it is trained."""

    def __init__(self) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        width = 0
        for layer, after in zip(LAYERS, (*LAYERS[1:], None), strict=True):
            if isinstance(layer, Conv):
                parts.append(nn.Conv2d(layer.inputs, layer.outputs, 3, padding=1, bias=False))
                width = layer.outputs
            elif isinstance(layer, Linear):
                if layer.name == "hidden":
                    parts.append(nn.Flatten())
                else:
                    parts.append(nn.Dropout(DROPOUT))
                parts.append(nn.Linear(layer.inputs, layer.outputs))
            else:
                parts.append(nn.MaxPool2d(2) if isinstance(layer, MaxPool) else nn.ReLU())
            # After pooling, which it commutes with as long as its factors are positive: a quarter
            # of the numbers.
            if width and not isinstance(after, MaxPool):
                parts.append(nn.BatchNorm2d(width))
                width = 0
        self.parts = nn.Sequential(*parts)

    def forward(self, images: Tensor) -> Tensor:
        """Return eleven logits for images [N, 28, 28], 0 to 255."""
        pixels = (images.unsqueeze(1).float() / 255).to(memory_format=torch.channels_last)
        logits: Tensor = self.parts(pixels)
        return logits

    @torch.no_grad()
    def keep_factors_positive(self) -> None:
        """Call this after every step: pooling and batch norm commute only then."""
        for part in self.parts:
            if isinstance(part, nn.BatchNorm2d):
                part.weight.clamp_(min=1e-3)

    @torch.no_grad()
    def detector(self) -> OODDetector:
        """Return the detector with batch norms folded in, without a threshold yet."""
        tensors = {"threshold": torch.tensor(float("inf"))}
        names = iter(layer.name for layer in LAYERS if isinstance(layer, (Conv, Linear)))
        parts = list(self.parts)
        for place, part in enumerate(parts):
            if isinstance(part, nn.Conv2d):
                norm = next(one for one in parts[place:] if isinstance(one, nn.BatchNorm2d))
                part = fuse_conv_bn_eval(part.eval(), norm.eval())
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                name = next(names)
                assert part.bias is not None
                tensors[f"{name}.weight"] = part.weight.detach().half().contiguous()
                tensors[f"{name}.bias"] = part.bias.detach().float()
        return OODDetector({name: tensors[name] for name in TENSORS})


def orders(groups: Sequence[Tensor], generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of one chunk after the other, equally many of every group, for ever."""
    size = CHUNK * BATCH // len(groups)
    while True:
        shuffled = [group[torch.randperm(len(group), generator=generator)] for group in groups]
        for parts in zip(*(group.split(size) for group in shuffled), strict=False):
            both = torch.cat(parts)
            if len(both) == size * len(groups):
                yield both[torch.randperm(len(both), generator=generator)]


def train(images: Tensor, targets: Tensor, rounds: int, seed: int) -> OODDetector:
    """Train on uint8 [N, 28, 28]; targets: int64 [N], 10 for non-digits."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = Training().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=rounds * CHUNK * USES, pct_start=0.15
    )
    digits = (targets < CLASSES).nonzero()[:, 0]
    others = (targets == CLASSES).nonzero()[:, 0]
    chunks = orders([digits, others], generator)
    for done in range(rounds):
        if done == math.ceil(TRIM_AFTER * rounds):
            others = without_look_alikes(network, images, digits, others)
            chunks = orders([digits, others], generator)
        chosen = next(chunks)
        copies, expected = distorted(images[chosen], targets[chosen], generator), targets[chosen]
        for _ in range(USES):
            down, right = torch.randint(-1, 2, (2,), generator=generator).tolist()
            order = torch.randperm(len(copies), generator=generator)
            copies, expected = copies.roll((down, right), (1, 2))[order], expected[order]
            for batch, labels in zip(copies.split(BATCH), expected.split(BATCH), strict=True):
                with torch.autocast("cpu", torch.bfloat16):
                    logits = network(batch)
                loss = functional.cross_entropy(logits.float(), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                network.keep_factors_positive()
                schedule.step()
        if done % 10 == 0:
            print(f"round {done} of {rounds}: loss {loss:.3f}", flush=True)
    return network.eval().detector()


def without_look_alikes(
    network: Training, images: Tensor, digits: Tensor, others: Tensor
) -> Tensor:
    """Return the indices of the non-digits that it does not take for digits."""
    detector = network.eval().detector()
    network.train()
    least = detector.scores(images[digits]).quantile(TRIM_SHARE)
    kept = detector.scores(images[others]) <= least
    print(f"{int((~kept).sum()):,} of {len(kept):,} non-digits look like digits: left out")
    return others[kept]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--output", type=Path, default=WEIGHTS_FILE)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)  # Rounding depends on the number of threads.
    random = np.random.default_rng(args.seed)
    catalog = Catalog(data_folder(args.data_dir))
    training, held_out = split_held_out(catalog.open("mnist", "train"))
    digits, labels = digits_of_every_hand(training, GENERATED, PRINTED, random)
    made = non_digits(training, args.rounds * NON_DIGITS, random, glyphs())
    others = torch.from_numpy(np.concatenate(list(made.values())))
    targets = torch.cat([labels, torch.full((len(others),), CLASSES)])
    detector = train(torch.cat([digits, others]), targets, args.rounds, args.seed)
    detector = detector.fitted(held_out.images)
    arrays: dict[str, Any] = {name: t.numpy() for name, t in detector.tensors.items()}
    np.savez_compressed(args.output, **arrays)
    if args.output == WEIGHTS_FILE:
        for checkpoint in SHIPPED:
            refit(checkpoint, catalog, detector)


if __name__ == "__main__":
    main()
