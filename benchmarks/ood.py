"""Measure what a checkpoint's OOD detector accepts as digits and what it rejects.

    python -m benchmarks.ood CHECKPOINT [--data-dir DIR] [--fonts FILE ...] [--images FILE ...]

Digits: held-out images and every available test set. Non-digits: capital letters without B D I O S
Z in matplotlib's fonts (and those of --fonts), distorted like handwriting; scribbles, dots, hearts,
filled shapes, two held-out digits side by side; files of --images, such as Omniglot or notMNIST,
and folders of pictures. All get the framing of a sketch. Apart from matplotlib's fonts, none of
these is made like what the detector was trained on (``benchmarks.detector``). AUROC and FPR95, the
share of the non-digits that pass where 95% of the digits do, are against MNIST's test images where
they are available, else the held-out ones. The last table shows what other thresholds would accept
and reject. The results choose nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

from benchmarks.measuring import conditions, options
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import split_held_out
from digitcnn.digits.idx import read_idx
from digitcnn.digits.sketch import from_image, from_images, from_strokes
from digitcnn.folders import data_folder
from digitcnn.intervals import wilson_interval
from digitcnn.network.checkpoint import Checkpoint, load

FONTS = (
    "DejaVuSans", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Italic",
    "STIXGeneral", "STIXGeneralItalic", "cmr10", "cmss10", "cmtt10", "cmti10",
)  # fmt: skip
CAPITALS = "ACEFGHJKLMNPQRTUVWXY"
PEN = 0.065  # the pad's
PENS, BROAD_PENS = range(4), range(8, 12)  # pixels added on each side of a letter's line
PER_KIND, PER_LETTER = 500, 3
PASS_SHARES = (0.999, 0.995, 0.99, 0.98, 0.97, 0.95)

Random = np.random.Generator


def distorted(picture: Image.Image, amount: float, random: Random) -> Image.Image:
    """Slanted, turned, and bent as a whole by a smooth random displacement."""
    paper = torch.from_numpy(np.asarray(picture, np.float32))[None, None] - 255
    bend = torch.from_numpy(random.normal(0, 0.045 * amount, (1, 2, 4, 4)).astype(np.float32))
    field = functional.interpolate(
        bend, size=list(paper.shape[2:]), mode="bicubic", align_corners=True
    )
    turn, slant = random.normal(0, 0.12 * amount), random.normal(0, 0.15 * amount)
    matrix = [[math.cos(turn), math.sin(turn) + slant, 0], [-math.sin(turn), math.cos(turn), 0]]
    grid = functional.affine_grid(torch.tensor([matrix]), list(paper.shape), align_corners=False)
    moved = functional.grid_sample(paper, grid + field.permute(0, 2, 3, 1), align_corners=False)
    return Image.fromarray((moved[0, 0] + 255).clamp(0, 255).byte().numpy())


def letters(
    fonts: Sequence[Path], random: Random, widths: range = PENS
) -> dict[str, list[Tensor | None]]:
    """Render each capital in every font, a few times, thicker by one of ``widths``."""
    drawn: dict[str, list[Tensor | None]] = {}
    for font in fonts:
        face = ImageFont.truetype(str(font), 72)
        for letter in CAPITALS:
            for _ in range(PER_LETTER):
                picture = Image.new("L", (144, 144), 255)
                width = widths[random.integers(len(widths))]
                ImageDraw.Draw(picture).text((72, 72), letter, 0, face, "mm", stroke_width=width)
                drawn.setdefault(letter, []).append(from_image(distorted(picture, 1, random)))
    return drawn


def scribble(random: Random) -> Tensor | None:
    """Draw one to three random curves."""
    strokes = []
    for _ in range(int(random.integers(1, 4))):
        place, step = random.uniform(0.2, 0.8, 2), random.normal(0, 0.05, 2)
        habit, points = random.normal(0, 0.24), []
        for _ in range(int(random.integers(15, 70))):
            angle = random.normal(habit, 0.7)
            turn = np.array(
                [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
            )
            step = turn @ step + random.normal(0, 0.015, 2)
            step *= min(1, 0.09 / np.hypot(*step))
            ahead = place + step
            step = np.where((ahead > 0.05) & (ahead < 0.95), step, -step)
            place = ahead.clip(0.05, 0.95)
            points.append(place.tolist())
        strokes.append(points)
    return from_strokes(strokes, PEN)


def dots(random: Random) -> Tensor | None:
    taps = random.uniform(0.1, 0.9, (int(random.integers(1, 7)), 1, 2))
    return from_strokes(taps.tolist(), PEN)


def heart_line(random: Random) -> NDArray[np.float64]:
    """The outline of a heart, not drawn very well: points on the pad [60, 2]."""
    t = np.linspace(0, 2 * np.pi, 60)
    height = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    line = np.stack([16 * np.sin(t) ** 3 * random.uniform(0.7, 1.2), -height], 1) / 40
    shaken = random.normal(0, 0.02, (2, 8))
    wobble = [np.interp(np.linspace(0, 7, 60), range(8), shake) for shake in shaken]
    turn = random.normal(0, 0.15)
    matrix = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    points: NDArray[np.float64] = line @ matrix + np.stack(wobble, 1) + 0.5
    return points.clip(0.02, 0.98)


def heart(random: Random) -> Tensor | None:
    return from_strokes([heart_line(random).tolist()], PEN)


def filled_shape(random: Random) -> Tensor | None:
    """An ellipse, a box, a triangle, a heart or an odd polygon; thin ones can be a 1."""
    picture = Image.new("L", (200, 200), 255)
    pen = ImageDraw.Draw(picture)
    box = [*random.uniform(20, 80, 2), *random.uniform(110, 185, 2)]
    kind = int(random.integers(5))
    if kind == 0:
        pen.ellipse(box, fill=0)
    elif kind == 1:
        pen.rectangle(box, fill=0)
    else:
        corners = random.uniform(20, 180, (3, 2))
        if kind == 3:
            corners = 190 * heart_line(random)
        elif kind == 4:
            turn = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(4, 8))))
            reach = random.uniform(40, 90, len(turn))
            corners = 100 + reach[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
        pen.polygon([tuple(corner) for corner in corners.tolist()], fill=0)
    return from_image(distorted(picture, 0.7, random))


def two_of(digits: Tensor) -> Callable[[Random], Tensor | None]:
    def two(random: Random) -> Tensor | None:
        page = np.zeros((40, 72), np.uint8)
        left = 4
        for image in digits[torch.from_numpy(random.integers(len(digits), size=2))].numpy():
            columns = np.flatnonzero((image > 64).any(0))
            ink = image[:, columns[0] : columns[-1] + 1]
            top = 6 + int(random.integers(-2, 3))
            page[top : top + 28, left : left + ink.shape[1]] = ink
            left += ink.shape[1] + int(random.integers(1, 8))
        return from_image(Image.fromarray(255 - page))

    return two


def joined(by_letter: dict[str, list[Tensor | None]]) -> list[Tensor | None]:
    return [drawing for drawings in by_letter.values() for drawing in drawings]


def usable(drawings: Sequence[Tensor | None]) -> Tensor:
    return torch.stack([drawing for drawing in drawings if drawing is not None])


def scores(checkpoint: Checkpoint, images: Tensor) -> Tensor:
    assert checkpoint.ood is not None
    return checkpoint.ood.scores(images)


def row(name: str, hits: int, of: int) -> str:
    low, high = wilson_interval(hits, of)
    return f"| {name} | {of:,} | {100 * hits / of:.2f} | {100 * low:.2f} to {100 * high:.2f} |"


def ranking(digits: Tensor, others: Tensor) -> str:
    """Two more cells of a row: AUROC, and FPR95 in percent."""
    truth = np.repeat([1, 0], [len(digits), len(others)])
    area = roc_auc_score(truth, torch.cat([digits, others]).numpy())
    passing = float((others >= digits.quantile(0.05)).float().mean())
    return f" {area:.4f} | {100 * passing:.1f} |"


def strangers_images(path: Path) -> Tensor:
    """Non-digits of a file of IDX images, any size, or of a folder of pictures, framed."""
    pictures: list[Image.Image]
    if path.is_dir():
        pictures = [Image.open(file) for file in sorted(path.glob("*.png"))]
    else:
        pictures = [Image.fromarray(255 - ink.numpy()) for ink in read_idx(path, dimensions=3)]
    return usable([from_image(picture) for picture in pictures])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--fonts", type=Path, nargs="*", default=[], help="more font files")
    parser.add_argument("--images", type=Path, nargs="*", default=[], help="IDX files, folders")
    args = parser.parse_args(arguments)
    checkpoint = load(args.checkpoint)
    if checkpoint.ood is None:
        parser.error(f"{args.checkpoint} has no OOD detector; train it to its end.")
    threshold = checkpoint.ood.threshold
    catalog = Catalog(data_folder(args.data_dir))
    held_out = split_held_out(catalog.open("mnist", "train"))[1].images
    digits = {"held-out, sketch path": scores(checkpoint, from_images(held_out))}
    for entry in catalog.entries():
        if entry.present and entry.split == "test":
            images = catalog.open(entry.name, "test").images
            if entry.name == "usps":
                digits["usps, as it is"] = scores(checkpoint, images)
            digits[f"{entry.name}, sketch path"] = scores(checkpoint, from_images(images))

    random = np.random.default_rng(12345)
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    shipped_fonts = [folder / f"{font}.ttf" for font in FONTS]
    by_letter = letters(shipped_fonts, random)
    drawn = {"letters, matplotlib's fonts": usable(joined(by_letter))}
    if args.fonts:
        drawn["letters, other fonts"] = usable(joined(letters(args.fonts, random)))
    kinds: dict[str, Callable[[Random], Tensor | None]] = {
        "scribbles": scribble,
        "dots": dots,
        "hearts": heart,
        "filled shapes": filled_shape,
        "two digits side by side": two_of(held_out),
    }
    for name, make in kinds.items():
        drawn[name] = usable([make(random) for _ in range(PER_KIND)])
    for path in args.images:
        drawn[path.name] = strangers_images(path)
    others = {name: scores(checkpoint, images) for name, images in drawn.items()}

    print(f"{conditions()}; {checkpoint.name}")
    print("\n| digits | images | accepted, % | 95% interval |\n|---|---|---|---|")
    for name, values in digits.items():
        print(row(name, int((values >= threshold).sum()), len(values)))
    inside = digits.get("mnist, sketch path", digits["held-out, sketch path"])
    print("\n| non-digits | images | rejected, % | 95% interval | AUROC | FPR95 |")
    print("|---|---|---|---|---|---|")
    for name, values in others.items():
        print(row(name, int((values < threshold).sum()), len(values)) + ranking(inside, values))
    every = torch.cat(list(others.values()))
    print(row("all", int((every < threshold).sum()), len(every)) + ranking(inside, every))
    broad = usable(joined(letters(shipped_fonts, np.random.default_rng(12345), BROAD_PENS)))
    refused = scores(checkpoint, broad) < threshold
    print(row("not among all: letters by a broad pen", int(refused.sum()), len(broad)) + " | |")
    shares = []
    for letter, drawings in sorted(by_letter.items()):
        refused = scores(checkpoint, usable(drawings)) < threshold
        shares.append(f"{letter} {100 * float(refused.float().mean()):.0f}")
    print(f"\nmatplotlib's fonts, refused by letter, %: {', '.join(shares)}")
    names = [*digits, *others, "all non-digits"]
    print(f"\n| held-out accepted, % | {' | '.join(names)} |\n{'|---' * (len(names) + 1)}|")
    ranked = digits["held-out, sketch path"].sort().values
    for share in PASS_SHARES:
        at = ranked[round((1 - share) * len(ranked))]
        cells = [float((values >= at).float().mean()) for values in digits.values()]
        cells += [float((values < at).float().mean()) for values in [*others.values(), every]]
        print(f"| {100 * share:.1f} | {' | '.join(f'{100 * cell:.1f}' for cell in cells)} |")


if __name__ == "__main__":
    main()
