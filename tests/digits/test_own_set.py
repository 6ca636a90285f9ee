"""A person's own digits: every accepted layout, and one sentence for everything else."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from digitcnn.digits import sketch
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.framing import frame_emnist, frame_mnist
from digitcnn.digits.idx import write_idx
from digitcnn.digits.own_set import read_own_set
from digitcnn.digits.own_values import WORDS
from digitcnn.errors import DigitCNNError


@pytest.fixture(scope="module")
def few(drawn: DigitSet) -> DigitSet:
    """24 digits, most of the ten among them."""
    return drawn.take(slice(0, 24))


def save_npz(path: Path, digits: DigitSet, **changed: Any) -> Path:
    arrays = {"images": digits.images.numpy(), "labels": digits.labels.numpy(), **changed}
    np.savez_compressed(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def same(actual: DigitSet, expected: DigitSet) -> bool:
    return torch.equal(actual.images, expected.images) and torch.equal(
        actual.labels, expected.labels
    )


def lay_images(folder: Path, digits: DigitSet, zoom: int = 1, *, dark: bool = True) -> Path:
    """A PNG per digit in a folder by its name, in the order of the set within each digit."""
    for index, (image, label) in enumerate(zip(digits.images, digits.labels, strict=True)):
        place = folder / str(int(label))
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.kron(image.numpy(), np.ones((zoom, zoom), np.uint8))
        Image.fromarray(255 - pixels if dark else pixels).save(place / f"{index:03}.png")
    return folder


def refusal(path: Path, framing: str = "none", split: str = "test") -> str:
    with pytest.raises(DigitCNNError) as refused:
        read_own_set(path, "mine", split, framing)
    text = str(refused.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


# Accepted


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("stem", ["test", "t10k"])
def test_an_idx_pair_is_read_by_its_folder_and_by_its_images_file(
    tmp_path: Path, few: DigitSet, stem: str, ending: str
) -> None:
    images = tmp_path / f"{stem}-images-idx3-ubyte{ending}"
    write_idx(images, few.images)
    write_idx(tmp_path / f"{stem}-labels-idx1-ubyte", few.labels)
    for path in (tmp_path, images):
        own = read_own_set(path, "mine", "test")
        assert same(own.digit_set, few)
        assert (own.digit_set.name, own.digit_set.split, own.inverted) == ("mine", "test", False)


def test_the_split_chooses_among_several_pairs(tmp_path: Path, few: DigitSet) -> None:
    for split, part in (("train", few.take(slice(0, 9))), ("test", few.take(slice(9, 24)))):
        write_idx(tmp_path / f"{split}-images-idx3-ubyte", part.images)
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte", part.labels)
    assert len(read_own_set(tmp_path, "mine", "train").digit_set) == 9
    assert len(read_own_set(tmp_path, "mine", "test").digit_set) == 15


def test_files_named_as_emnists_are_transposed_upright(tmp_path: Path, few: DigitSet) -> None:
    write_idx(tmp_path / "emnist-mnist-test-images-idx3-ubyte", few.images.transpose(1, 2))
    write_idx(tmp_path / "emnist-mnist-test-labels-idx1-ubyte", few.labels)
    assert same(read_own_set(tmp_path, "mine", "test").digit_set, few)


@pytest.mark.parametrize("kind", ["uint8", "int64", "float32", "float64", "fractions", "Fortran"])
def test_an_npz_of_any_number_type_gives_the_same_images(
    tmp_path: Path, few: DigitSet, kind: str
) -> None:
    images = few.images.numpy()
    if kind == "fractions":
        images = (images / 255).astype(np.float32)
    elif kind == "Fortran":
        images = np.asfortranarray(images)
    else:
        images = images.astype(kind)
    path = save_npz(tmp_path / "digits.npz", few, images=images, labels=few.labels.numpy() * 1.0)
    assert same(read_own_set(path, "mine", "test").digit_set, few)


def test_dark_ink_on_light_is_inverted_for_the_whole_set(tmp_path: Path, few: DigitSet) -> None:
    path = save_npz(tmp_path / "dark.npz", few, images=255 - few.images.numpy())
    own = read_own_set(path, "mine", "test")
    assert own.inverted is True
    assert same(own.digit_set, few)


def test_an_image_full_of_ink_does_not_turn_the_set(tmp_path: Path, few: DigitSet) -> None:
    images = few.images.clone()
    images[3] = 255
    own = read_own_set(save_npz(tmp_path / "d.npz", few, images=images.numpy()), "mine", "test")
    assert own.inverted is False
    assert torch.equal(own.digit_set.images, images)


def test_image_files_of_28x28_are_kept_and_inverted(tmp_path: Path, few: DigitSet) -> None:
    own = read_own_set(lay_images(tmp_path, few), "mine", "test")
    order = torch.argsort(few.labels.long(), stable=True)
    assert own.inverted is True
    assert same(own.digit_set, few.take(order))


@pytest.mark.parametrize("dark", [True, False])
def test_larger_image_files_go_through_the_sketch_path(
    tmp_path: Path, few: DigitSet, dark: bool
) -> None:
    folder = lay_images(tmp_path, few, zoom=5, dark=dark)
    (folder / "5" / ".DS_Store").write_bytes(b"litter")
    own = read_own_set(folder, "mine", "test", "mnist")
    assert own.inverted is None
    paths = [path for digit in range(10) for path in sorted((folder / str(digit)).glob("*.png"))]
    expected = [sketch.from_image(Image.open(path)) for path in paths]
    assert torch.equal(own.digit_set.images, torch.stack([e for e in expected if e is not None]))
    assert own.digit_set.labels.tolist() == sorted(few.labels.tolist())


@pytest.mark.parametrize("framing", ["mnist", "emnist"])
@pytest.mark.parametrize("dark", [True, False])
def test_a_set_of_28x28_is_framed_as_digit_sets_are(
    tmp_path: Path, few: DigitSet, framing: str, dark: bool
) -> None:
    images = few.images.numpy()
    path = save_npz(tmp_path / "d.npz", few, images=255 - images if dark else images)
    frame = frame_mnist if framing == "mnist" else frame_emnist
    own = read_own_set(path, "mine", "test", framing)
    assert torch.equal(own.digit_set.images, frame(few.images))


@pytest.mark.parametrize("dark", [True, False])
def test_digits_cropped_to_their_ink_are_framed_like_uncropped_ones(
    tmp_path: Path, few: DigitSet, dark: bool
) -> None:
    """Where ink fills the border, one image alone cannot tell ink from paper; the set can."""
    cut = few.images[:, 4:24, 4:24].repeat_interleave(2, 1).repeat_interleave(2, 2).numpy()
    cut[0] = 255 - cut[0].min()
    cut[0, 15:25, 15:25] = 0  # a thick frame of ink around a little paper
    path = save_npz(tmp_path / "cut.npz", few, images=255 - cut if dark else cut)
    seen: list[tuple[int, int]] = []
    own = read_own_set(path, "mine", "test", "mnist", lambda *done: seen.append(done))
    assert own.inverted is dark
    assert seen == [(done, 24) for done in range(1, 25)]
    framed = own.digit_set.images
    assert framed[0, 14, 14] < 64 < 192 < framed[0, 14, 6]
    uncut = torch.zeros_like(few.images)
    uncut[:, 4:24, 4:24] = few.images[:, 4:24, 4:24]
    near = frame_mnist(uncut).float()
    likeness = [
        float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])
        for a, b in zip(framed[1:].float(), near[1:], strict=True)
    ]
    assert min(likeness) > 0.8


def test_grey_paper_is_cleared_by_framing(tmp_path: Path, few: DigitSet) -> None:
    grey = (few.images.numpy() * 0.6 + 60).astype(np.uint8)
    own = read_own_set(save_npz(tmp_path / "g.npz", few, images=grey), "mine", "test", "mnist")
    assert int(own.digit_set.images[:, 0].max()) == 0
    assert int(own.digit_set.images.amax(dim=(1, 2)).min()) == 255


def test_transpose_exchanges_rows_and_columns(tmp_path: Path, few: DigitSet) -> None:
    sideways = few.images.transpose(1, 2).numpy()
    path = save_npz(tmp_path / "d.npz", few, images=sideways)
    assert same(read_own_set(path, "mine", "test", transpose=True).digit_set, few)
    folder = lay_images(
        tmp_path / "images", DigitSet(torch.from_numpy(sideways), few.labels, "", "")
    )
    order = torch.argsort(few.labels.long(), stable=True)
    assert same(read_own_set(folder, "mine", "test", transpose=True).digit_set, few.take(order))


@pytest.mark.parametrize("nested", [False, True])
def test_kaggles_spelling_of_idx_files_is_read(tmp_path: Path, few: DigitSet, nested: bool) -> None:
    paths = []
    for name, values in (
        ("t10k-images.idx3-ubyte", few.images),
        ("t10k-labels.idx1-ubyte", few.labels),
    ):
        paths.append(tmp_path / name / name if nested else tmp_path / name)
        paths[-1].parent.mkdir(exist_ok=True)
        write_idx(paths[-1], values)
    for path in (tmp_path, paths[0]):
        assert same(read_own_set(path, "mine", "test").digit_set, few)


SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "flat": lambda images: images.reshape(-1, 784),
    "channels last": lambda images: images[..., None],
    "channels first": lambda images: images[:, None],
    "colour": lambda images: np.stack([images] * 3, axis=-1),
    "colour, channels first": lambda images: np.stack([images] * 3, axis=1),
    "images last": lambda images: np.moveaxis(images, 0, -1),
    "flat, images last": lambda images: images.reshape(-1, 784).T,
    "fractions a rounding error above 1": lambda images: images / 255 * (1 + 1e-6),
    "fractions a rounding error below 0": lambda images: images / 255 - 1e-7,
    "16-bit floats": lambda images: (images / 255).astype(np.float16),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_unambiguous_shapes_and_ranges_of_images_are_read(
    tmp_path: Path, few: DigitSet, kind: str
) -> None:
    path = save_npz(tmp_path / "d.npz", few, images=SHAPES[kind](few.images.numpy()))
    assert same(read_own_set(path, "mine", "test").digit_set, few)


def test_truth_values_are_read_as_ink(tmp_path: Path, few: DigitSet) -> None:
    inked = few.images.numpy() > 127
    own = read_own_set(save_npz(tmp_path / "d.npz", few, images=inked), "mine", "test")
    assert torch.equal(own.digit_set.images, torch.from_numpy(inked) * torch.tensor(255).byte())


LABELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "a column": lambda labels: labels[:, None],
    "a row": lambda labels: labels[None],
    "int64": lambda labels: labels.astype(np.int64),
    "floats": lambda labels: labels.astype(np.float32),
    "one-hot": lambda labels: np.eye(10, dtype=np.float32)[labels],
    "one-hot truth values": lambda labels: np.eye(10, dtype=bool)[labels],
    "text": lambda labels: labels.astype(str),
    "words": lambda labels: np.array([f"{WORDS[label].title()} " for label in labels]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_unambiguous_labels_are_read(tmp_path: Path, few: DigitSet, kind: str) -> None:
    path = save_npz(tmp_path / "d.npz", few, labels=LABELS[kind](few.labels.numpy()))
    assert same(read_own_set(path, "mine", "test").digit_set, few)


@pytest.fixture
def parts(few: DigitSet) -> dict[str, DigitSet]:
    return {"train": few.take(slice(0, 9)), "test": few.take(slice(9, 24))}


def arrays(parts: dict[str, DigitSet], images: str, labels: str) -> dict[str, np.ndarray]:
    """Name the arrays of each split."""
    return {
        name.format(split): values.numpy()
        for split, part in parts.items()
        for name, values in ((images, part.images), (labels, part.labels))
    }


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("x_{}", "y_{}"),
        ("X_{}", "Y_{}"),
        ("{}_images", "{}_labels"),
        ("{}Images", "{}Labels"),
        ("x{}", "y{}"),
    ],
)
def test_the_split_chooses_among_the_arrays_of_an_npz(
    tmp_path: Path, parts: dict[str, DigitSet], images: str, labels: str
) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, **arrays(parts, images, labels))
    for split, part in parts.items():
        assert same(read_own_set(path, "mine", split).digit_set, part)
    np.savez(path, **arrays({"train": parts["train"]}, images, labels))
    assert "no test arrays but train" in refusal(path)


@pytest.mark.parametrize(
    ("images", "labels"), [("X", "y"), ("data", "target"), ("arr_0", "arr_1"), ("arr_1", "arr_0")]
)
def test_two_arrays_are_distinguished_by_name_or_shape(
    tmp_path: Path, few: DigitSet, images: str, labels: str
) -> None:
    np.savez(tmp_path / "d.npz", **{images: few.images.numpy(), labels: few.labels.numpy()})
    assert same(read_own_set(tmp_path / "d.npz", "mine", "test").digit_set, few)


def test_arrays_with_other_purposes_are_ignored(tmp_path: Path, few: DigitSet) -> None:
    path = tmp_path / "d.npz"
    names = np.array(list("0123456789"))
    np.savez(path, data=few.images.numpy(), target=few.labels.numpy(), target_names=names)
    assert same(read_own_set(path, "mine", "test").digit_set, few)


def test_npy_files_are_read_by_their_folder_or_by_the_images_file(
    tmp_path: Path, parts: dict[str, DigitSet]
) -> None:
    for name, values in arrays(parts, "x_{}", "y_{}").items():
        np.save(tmp_path / f"{name}.npy", values)
    for split, part in parts.items():
        for path in (tmp_path, tmp_path / f"x_{split}.npy"):
            assert same(read_own_set(path, "mine", split).digit_set, part)


def save_csv(path: Path, digits: DigitSet, header: str = "", *, label: bool = True) -> Path:
    columns = [digits.images.flatten(1).numpy()]
    if label:
        columns.insert(0, digits.labels[:, None].numpy())
    np.savetxt(path, np.hstack(columns), "%d", delimiter=",", header=header, comments="")
    return path


KAGGLE = ",".join(f"pixel{place}" for place in range(784))


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("train.csv", f"label,{KAGGLE}"),
        ("plain.csv", ""),
        ("pandas.csv", ",".join(str(place) for place in range(785))),
        ("named 1x1.csv", "label," + ",".join(f"{y}x{x}" for y in range(28) for x in range(28))),
        ("packed.csv.gz", f"label,{KAGGLE}"),
    ],
)
def test_a_csv_with_a_label_column_is_read(
    tmp_path: Path, few: DigitSet, name: str, header: str
) -> None:
    path = save_csv(tmp_path / name, few, header)
    for source in (path, tmp_path):
        assert same(read_own_set(source, "mine", "train").digit_set, few)


def test_a_csv_with_the_label_last_and_an_index_is_read(tmp_path: Path, few: DigitSet) -> None:
    pixels, labels = few.images.flatten(1).numpy(), few.labels[:, None].numpy()
    table = np.hstack([np.arange(24)[:, None], pixels, labels])
    header = f";{KAGGLE.replace(',', ';')};class"
    path = tmp_path / "d.csv"
    np.savetxt(path, table, "%d", delimiter=";", header=header, comments="", encoding="utf-8-sig")
    assert same(read_own_set(path, "mine", "test").digit_set, few)


def test_the_split_chooses_among_csv_files(tmp_path: Path, few: DigitSet) -> None:
    save_csv(tmp_path / "mnist_train.csv", few.take(slice(0, 9)))
    save_csv(tmp_path / "mnist_test.csv", few.take(slice(9, 24)))
    assert len(read_own_set(tmp_path, "mine", "train").digit_set) == 9
    assert len(read_own_set(tmp_path, "mine", "test").digit_set) == 15


@pytest.mark.parametrize("header", ["", KAGGLE])
def test_a_csv_without_labels_is_refused_with_that_reason(
    tmp_path: Path, few: DigitSet, header: str
) -> None:
    path = save_csv(tmp_path / "test.csv", few, header, label=False)
    assert "no column of labels" in refusal(path)


def test_image_folders_are_named_by_digit_or_word(tmp_path: Path, few: DigitSet) -> None:
    folder = lay_images(tmp_path, few)
    expected = read_own_set(folder, "mine", "test").digit_set
    for digit, name in ((0, "Zero"), (2, "02"), (5, "FIVE"), (7, "seven"), (8, "digit_8")):
        if (folder / str(digit)).exists():
            (folder / str(digit)).rename(folder / name)
    (folder / "__MACOSX").mkdir()
    actual = read_own_set(folder, "mine", "test").digit_set
    assert sorted(actual.labels.tolist()) == sorted(expected.labels.tolist())
    assert sorted(image.numpy().tobytes() for image in actual.images) == sorted(
        image.numpy().tobytes() for image in expected.images
    )


@pytest.mark.parametrize("names", ["{}", "{}ing", "mnist/{}", "{}Set/{}Set"])
def test_nested_folders_of_splits_are_read(tmp_path: Path, few: DigitSet, names: str) -> None:
    for split, part in (("train", few.take(slice(0, 9))), ("test", few.take(slice(9, 24)))):
        lay_images(tmp_path / names.format(split, split), part)
    assert len(read_own_set(tmp_path, "mine", "train").digit_set) == 9
    assert len(read_own_set(tmp_path, "mine", "test", "mnist").digit_set) == 15


def test_a_split_that_only_other_folders_have_is_named(tmp_path: Path, few: DigitSet) -> None:
    lay_images(tmp_path / "train", few)
    assert "has no test images but train" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("d.parquet", b"PAR1....", "save it as .csv or .npz"),
        ("d.pkl", b"\x80\x04\x95....", "could run code"),
        ("d.h5", b"\x89HDF\r\n....", "HDF5"),
        ("d.mat", b"MATLAB 5.0 MAT-file", "MATLAB"),
        ("d.bin", bytes(range(200)), "neither an .npz, a CSV nor"),
        ("d.csv", b"label,a\nx,y\n", "not a table of numbers"),
        ("d.csv", b"1,2,3\n1,2\n", "not a table of numbers"),
        ("d.csv", b"label,pixel0\n", "has no rows of numbers"),
        ("d.csv", b"\xff\xfe1,2", "not a text file in UTF-8"),
        ("d.npz", b"", "may be truncated"),
        ("d.npy", b"\x93NUMPY\x01\x00", "may be truncated"),
    ],
)
def test_other_files_are_refused_with_the_conversion_that_helps(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert expected in refusal(tmp_path / name)


def test_a_ragged_table_is_refused_without_the_parsers_advice(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes(b"1,2,3\n1,2\n")
    assert refusal(tmp_path / "d.csv").endswith(
        "is not a table of numbers (the number of columns changed from 3 to 2 at row 2); save a "
        "row per image: label, pixels."
    )


def test_a_zip_of_other_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("7/a.png", b"image")
    assert "unpack it" in refusal(tmp_path / "images.zip")


# Refused


@pytest.mark.parametrize("framing", ["none", "mnist"])
def test_a_missing_path_is_reported(tmp_path: Path, framing: str) -> None:
    assert "Nothing was found at" in refusal(tmp_path / "gone.npz", framing)
    assert "neither test-images-idx3-ubyte nor subfolders" in refusal(tmp_path, framing)
    (tmp_path / "7").mkdir()
    assert "are empty" in refusal(tmp_path, framing)


def test_other_sizes_need_a_framing(tmp_path: Path, few: DigitSet) -> None:
    path = save_npz(tmp_path / "small.npz", few, images=few.images[:, 4:24, 4:24].numpy())
    assert "20x20" in refusal(path)
    assert "use --frame mnist or emnist" in refusal(path)
    assert "56x56" in refusal(lay_images(tmp_path / "images", few, zoom=2))
    assert "none, mnist, emnist" in refusal(path, "square")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"images": None}, "has no images (it has labels [24])"),
        ({"labels": None}, "has no labels"),
        ({"labels": np.arange(23) % 10}, "24 images but 23 labels"),
        ({"labels": np.full(24, 10)}, "whole numbers from 0 to 9"),
        ({"labels": np.full(24, -1)}, "whole numbers from 0 to 9"),
        ({"labels": np.full(24, 0.5)}, "whole numbers from 0 to 9"),
        ({"labels": np.full(24, np.nan)}, "whole numbers from 0 to 9"),
        ({"labels": np.full((24, 10), 0.1)}, "labels.argmax(axis=1)"),
        ({"labels": np.zeros((24, 2))}, "one-hot [images, 10]"),
        ({"labels": np.arange(24) % 10 + 1}, "with 0 instead of 10"),
        ({"labels": np.array(["ten"] * 24)}, "contains 'ten'"),
        ({"images": np.zeros((24, 700), np.uint8)}, "[24, 700]"),
        ({"images": np.zeros((24, 28, 28, 2), np.uint8)}, "[24, 28, 28, 2]"),
        ({"y": np.zeros(24)}, "several labels"),
        ({"images": np.zeros((0, 28, 28), np.uint8)}, "[0, 28, 28]"),
        ({"images": np.full((24, 28, 28), 7, np.uint8)}, "values 7 to 7"),
        ({"images": np.full((24, 28, 28), -1.0)}, "save (images + 1) / 2"),
        ({"images": np.linspace(0, 1.5, 24 * 784).reshape(24, 784)}, "save images / images.max()"),
        ({"images": np.full((24, 28, 28), np.nan)}, "not finite"),
        ({"images": np.full((24, 28, 28), 256)}, "values from 256 to 256"),
        ({"images": np.full((24, 28, 28), 60_000)}, "save images / 257"),
        ({"images": np.linspace(-0.4, 2.8, 24 * 784).reshape(24, 784)}, "images * std + mean"),
        ({"images": np.full((24, 28, 28), "x")}, "where numbers are expected"),
        ({"images": np.full((24, 28, 28), 1j)}, "where numbers are expected"),
        ({"images": np.zeros((24, 28, 28), "M8[s]")}, "where numbers are expected"),
        ({"images": np.zeros((24, 28, 28), [("a", "u1")])}, "where numbers are expected"),
    ],
)
def test_an_unusable_npz_gives_one_sentence(
    tmp_path: Path, few: DigitSet, changed: dict[str, Any], expected: str
) -> None:
    assert expected in refusal(save_npz(tmp_path / "d.npz", few, **changed))


def test_objects_in_an_npz_are_never_unpickled(tmp_path: Path, few: DigitSet) -> None:
    marker = tmp_path / "ran"

    class Marks:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    path = save_npz(tmp_path / "d.npz", few, labels=np.array([Marks()] * 24, dtype=object))
    assert "object where numbers are expected" in refusal(path)
    assert not marker.exists()


def npy(header: str, content: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header.encode("latin-1") + content


def header(shape: object, descr: object = "|u1") -> str:
    return repr({"descr": descr, "fortran_order": False, "shape": shape})


def zipped(path: Path, images: bytes, packing: int = zipfile.ZIP_DEFLATED) -> Path:
    labels = io.BytesIO()
    np.save(labels, np.zeros(1, np.uint8))
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("images.npy", images)
        archive.writestr("labels.npy", labels.getvalue())
    return path


@pytest.mark.parametrize(
    "images",
    [
        npy(header((100_000, 100_000, 100_000))),
        npy(header((2**62, 2**62, 2**62))),
        npy(header((-1, 28, 28)), bytes(784)),
        npy(header((1, 28, 28)), bytes(783)),
        npy(header((1, 28, 28)), bytes(785)),
        npy(header((1.5, 28, 28)), bytes(784)),
        npy(header("shape"), bytes(784)),
        npy(header((1, 28, 28), "no such type"), bytes(784)),
        npy(header((1, 28, 28), 5), bytes(784)),
        npy(header((1, 28, 28), [("a", "|O")]), bytes(784)),
        npy("__import__('os').system('true')"),
        npy("(" * 5000),
        npy("{'descr': '|u1'}"),
        npy("'" + "x" * 20_000 + "'"),
        npy(header((1, 28, 28)), bytes(784), version=(2, 0)),
        npy(header((1, 28, 28)), bytes(784), version=(9, 9)),
        b"",
        b"\x93NUMPY\x01\x00",
        b"no array at all",
    ],
)
def test_a_forged_array_gives_one_sentence_and_takes_no_memory(
    tmp_path: Path, images: bytes
) -> None:
    path = zipped(tmp_path / "forged.npz", images)
    tracemalloc.start()
    try:
        assert "forged.npz" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    n = 200_000
    path = zipped(tmp_path / "bomb.npz", npy(header((n, 28, 28)), bytes(n * 784)))
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    try:
        assert "unpacks from" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_compressions_that_numpy_does_not_use_are_refused(tmp_path: Path) -> None:
    for packing in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = zipped(tmp_path / "d.npz", npy(header((1, 28, 28)), bytes(784)), packing)
        assert "compressed in a way" in refusal(path)


def test_a_truncated_or_changed_npz_gives_one_sentence(tmp_path: Path, few: DigitSet) -> None:
    whole = save_npz(tmp_path / "whole.npz", few).read_bytes()
    path = tmp_path / "broken.npz"
    for end in range(0, len(whole), len(whole) // 20):
        path.write_bytes(whole[:end])
        assert "broken.npz" in refusal(path)
    refused = 0
    for place in range(30, len(whole), len(whole) // 60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        expected = ""
        try:
            read = read_own_set(path, "mine", "test").digit_set
        except DigitCNNError as error:
            expected = str(error)
        assert "broken.npz" in expected if expected else same(read, few)
        refused += expected != ""
    assert refused > 40


@pytest.mark.parametrize("damage", ["no labels", "cut", "swapped", "letters", "odd name", "two"])
def test_a_damaged_idx_pair_gives_one_sentence(tmp_path: Path, few: DigitSet, damage: str) -> None:
    images, labels = tmp_path / "x-images-idx3-ubyte", tmp_path / "x-labels-idx1-ubyte"
    write_idx(images, few.images)
    write_idx(labels, few.labels + (17 if damage == "letters" else 0))
    if damage == "no labels":
        labels.unlink()
        assert "x-labels-idx1-ubyte is missing" in refusal(images)
    elif damage == "cut":
        images.write_bytes(images.read_bytes()[:-5])
        assert "is truncated" in refusal(tmp_path)
    elif damage == "swapped":
        first, second = images.read_bytes(), labels.read_bytes()
        images.write_bytes(gzip.compress(second))
        labels.write_bytes(first)
        assert "holds labels where images are expected" in refusal(tmp_path)
    elif damage == "letters":
        assert "labels must be 0 to 9" in refusal(tmp_path)
    elif damage == "odd name":
        assert "not named like an IDX images file" in refusal(
            images.rename(tmp_path / "digits.bin")
        )
    else:
        write_idx(tmp_path / "y-images-idx3-ubyte", few.images)
        assert "several files of images (x, y)" in refusal(tmp_path)


@pytest.mark.parametrize("framing", ["none", "mnist"])
def test_a_file_that_is_not_an_image_is_named(tmp_path: Path, few: DigitSet, framing: str) -> None:
    folder = lay_images(tmp_path, few)
    (folder / "5" / "notes.txt").write_text("not a picture")
    assert "notes.txt: This image cannot be read" in refusal(folder, framing)
    (folder / "5" / "notes.txt").unlink()
    (folder / "5" / "more").mkdir()
    assert "more is not an image" in refusal(folder, framing)
    (folder / "5" / "more").rmdir()
    (folder / "12").mkdir()
    assert "subfolder '12'" in refusal(folder, framing)


def test_a_blank_image_is_named_where_it_would_be_framed(tmp_path: Path, few: DigitSet) -> None:
    folder = lay_images(tmp_path, few)
    Image.new("L", (40, 40), 255).save(folder / "2" / "blank.png")
    assert "blank.png is blank" in refusal(folder, "mnist")
    images = few.images.repeat_interleave(2, 1).repeat_interleave(2, 2).numpy()
    images[4] = 0
    path = save_npz(tmp_path / "d.npz", few, images=images)
    assert "Image 4 of" in refusal(path, "mnist")


# Added to the data folder


def test_an_added_set_is_like_any_other(tmp_path: Path, few: DigitSet) -> None:
    catalog = Catalog(tmp_path / "data")
    own = read_own_set(save_npz(tmp_path / "d.npz", few), "mine", "test").digit_set
    assert catalog.add(own) == tmp_path / "data" / "mine"
    assert catalog.has("mine", "test")
    assert catalog.open("mine", "test").fingerprint == few.fingerprint
    assert not catalog.has("mine", "train")
    training = DigitSet(few.images, few.labels, "mine", "train")
    catalog.add(training)
    assert catalog.has("mine", "train")
    assert not [path.name for path in (tmp_path / "data" / "mine").glob(".*")]


@pytest.mark.parametrize("split", ["train", "test"])
def test_nothing_is_ever_written_over(tmp_path: Path, few: DigitSet, split: str) -> None:
    catalog = Catalog(tmp_path)
    first = DigitSet(few.images, few.labels, "mine", split)
    catalog.add(first)
    before = {path: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    with pytest.raises(DigitCNNError, match=f"has {split} digits already"):
        catalog.add(DigitSet(255 - few.images, few.labels, "mine", split))
    assert {path: path.read_bytes() for path in (tmp_path / "mine").iterdir()} == before
    (tmp_path / "lone").mkdir()
    (tmp_path / "lone" / f"{split}-labels-idx1-ubyte").write_bytes(b"somebody's")
    with pytest.raises(DigitCNNError, match="labels-idx1-ubyte"):
        catalog.add(DigitSet(few.images, few.labels, "lone", split))


@pytest.mark.parametrize(
    "name",
    [
        *("mnist", "Mnist", "EMNIST", "synthetic"),
        *("../up", "", ".hidden", "x" * 61, "a\nb"),
    ],
)
def test_a_reserved_or_invalid_name_is_refused(tmp_path: Path, few: DigitSet, name: str) -> None:
    catalog = Catalog(tmp_path / "data")
    with pytest.raises(DigitCNNError, match=r"choose another name|cannot be a folder's"):
        catalog.add(DigitSet(few.images, few.labels, name, "test"))
    assert not (tmp_path / "data").exists()


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, few: DigitSet) -> None:
    catalog = Catalog(tmp_path)
    (tmp_path / "mine").write_text("a file")
    with pytest.raises(DigitCNNError, match="is a file"):
        catalog.add(DigitSet(few.images, few.labels, "mine", "test"))
    assert (tmp_path / "mine").read_text() == "a file"
    half = SimpleNamespace(name="half", split="test", labels=few.labels, images=None)
    with pytest.raises(AttributeError):
        catalog.add(cast(DigitSet, half))
    (tmp_path / "flat").write_text("a file")
    flat = Catalog(tmp_path / "flat")
    with pytest.raises(DigitCNNError, match="cannot be written to"):
        flat.add(DigitSet(few.images, few.labels, "mine", "test"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".half.lock",
        "flat",
        "mine",
    ]
