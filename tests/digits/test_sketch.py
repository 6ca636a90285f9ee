"""Sketches, image files and framing: placement, invariances, limits and refusals."""

from __future__ import annotations

import gzip
import io
import itertools
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from digitcnn.digits import framing, image_files, sketch
from digitcnn.errors import SketchError

SEVEN = [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.8)], [(0.4, 0.5), (0.62, 0.5)]]
PEN = 0.06


def drawn_seven(
    size: int = 200, shift: tuple[int, int] = (0, 0), scale: float = 1.0
) -> Image.Image:
    """A seven in black on white."""
    image = Image.new("L", (size, size), 255)
    draw = ImageDraw.Draw(image)
    for stroke in SEVEN:
        points = [(x * size * scale + shift[0], y * size * scale + shift[1]) for x, y in stroke]
        draw.line(points, fill=0, width=max(1, round(0.08 * size * scale)), joint="curve")
    return image


def as_png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def difference(a: torch.Tensor | None, b: torch.Tensor | None) -> float:
    """Mean absolute difference of two framed digits, 0 to 255."""
    assert a is not None
    assert b is not None
    return float((a.float() - b.float()).abs().mean())


def read(image: Image.Image) -> torch.Tensor:
    digit = sketch.from_image(image)
    assert digit is not None
    assert digit.dtype == torch.uint8
    assert digit.shape == (28, 28)
    return digit


def spans(digit: torch.Tensor) -> tuple[int, int]:
    """Height and width of the ink that is more than a trace."""
    ink = digit > 64
    rows, columns = ink.any(dim=1).nonzero(), ink.any(dim=0).nonzero()
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1


def centre(digit: torch.Tensor) -> tuple[float, float]:
    ink = digit.double()
    place = torch.arange(28).double()
    return tuple(float((ink.sum(dim) * place).sum() / ink.sum()) for dim in (1, 0))


def test_an_image_is_brought_to_mnist_framing() -> None:
    digit = read(drawn_seven())
    assert digit.max() == 255
    assert max(spans(digit)) in (19, 20)
    assert centre(digit) == pytest.approx((14, 14), abs=0.3)
    assert max(digit[:3].max(), digit[-1].max()) < 64


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"]
)
def test_every_image_mode_gives_the_same_digit(mode: str) -> None:
    grey = drawn_seven()
    if mode in ("I;16", "I"):
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
        image = image if mode == "I;16" else image.convert("I")
    else:
        image = (
            grey.convert("RGB").convert(mode) if mode in ("CMYK", "YCbCr") else grey.convert(mode)
        )
    assert image.mode == mode
    assert difference(read(image), read(grey)) < 1


