"""Measure how well networks with a known original are rebuilt from their files.

    python -m benchmarks.rebuild [--networks N] [--first SEED] [--steps N] [--keep DIR]

Each network of ``benchmarks.random_networks`` is trained on --steps batches of MNIST's training
images, saved, read like a stranger's file, and compared with the original on MNIST's test images:

    same     logits equal within 1e-4
    close    another function; the verdict names a runner-up, and the accuracy is within 0.3 points
    refused  the file does not say enough, and the error says so
    wrong    anything else

Prints every network that is not the same, then a table of outcomes. DIR: stores the trained
networks, for another run.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measuring import conditions, options
from benchmarks.random_networks import FORMS, Sample, sample
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CheckpointError
from digitcnn.folders import data_folder
from digitcnn.network.checkpoint import load
from digitcnn.network.rebuild import IMAGES

# Two accuracies that differ by no more, as fractions, are close.
MAX_DIFFERENCE = 0.003
OUTCOMES = ("same", "close", "refused", "wrong")


@dataclasses.dataclass(frozen=True)
class Result:
    """The outcome of one network.

    seconds: CPU time to read its file. text: the description or the error.
    """

    outcome: str
    seconds: float
    text: str


def rebuild(one: Sample, known: DigitSet, unseen: DigitSet) -> Result:
    """Read a network's file and compare it with the original.

    known: what guesses are scored on. unseen: what neither training nor rebuilding saw.
    """
    begun = time.process_time()
    try:
        loaded = load(one.data, "x", digits=lambda: known)
    except CheckpointError as error:
        return Result("refused", time.process_time() - begun, str(error))
    seconds = time.process_time() - begun
    with torch.no_grad():
        few = unseen.images[:200]
        found, expected = loaded.classifier.logits(few), one.logits(few)
        if torch.allclose(found, expected, atol=1e-4, rtol=1e-4):
            return Result("same", seconds, loaded.verdict)
        logits = torch.cat([loaded.classifier.logits(p) for p in unseen.images.split(1000)])
    accuracies = [_accuracy(each, unseen) for each in (logits, one.logits(unseen.images))]
    is_near = abs(accuracies[0] - accuracies[1]) <= MAX_DIFFERENCE
    outcome = "close" if is_near and "runner-up" in loaded.verdict else "wrong"
    text = f"{accuracies[0]:.4f} for {accuracies[1]:.4f}: {loaded.verdict}"
    return Result(outcome, seconds, text)


def _accuracy(logits: Tensor, digits: DigitSet) -> float:
    return float((logits.argmax(1) == digits.labels).double().mean())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--keep", type=Path, metavar="DIR")
    args = parser.parse_args(arguments)
    catalog = Catalog(data_folder(args.data_dir))
    training, unseen = catalog.open("mnist", "train"), catalog.open("mnist", "test")
    known = training.take(slice(0, IMAGES))
    print(conditions())
    results: list[tuple[str, Result]] = []
    for seed in range(args.first, args.first + args.networks):
        one = _kept(args.keep, seed, training, args.steps)
        result = rebuild(one, known, unseen)
        results.append((one.about.rpartition("; ")[2], result))
        if result.outcome != "same":
            print(f"{seed}: {one.about}\n    {result.outcome}: {result.text}", flush=True)
    for line in table(results):
        print(line)


def _kept(folder: Path | None, seed: int, training: DigitSet, steps: int) -> Sample:
    if folder is None:
        return sample(seed, training, steps)
    path = folder / f"{seed}-{steps}.pickle"
    if path.is_file():
        kept: Sample = torch.load(path, weights_only=False)  # written below
        return kept
    one = sample(seed, training, steps)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(one, path)
    return one


def table(results: Sequence[tuple[str, Result]]) -> list[str]:
    """Return lines: a Markdown table of outcomes by format, and the CPU seconds of reading."""
    lines = [f"| format | networks | {' | '.join(OUTCOMES)} |", "|---" * 6 + "|"]
    for form in (*FORMS, "all"):
        counts = Counter(r.outcome for name, r in results if form in (name, "all"))
        cells = " | ".join(str(counts[outcome]) for outcome in OUTCOMES)
        lines.append(f"| {form} | {counts.total()} | {cells} |")
    for name, chosen in (("read", OUTCOMES[:2]), ("refused", OUTCOMES[2:3])):
        seconds = [r.seconds for _, r in results if r.outcome in chosen]
        if seconds:
            lines.append(f"{name}: {statistics.median(seconds):.1f} s (at most {max(seconds):.1f})")
    return lines


if __name__ == "__main__":
    main()
