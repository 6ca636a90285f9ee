"""How well models read pictures and numbers: kind by kind, as a table.

    python -m benchmarks.pictures CHECKPOINT ... [--data-dir DIR] [--each N] [--shared FOLDER]
                                  [--kinds KIND ...] [--test-images]

The pictures are drawn around MNIST's held-out images (``picture_kinds``), or its test images for a
final measurement; numbers also with the forms of the synthetic digits, as strokes on the pad
(``number_kinds``). --kinds: only these, such as "far speck", or none. FOLDER holds
``labels.csv`` with file, digit and kind, and ``files/``; a number is ``multi:`` and its digits.
A picture counts as right where its digit is accepted, or its number exact.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.measuring import conditions, options
from benchmarks.number_kinds import PEN, drawn_number, laid_number
from benchmarks.picture_kinds import KINDS, picture
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.digits.numbers import Pieces, pieces_of_ink, pieces_of_strokes
from digitcnn.folders import data_folder
from digitcnn.network.checkpoint import Checkpoint, load
from digitcnn.services.prediction import NumberReading, Reading, ink_of_file, read_pieces

# How many digits the numbers of each kind have.
NUMBERS = {
    "drawn single digits": (1,),
    "MNIST single digits": (1,),
    "drawn pairs and triples": (2, 3),
    "MNIST pairs and triples": (2, 3),
}


class Case(NamedTuple):
    """What is to be read; pieces: None where nothing was found."""

    kind: str
    truth: str
    pieces: Pieces | None


def answer_of(checkpoint: Checkpoint, pieces: Pieces | None) -> str:
    """Return the digit or number that a model reads, or words."""
    reading = None if pieces is None else read_pieces(checkpoint, pieces)
    if isinstance(reading, NumberReading):
        return reading.number
    if isinstance(reading, Reading):
        return "rejected" if reading.prediction is None else str(reading.prediction)
    return "nothing" if reading is None else "refused"


def of_file(content: bytes) -> Pieces | None:
    ink = ink_of_file(content)
    return None if ink is None else pieces_of_ink(ink)


def of_image(image: Image.Image) -> Pieces | None:
    file = io.BytesIO()
    image.save(file, "png", compress_level=1)
    return of_file(file.getvalue())


def generated(digits: DigitSet, each: int, kinds: Sequence[str]) -> Iterator[Case]:
    """Generate ``each`` cases of every kind, from a seed that depends on the kind."""
    for kind in kinds:
        random = np.random.default_rng([3, *kind.encode()])
        if kind in NUMBERS:
            for _ in range(each):
                yield _number(kind, digits, random)
        else:
            for index in random.integers(len(digits), size=each).tolist():
                image = picture(kind, digits.images[index].numpy(), random)
                yield Case(kind, str(int(digits.labels[index])), of_image(image))


def _number(kind: str, digits: DigitSet, random: np.random.Generator) -> Case:
    """Draw a number on the pad, or lay digits of a set side by side."""
    length = random.choice(NUMBERS[kind])
    if kind.startswith("drawn"):
        chosen = random.integers(10, size=length).tolist()
        return Case(kind, _joined(chosen), pieces_of_strokes(drawn_number(chosen, random), PEN))
    index = random.integers(len(digits), size=length)
    image = laid_number(digits.images[index], random)
    return Case(kind, _joined(digits.labels[index].tolist()), of_image(image))


def _joined(digits: Sequence[int]) -> str:
    return "".join(map(str, digits))


def shared_pictures(folder: Path) -> Iterator[Case]:
    """Read the pictures of a folder."""
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            truth = row["digit"].removeprefix("multi:")
            kind = f"shared {'number' if truth != row['digit'] else row['kind']}"
            yield Case(kind, truth, of_file((folder / "files" / row["file"]).read_bytes()))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--each", type=int, default=40, help="pictures of each kind")
    parser.add_argument("--shared", type=Path, metavar="FOLDER")
    kinds = [*KINDS, *NUMBERS]
    parser.add_argument("--kinds", nargs="*", choices=kinds, default=kinds, metavar="KIND")
    parser.add_argument("--test-images", action="store_true", help="MNIST's, not the held-out ones")
    parser.add_argument("--verbose", action="store_true", help="name what is wrong")
    args = parser.parse_args(arguments)
    checkpoints = [load(path) for path in args.checkpoints]
    catalog = Catalog(data_folder(args.data_dir))
    if args.test_images:
        digits = catalog.open("mnist", "test")
    else:
        digits = split_held_out(catalog.open("mnist", "train"))[1]
    print(conditions())
    right: Counter[tuple[str, int]] = Counter()
    counts: Counter[str] = Counter()
    cases = [generated(digits, args.each, args.kinds)]
    if args.shared:
        cases.insert(0, shared_pictures(args.shared))
    for case in (case for each in cases for case in each):
        counts[case.kind] += 1
        for index, checkpoint in enumerate(checkpoints):
            answer = answer_of(checkpoint, case.pieces)
            right[case.kind, index] += answer == case.truth
            if args.verbose and answer != case.truth:
                print(f"{case.kind}: {case.truth} read as {answer} by {args.checkpoints[index]}")
    print("| kind | pictures |", " | ".join(path.stem for path in args.checkpoints), "|")
    print("|---|---|", "---|" * len(checkpoints), sep="")
    for kind, count in counts.items():
        shares = (f"{100 * right[kind, index] / count:.1f}" for index in range(len(checkpoints)))
        print(f"| {kind} | {count} |", " | ".join(shares), "|")


if __name__ == "__main__":
    main()