def test_light_ink_on_dark_equals_dark_ink_on_light() -> None:
    dark = drawn_seven()
    light = Image.eval(dark, lambda value: 255 - value)
    faint = Image.eval(dark, lambda value: 90 + value // 4)
    assert difference(read(light), read(dark)) < 1
    assert difference(read(faint), read(dark)) < 1


@pytest.mark.parametrize("ink", [(0, 0, 0), (255, 255, 255), (30, 60, 200)])
def test_a_transparent_ground_is_paper(ink: tuple[int, int, int]) -> None:
    dark = drawn_seven()
    image = Image.new("RGBA", dark.size, (*ink, 0))
    image.putalpha(Image.eval(dark, lambda value: 255 - value))
    palette = image.quantize(8)
    assert palette.has_transparency_data
    assert difference(read(image), read(dark)) < 1
    assert difference(read(palette), read(dark)) < 4


@pytest.mark.parametrize("image", [drawn_seven(200, (40, -25)), drawn_seven(400, (20, 90), 0.5)])
def test_moving_or_scaling_an_image_hardly_changes_the_digit(image: Image.Image) -> None:
    assert difference(read(image), read(drawn_seven())) < 4


def test_very_large_and_very_small_digits_give_the_same_digit() -> None:
    small, large = drawn_seven(64), drawn_seven(1500)
    assert difference(read(small), read(large)) < 6


def test_a_digit_in_the_corner_of_a_large_page_is_found() -> None:
    page = Image.new("L", (1600, 1200), 255)
    page.paste(drawn_seven(100), (1450, 1050))
    assert difference(read(page), read(drawn_seven())) < 6


def test_grain_and_uneven_light_of_a_photograph_are_not_ink() -> None:
    random = np.random.default_rng(0)
    photo = 150 + 0.25 * np.asarray(drawn_seven(600)) + random.normal(0, 5, (600, 600))
    image = Image.fromarray(photo.clip(0, 255).astype(np.uint8))
    assert difference(read(image), read(drawn_seven())) < 6


def test_ink_on_the_edge_of_an_image_is_kept() -> None:
    cut = drawn_seven().crop((52, 32, 148, 168))
    assert difference(read(cut), read(drawn_seven())) < 3


def test_exif_orientation_is_applied() -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    drawn_seven().rotate(90, expand=True).save(file, "JPEG", exif=exif, quality=95)
    assert difference(read(image_files.open_image(file.getvalue())), read(drawn_seven())) < 2


@pytest.mark.parametrize(
    "image",
    [
        Image.new("L", (50, 50), 255),
        Image.new("L", (50, 50), 0),
        Image.new("RGBA", (50, 50), (0, 0, 0, 0)),
        Image.new("RGB", (1, 1), "red"),
        Image.new("L", (3, 700), 128),
        Image.fromarray(np.random.default_rng(1).normal(200, 4, (300, 300)).astype(np.uint8)),
    ],
)
def test_a_blank_image_has_no_strokes(image: Image.Image) -> None:
    assert sketch.from_image(image) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_each_format_opens(kind: str) -> None:
    file = io.BytesIO()
    drawn_seven().save(file, kind)
    assert difference(read(image_files.open_image(file.getvalue())), read(drawn_seven())) < 2


def test_other_files_are_refused_in_one_sentence() -> None:
    tiff = io.BytesIO()
    drawn_seven().save(tiff, "TIFF")
    for data in (b"", b"text", as_png(drawn_seven())[:60], tiff.getvalue()):
        with pytest.raises(SketchError) as caught:
            image_files.open_image(data)
        assert str(caught.value).count(". ") == 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_a_truncated_file_is_refused_or_read(kind: str) -> None:
    file = io.BytesIO()
    drawn_seven(64).save(file, kind)
    whole = file.getvalue()
    for length in range(1, len(whole), max(1, len(whole) // 40)):
        try:
            sketch.from_image(image_files.open_image(whole[:length]))
        except SketchError:
            continue


def test_a_huge_image_is_refused_before_decoding() -> None:
    claimed = bytearray(as_png(Image.new("1", (8, 8))))
    claimed[16:24] = (30_000).to_bytes(4, "big") * 2
    # With a right checksum of the header, nothing but the size can be what is refused.
    claimed[29:33] = zlib.crc32(claimed[12:29]).to_bytes(4, "big")
    with pytest.raises(SketchError, match="million pixels"):
        image_files.open_image(bytes(claimed))
    with pytest.raises(SketchError, match="30000 x 1000"):
        sketch.from_image(Image.new("1", (30_000, 1_000)))


def test_a_file_of_too_many_bytes_is_refused() -> None:
    with pytest.raises(SketchError, match="MiB"):
        image_files.open_image(bytes(image_files.MAX_BYTES + 1))


def moved(strokes: list, dx: float, dy: float, scale: float) -> list:
    return [[(x * scale + dx, y * scale + dy) for x, y in stroke] for stroke in strokes]


def drawn(strokes: list, width: float = PEN) -> torch.Tensor:
    digit = sketch.from_strokes(strokes, width)
    assert digit is not None
    assert digit.dtype == torch.uint8
    assert digit.shape == (28, 28)
    return digit


def test_strokes_are_brought_to_mnist_framing() -> None:
    digit = drawn(SEVEN)
    assert digit.max() == 255
    assert max(spans(digit)) == 20
    assert centre(digit) == pytest.approx((14, 14), abs=0.02)


def test_moving_strokes_changes_pixels_by_rounding_only() -> None:
    there = drawn(moved(SEVEN, 0.19, -0.13, 1))
    assert (there.int() - drawn(SEVEN).int()).abs().max() <= 1


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.2])
def test_scaling_strokes_changes_only_the_pen_within_its_range(scale: float) -> None:
    assert difference(drawn(moved(SEVEN, 0.1, 0.02, scale)), drawn(SEVEN)) < 16
    with_its_pen = drawn(moved(SEVEN, 0.1, 0.02, scale), PEN * scale)
    assert (with_its_pen.int() - drawn(SEVEN).int()).abs().max() <= 4


def test_the_order_and_direction_of_strokes_do_not_matter() -> None:
    backwards = [stroke[::-1] for stroke in SEVEN[::-1]]
    assert (drawn(backwards).int() - drawn(SEVEN).int()).abs().max() <= 8


def test_denser_points_draw_the_same_digit() -> None:
    dense = [
        [
            (ax + (bx - ax) * t / 50, ay + (by - ay) * t / 50)
            for (ax, ay), (bx, by) in itertools.pairwise(stroke)
            for t in range(51)
        ]
        for stroke in SEVEN
    ]
    assert (drawn(dense).int() - drawn(SEVEN).int()).abs().max() <= 4


def test_stroke_coverage_agrees_with_fine_sampling() -> None:
    digit = drawn([[(0.2, 0.2), (0.2, 0.8)]])
    pen = (digit[14].double() / 255).sum()
    assert sketch.THINNEST_PEN - 0.1 <= pen <= sketch.THICKEST_PEN + 0.1
    # The cap at the end is half a disc, sampled here at 1/16 pixel.
    fine = (torch.arange(28 * 16) + 0.5) / 16
    y, x = torch.meshgrid(fine, fine, indexing="ij")
    half = (20 - float(pen)) / 2
    beyond = ((y - 14.5).abs() - half).clamp(min=0)
    disc = (torch.hypot(x - 14.5, beyond) <= float(pen) / 2).double()
    covered = disc.reshape(28, 16, 28, 16).mean(dim=(1, 3))
    assert (covered - digit.double() / 255).abs().max() < 0.15
    assert covered.sum() == pytest.approx(float(digit.double().sum() / 255), rel=0.02)


def test_a_tap_is_a_dot() -> None:
    for tap in ([[(0.3, 0.7)]], [[(0.3, 0.7), (0.302, 0.701)]]):
        height, width = spans(drawn(tap))
        assert 2 <= height <= 5
        assert 2 <= width <= 5


def test_no_strokes_are_blank() -> None:
    assert sketch.from_strokes([], PEN) is None


@pytest.mark.parametrize(
    "strokes",
    [
        None,
        7,
        "drawing",
        {"strokes": []},
        [[]],
        [7],
        ["ab"],
        [None],
        [[(0.1, 0.2), (0.3,)]],
        [[(0.1, 0.2, 0.3)]],
        [[("0.1", "0.2")]],
        [[(0.1, None)]],
        [[(0.1, float("nan"))]],
        [[(0.1, float("inf"))]],
        [[(0.1, 10**400)]],
        [[(0.1, 1.5)]],
        [[(-0.2, 0.5)]],
        [[(True, False)]],
        [[(0.1, 0.1)]] * (sketch.MAX_STROKES + 1),
        [[(0.1, 0.1)] * (sketch.MAX_POINTS + 1)],
    ],
)
def test_unusable_strokes_are_refused_in_one_sentence(strokes: object) -> None:
    with pytest.raises(SketchError) as caught:
        sketch.from_strokes(strokes, PEN)  # type: ignore[arg-type]
    assert str(caught.value).count(". ") == 0


@pytest.mark.parametrize("width", [0, -1, 0.6, float("nan"), "0.1", None])
def test_an_unusable_pen_is_refused(width: object) -> None:
    with pytest.raises(SketchError, match="width"):
        sketch.from_strokes(SEVEN, width)  # type: ignore[arg-type]


def test_the_longest_allowed_sketch_is_read() -> None:
    corners = [(i % 2, (i // 2) % 2) for i in range(sketch.MAX_POINTS)]
    assert sketch.from_strokes([corners], PEN) is not None


def blob(top: int, left: int, height: int, width: int, value: int = 255) -> torch.Tensor:
    image = torch.zeros(28, 28, dtype=torch.uint8)
    image[top : top + height, left : left + width] = value
    return image


def test_mnist_framing_has_a_longest_side_of_20_and_centred_mass() -> None:
    framed = framing.frame_mnist(torch.stack([blob(1, 1, 10, 4), blob(2, 3, 12, 24)]))
    for image in framed:
        assert max(spans(image)) == 20
        assert centre(image) == pytest.approx((14, 14), abs=0.51)
        assert image.max() > 250


def test_images_in_mnist_framing_keep_every_pixel() -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.zeros(50, 28, 28, dtype=torch.uint8)
    for image in images:
        image[4:24, 7:22] = torch.randint(40, 256, (20, 15), generator=random).byte()
    framed = framing.frame_mnist(images)
    again = framing.frame_mnist(framed)
    assert torch.equal(again, framed)
    moved_back = framing.frame_mnist(torch.roll(framed, (2, -3), dims=(1, 2)))
    assert torch.equal(moved_back, framed)


def test_emnist_framing_has_a_border_of_two_pixels_and_a_centred_box() -> None:
    framed = framing.frame_emnist(torch.stack([blob(1, 1, 10, 4), blob(2, 3, 12, 24)]))
    for image in framed:
        assert max(image[:2].max(), image[-2:].max()) <= 2
        assert max(image[:, :2].max(), image[:, -2:].max()) <= 2
        assert 22 <= max(spans(image)) <= 24
        assert torch.equal(image, image.flip(0))
        assert torch.equal(image, image.flip(1))


@pytest.mark.parametrize("frame", [framing.frame_mnist, framing.frame_emnist])
def test_blank_images_stay_blank_among_others(frame) -> None:
    images = torch.stack([torch.zeros(28, 28), blob(3, 3, 9, 9), torch.zeros(28, 28)]).byte()
    framed = frame(images)
    assert framed.dtype == torch.uint8
    assert [bool(image.any()) for image in framed] == [False, True, False]
    assert frame(images[:0]).shape == (0, 28, 28)


@pytest.mark.parametrize("frame", [framing.frame_mnist, framing.frame_emnist])
def test_framing_a_batch_equals_framing_one_by_one(frame) -> None:
    images = torch.stack([blob(i, 2, 5 + i, 9, 200 + i) for i in range(12)])
    assert torch.equal(frame(images), torch.cat([frame(image[None]) for image in images]))


# On real digits, with a reader that needs no training worth the name.


def digits(folder: Path, split: str, first: int) -> tuple[torch.Tensor, torch.Tensor]:
    def content(kind: str, header: int) -> torch.Tensor:
        data = gzip.decompress((folder / f"{split}-{kind}.gz").read_bytes())
        return torch.frombuffer(bytearray(data), dtype=torch.uint8)[header:]

    images = content("images-idx3-ubyte", 16).reshape(-1, 28, 28)[:first]
    return images, content("labels-idx1-ubyte", 8)[:first]


@pytest.fixture(scope="module")
def reader(real_data: Path):
    """Reads each image as the nearest, by cosine, of 6,000 MNIST training images."""
    known, labels = digits(real_data / "mnist", "train", 6_000)
    table = torch.nn.functional.normalize(known.flatten(1).float(), dim=1)

    def share_right(images: torch.Tensor, truth: torch.Tensor) -> float:
        nearest = (images.flatten(1).float() @ table.T).argmax(dim=1)
        return float((labels[nearest] == truth).float().mean())

    return share_right


def test_mnist_itself_is_in_mnist_framing(real_data: Path) -> None:
    images, _ = digits(real_data / "mnist", "t10k", 2_000)
    changed = (framing.frame_mnist(images).int() - images.int()).abs().flatten(1).amax(dim=1)
    assert (changed <= framing.FAINT).float().mean() > 0.99


def test_digits_are_read_far_better_once_framed(real_data: Path, reader) -> None:
    images, truth = digits(real_data / "femnist-digits", "test", 1_000)
    as_they_are = reader(images, truth)
    assert reader(framing.frame_mnist(images), truth) > max(0.9, as_they_are + 0.2)
    assert reader(framing.frame_emnist(images), truth) > as_they_are


@pytest.mark.long
def test_enlarged_moved_and_recoloured_test_digits_keep_their_class(
    real_data: Path, reader
) -> None:
    images, truth = digits(real_data / "mnist", "t10k", 60)
    random = np.random.default_rng(0)
    redrawn = []
    for image in images:
        side = int(random.integers(60, 200))
        page = Image.new("L", (side * 2, side * 2))
        digit = Image.fromarray(image.numpy()).resize((side, side), Image.Resampling.BICUBIC)
        page.paste(digit, tuple(int(random.integers(0, side)) for _ in range(2)))
        colours = [(20, 30, 90), (240, 235, 220)]
        ground, ink = colours if random.random() < 0.5 else colours[::-1]
        redrawn.append(
            read(Image.composite(*(Image.new("RGB", page.size, c) for c in (ink, ground)), page))
        )
    assert reader(torch.stack(redrawn), truth) > reader(images, truth) - 0.02


def test_strangers_digits_are_read_better_through_the_sketch_path(real_data: Path, reader) -> None:
    images, truth = digits(real_data / "drawn-digits", "test", 600)
    framed = torch.stack([read(Image.fromarray(image.numpy())) for image in images])
    assert reader(framed, truth) > max(0.9, reader(images, truth) + 0.05)
