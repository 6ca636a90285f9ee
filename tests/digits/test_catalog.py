"""Digit sets in every layout, damaged ones, the cache, live sets, listing and downloads."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from digitcnn.digits import synthetic
from digitcnn.digits.catalog import Catalog, LiveSet
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.idx import write_idx
from digitcnn.digits.names import GENERATED, GENERATED_IMAGES
from digitcnn.digits.set_download import download
from digitcnn.digits.set_files import LAYOUTS
from digitcnn.digits.sources import SOURCES
from digitcnn.digits.transfer import DownloadProgress
from digitcnn.errors import DigitCNNError, DigitSetError, DownloadError, FeedbackError

KNOWN = [
    ("mnist", "train"),
    ("mnist", "test"),
    ("emnist-digits", "train"),
    ("emnist-digits", "test"),
    ("usps", "test"),
    ("synthetic", "train"),
    ("synthetic", "test"),
    ("synthetic-other-writers", "train"),
    ("synthetic-other-writers", "test"),
]


def digits(n: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 28, 28), dtype=torch.uint8, generator=generator)
    return images, (torch.arange(n) % 10).to(torch.uint8)


def put(folder: Path, stem: str, n: int = 6, end: str = ".gz", seed: int = 0) -> None:
    """A pair of files as published, with ``n`` images."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = digits(n, seed)
    write_idx(folder / f"{stem}-images-idx3-ubyte{end}", images)
    write_idx(folder / f"{stem}-labels-idx1-ubyte{end}", labels)


@dataclass
class FakeSource:
    """Puts ``n`` images into the folder; ``fetched`` are the splits that were requested."""

    n: int = 6
    published: bool = True
    splits: tuple[str, ...] = ("train", "test")
    problem: Exception | None = None
    fetched: list[str] = field(default_factory=list)

    def fetch(self, split: str, folder: Path, timeout: float) -> Iterator[DownloadProgress]:
        self.fetched.append(split)
        yield DownloadProgress("images", 1, 2, "half")
        if self.problem is not None:
            raise self.problem
        put(folder, LAYOUTS["mnist"].stems[split][0], self.n)
        yield DownloadProgress("images", 2, 2, "whole")

    def is_published(self, split: str, images: Path, labels: Path) -> bool:
        assert images.exists()
        assert labels.exists()
        return self.published


# Open


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize(
    ("folder", "stem", "name", "split"),
    [
        ("mnist", "train", "mnist", "train"),
        ("mnist", "t10k", "mnist", "test"),
        ("MNIST/raw", "train", "mnist", "train"),
        ("MNIST/raw", "t10k", "mnist", "test"),
        ("usps", "test", "usps", "test"),
        ("mnist/MNIST/raw", "t10k", "mnist", "test"),
        (".", "train", "mnist", "train"),
        ("letters from grandma", "train", "letters from grandma", "train"),
        ("kuzushiji", "t10k", "kuzushiji", "test"),
    ],
)
def test_a_set_is_read_from_every_layout(
    tmp_path: Path, folder: str, stem: str, name: str, split: str, end: str
) -> None:
    put(tmp_path / folder, stem, end=end)
    opened = Catalog(tmp_path).open(name, split)
    images, labels = digits()
    assert opened.images.equal(images)
    assert opened.labels.equal(labels)
    assert (opened.name, opened.split) == (name, split)


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("folder", ["emnist-digits", "EMNIST/raw"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_emnist_is_transposed_upright(tmp_path: Path, folder: str, split: str, end: str) -> None:
    put(tmp_path / folder, f"emnist-digits-{split}", end=end)
    images, labels = digits()
    opened = Catalog(tmp_path).open("emnist-digits", split)
    # By hand: what the file calls a row is a column of the digit.
    for image, published in zip(opened.images, images, strict=True):
        for column, stored in enumerate(published):
            assert image[:, column].equal(stored)
    assert opened.images.is_contiguous()
    assert opened.labels.equal(labels)


def put_as_kaggle(folder: Path, stem: str, mark: str, *, nested: bool, end: str = "") -> None:
    """Lay a pair out as Kaggle does: ``.idx3``, or each file in a folder of its name."""
    put(folder, stem, end=end)
    for kind in ("images-idx3", "labels-idx1"):
        published = folder / f"{stem}-{kind}-ubyte{end}"
        path = folder / f"{stem}-{kind.replace('-', mark)}-ubyte{end}"
        if nested:
            content = published.read_bytes()
            published.unlink()
            path.mkdir()
            (path / path.name).write_bytes(content)
        else:
            published.rename(path)


@pytest.mark.parametrize(
    ("mark", "nested", "end"), [(".", False, ""), ("-", True, ""), (".", True, ".gz")]
)
@pytest.mark.parametrize(
    ("name", "stem", "split"),
    [("mnist", "train", "train"), ("mnist", "t10k", "test"), ("mine", "test", "test")],
)
def test_kaggles_spelling_and_folders_are_read(
    tmp_path: Path, name: str, stem: str, split: str, mark: str, nested: bool, end: str
) -> None:
    put_as_kaggle(tmp_path / name, stem, mark, nested=nested, end=end)
    catalog = Catalog(tmp_path)
    assert catalog.has(name, split)
    assert catalog.open(name, split).images.equal(digits()[0])


def test_a_plain_file_in_a_folder_named_as_its_gzip_is_read(tmp_path: Path) -> None:
    put(tmp_path / "mnist", "t10k", end="")
    for path in list((tmp_path / "mnist").iterdir()):
        folder = path.with_name(path.name + ".gz")
        folder.mkdir()
        path.rename(folder / path.name)
    assert len(Catalog(tmp_path).open("mnist", "test")) == 6


def test_the_sets_own_folder_has_precedence_over_torchvisions(tmp_path: Path) -> None:
    put(tmp_path / "mnist", "train", n=3)
    put(tmp_path / "MNIST" / "raw", "train", n=4)
    put(tmp_path / "MNIST" / "raw", "t10k", n=5)
    catalog = Catalog(tmp_path)
    assert len(catalog.open("mnist", "train")) == 3
    assert len(catalog.open("mnist", "test")) == 5


def test_an_incomplete_pair_does_not_hide_a_complete_one_elsewhere(tmp_path: Path) -> None:
    put(tmp_path / "mnist", "train", n=3)
    (tmp_path / "mnist" / "train-labels-idx1-ubyte.gz").unlink()
    put(tmp_path / "MNIST" / "raw", "train", n=4)
    assert len(Catalog(tmp_path).open("mnist", "train")) == 4


def test_generated_sets_need_no_folder(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "absent")
    opened = catalog.open("synthetic", "test")
    assert opened.fingerprint == synthetic.draw("synthetic", "test").fingerprint
    assert catalog.open("synthetic", "test") is opened
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("exists", [True, False])
def test_a_missing_known_set_names_the_remedy(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path if exists else tmp_path / "absent"
    with pytest.raises(DigitSetError) as caught:
        Catalog(folder).open("mnist", "train")
    assert f"mnist (train) was not found in {folder}" in str(caught.value)
    assert "`python -m digitcnn data download mnist`" in str(caught.value)
    assert "synthetic" in str(caught.value)


def test_the_download_hint_names_a_split_that_is_not_downloaded_by_default(tmp_path: Path) -> None:
    with pytest.raises(DigitSetError, match=r"data download emnist-digits --split train`"):
        Catalog(tmp_path).open("emnist-digits", "train")
    with pytest.raises(DigitSetError, match=r"data download emnist-digits`"):
        Catalog(tmp_path).open("emnist-digits", "test")


def test_an_unknown_set_lists_the_known_ones(tmp_path: Path) -> None:
    put(tmp_path / "my digits", "test")
    with pytest.raises(DigitSetError) as caught:
        Catalog(tmp_path).open("mnits", "test")
    for name in ("'mnits'", "mnist", "emnist-digits", "usps", *GENERATED, "my digits"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "",
        "folder/inside",
        "./plain",
        ".hidden",
        "MNIST",
        "\0",
        "x" * 10_000,
    ],
)
def test_a_name_is_never_used_as_a_path(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    for folder in ("../outside", "plain", ".hidden", "folder/inside", "MNIST/raw", "MNIST", "."):
        put(data / folder, "test")
    with pytest.raises(DigitSetError, match="Unknown digit set") as caught:
        Catalog(data).open(name, "test")
    assert len(str(caught.value)) < 400


def test_an_absolute_path_is_not_a_name(tmp_path: Path) -> None:
    put(tmp_path / "outside", "test")
    with pytest.raises(DigitSetError, match="Unknown digit set"):
        Catalog(tmp_path / "data").open(str(tmp_path / "outside"), "test")


@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        ("mnist", "validation", "Unknown split 'validation'; use train or test"),
        ("usps", "train", "usps has no train images; use test"),
        ("mine", "train", "mine has no train images in .*; use test"),
        ("synthetic", "Test", "Unknown split 'Test'"),
    ],
)
def test_a_missing_split_is_refused(tmp_path: Path, name: str, split: str, expected: str) -> None:
    put(tmp_path / "mine", "test")
    with pytest.raises(DigitSetError, match=expected):
        Catalog(tmp_path).open(name, split)


@pytest.mark.parametrize(("missing", "kind"), [("images", "idx3"), ("labels", "idx1")])
def test_the_missing_file_of_a_pair_is_named(tmp_path: Path, missing: str, kind: str) -> None:
    put(tmp_path / "mnist", "t10k")
    name = f"t10k-{missing}-{kind}-ubyte.gz"
    (tmp_path / "mnist" / name).unlink()
    with pytest.raises(DigitSetError, match=f"incomplete: {name} is missing from"):
        Catalog(tmp_path).open("mnist", "test")


def test_swapped_files_are_reported_as_swapped(tmp_path: Path) -> None:
    images, labels = digits()
    (tmp_path / "mnist").mkdir()
    write_idx(tmp_path / "mnist" / "t10k-images-idx3-ubyte", labels)
    write_idx(tmp_path / "mnist" / "t10k-labels-idx1-ubyte", images)
    with pytest.raises(DigitSetError, match="swap their names back"):
        Catalog(tmp_path).open("mnist", "test")


def test_mismatched_files_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "mnist", "train")
    write_idx(tmp_path / "mnist" / "train-labels-idx1-ubyte.gz", torch.zeros(5, dtype=torch.uint8))
    with pytest.raises(
        DigitSetError, match=r"6 images but .* has 5 labels; the files are mismatched"
    ):
        Catalog(tmp_path).open("mnist", "train")


# Keep


def test_an_opened_set_is_cached_until_its_files_change(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    put(tmp_path / "mnist", "train", n=6)
    first = catalog.open("mnist", "train")
    assert catalog.open("mnist", "train") is first
    put(tmp_path / "mnist", "train", n=6, seed=1)
    second = catalog.open("mnist", "train")
    assert second.images.equal(digits(6, seed=1)[0])
    assert catalog.open("mnist", "train") is second


def test_threads_share_one_object(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / name, "test", n=500)
    catalog = Catalog(tmp_path)
    together = threading.Barrier(8)

    def open_both(number: int) -> list[DigitSet]:
        together.wait()
        names = ("a", "b") if number % 2 else ("b", "a")
        return sorted((catalog.open(name, "test") for name in names), key=lambda s: s.name)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(open_both, range(8)))
    assert all(a is results[0][0] and b is results[0][1] for a, b in results)


def test_sets_beyond_the_memory_limit_are_read_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / name, "test", n=10)
    catalog = Catalog(tmp_path, cache_bytes=15 * 28 * 28)
    first = catalog.open("a", "test")
    assert catalog.open("a", "test") is first
    catalog.open("b", "test")
    again = catalog.open("a", "test")
    assert again is not first
    assert again.fingerprint == first.fingerprint


# Live sets


class Growing:
    """A live set of ``n`` digits, or one that fails."""

    def __init__(self) -> None:
        self.n = 0
        self.fault: DigitCNNError | None = None
        self.asked = 0
        self.live = LiveSet(self.count, self.read, "draw one")

    def count(self) -> int:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return self.n

    def read(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self.fault is not None:
            raise self.fault
        return (
            torch.zeros(self.n, 28, 28, dtype=torch.uint8),
            torch.arange(self.n).remainder(10).to(torch.uint8),
        )


def test_a_live_set_is_listed_once_it_has_images(tmp_path: Path) -> None:
    growing = Growing()
    put(tmp_path / "zoo", "test", n=9)
    catalog = Catalog(tmp_path, live={"drawings": growing.live})
    assert "drawings" not in [entry.name for entry in catalog.entries()]
    assert not catalog.has("drawings", "test")
    growing.n = 3
    assert [(e.name, e.split, e.n, e.present, e.path) for e in catalog.entries()][-2] == (
        "drawings",
        "test",
        3,
        True,
        None,
    )
    assert catalog.has("drawings", "test")
    assert not catalog.has("drawings", "train")


def test_a_live_set_is_read_each_time(tmp_path: Path) -> None:
    growing = Growing()
    catalog = Catalog(tmp_path, live={"drawings": growing.live})
    with pytest.raises(DigitSetError, match="drawings is empty; draw one"):
        catalog.open("drawings", "test")
    growing.n = 2
    first = catalog.open("drawings", "test")
    growing.n = 3
    second = catalog.open("drawings", "test")
    assert (len(first), len(second)) == (2, 3)
    assert first.fingerprint != second.fingerprint
    with pytest.raises(DigitSetError, match="has only a test split"):
        catalog.open("drawings", "train")


def test_a_live_set_that_fails_is_listed_with_its_problem(tmp_path: Path) -> None:
    growing = Growing()
    growing.fault = FeedbackError("The database is away; start it.")
    catalog = Catalog(tmp_path, live={"drawings": growing.live})
    (entry,) = [entry for entry in catalog.entries() if entry.name == "drawings"]
    assert (entry.present, entry.problem) == (False, "The database is away; start it.")
    with pytest.raises(DigitSetError, match="The database is away"):
        catalog.open("drawings", "test")


def test_checking_another_set_does_not_read_a_live_one(tmp_path: Path) -> None:
    growing = Growing()
    catalog = Catalog(tmp_path, live={"drawings": growing.live})
    assert catalog.has("synthetic", "test")
    assert growing.asked == 0


def test_the_name_of_a_live_set_is_reserved(tmp_path: Path) -> None:
    put(tmp_path / "drawings", "test", n=9)
    growing = Growing()
    catalog = Catalog(tmp_path, live={"drawings": growing.live})
    assert [entry.name for entry in catalog.entries()].count("drawings") == 0
    with pytest.raises(DigitSetError, match="choose another name"):
        catalog.check_new("Drawings", "test")


# List


def test_a_missing_data_folder_lists_the_known_sets_in_order(tmp_path: Path) -> None:
    entries = Catalog(tmp_path / "absent").entries()
    assert [(entry.name, entry.split) for entry in entries] == KNOWN
    for entry in entries:
        drawn = entry.name in GENERATED
        assert entry.present == drawn
        assert (entry.path is None) == drawn
        assert entry.n == (GENERATED_IMAGES[entry.split] if drawn else None)
        assert entry.problem is None


def test_available_sets_are_listed_with_count_and_folder(tmp_path: Path) -> None:
    put(tmp_path / "MNIST" / "raw", "train", n=7, end="")
    put(tmp_path / "emnist-digits", "emnist-digits-test", n=8)
    put(tmp_path / "zoo", "test", n=9)
    put(tmp_path / "attic", "train", n=10)
    put(tmp_path / "attic", "test", n=11)
    put(tmp_path / ".hidden", "test")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file").write_text("")
    entries = Catalog(tmp_path).entries()
    assert [(entry.name, entry.split) for entry in entries] == [
        *KNOWN,
        ("attic", "train"),
        ("attic", "test"),
        ("zoo", "test"),
    ]
    there = {(e.name, e.split): (e.n, e.path) for e in entries if e.present and e.path}
    assert there == {
        ("mnist", "train"): (7, tmp_path / "MNIST" / "raw"),
        ("emnist-digits", "test"): (8, tmp_path / "emnist-digits"),
        ("attic", "train"): (10, tmp_path / "attic"),
        ("attic", "test"): (11, tmp_path / "attic"),
        ("zoo", "test"): (9, tmp_path / "zoo"),
    }


def break_images(folder: Path, stem: str, kind: str) -> None:
    images = folder / f"{stem}-images-idx3-ubyte.gz"
    labels = folder / f"{stem}-labels-idx1-ubyte.gz"
    if kind == "cut":
        images.write_bytes(images.read_bytes()[:500])
    elif kind == "html":
        images.write_text("<html></html>")
    elif kind == "swapped":
        images.rename(folder / "x")
        labels.rename(images)
        (folder / "x").rename(labels)
    elif kind == "of other size":
        write_idx(images, torch.zeros(6, 16, 16, dtype=torch.uint8))
    elif kind == "too few labels":
        write_idx(labels, torch.zeros(5, dtype=torch.uint8))
    elif kind == "empty":
        write_idx(images, torch.zeros(0, 28, 28, dtype=torch.uint8))
        write_idx(labels, torch.zeros(0, dtype=torch.uint8))
    elif kind == "letters":
        write_idx(labels, torch.full((6,), 17, dtype=torch.uint8))
    elif kind == "half":
        labels.unlink()
    elif kind == "empty folder":
        images.unlink()
        images.mkdir()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cut", "truncated or damaged gzip"),
        ("html", "HTML page"),
        ("swapped", "swap their names back"),
        ("of other size", "16x16, but 28x28"),
        ("too few labels", "mismatched"),
        ("letters", "contains the label 17"),
        ("empty", "has no images"),
        ("half", "is missing from"),
        ("empty folder", "not a file"),
    ],
)
def test_a_damaged_set_is_named_as_such_everywhere(
    tmp_path: Path, kind: str, expected: str
) -> None:
    catalog = Catalog(tmp_path)
    for name in ("mnist", "mine"):
        put(tmp_path / name, "train")
        break_images(tmp_path / name, "train", kind)
        (entry,) = [e for e in catalog.entries() if (e.name, e.split) == (name, "train")]
        assert (entry.present, entry.n, entry.path) == (False, None, tmp_path / name)
        assert entry.problem is not None
        assert entry.problem.startswith(f"{name} (train) ")
        assert expected in entry.problem
        assert catalog.entry(name, "train") == entry
        assert not catalog.has(name, "train")
        for ask in (catalog.check, catalog.open):
            with pytest.raises(DigitSetError) as caught:
                ask(name, "train")
            assert str(caught.value) == entry.problem


def test_a_missing_set_is_not_damaged(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    put(tmp_path / "mnist", "t10k")
    assert catalog.check("mnist", "test")
    for name, split in (("mnist", "train"), ("emnist-digits", "test"), ("nobody's", "test")):
        assert not catalog.check(name, split)
        assert catalog.entry(name, split).problem is None


def test_flipped_bits_are_found_by_a_thorough_listing_and_remembered_once_opened(
    tmp_path: Path,
) -> None:
    put(tmp_path / "mnist", "train", end="")
    images = tmp_path / "mnist" / "train-images-idx3-ubyte"
    # Stored, not deflated: only the CRC shows the damage.
    packed = bytearray(gzip.compress(images.read_bytes(), compresslevel=0))
    packed[2000] ^= 1
    images.write_bytes(packed)

    def problem(catalog: Catalog, *, thorough: bool = False) -> str | None:
        return catalog.entries(thorough=thorough)[0].problem

    assert problem(Catalog(tmp_path)) is None
    assert "CRC" in (problem(Catalog(tmp_path), thorough=True) or "")
    catalog = Catalog(tmp_path)
    with pytest.raises(DigitSetError, match="CRC"):
        catalog.open("mnist", "train")
    assert "CRC" in (problem(catalog) or "")
    put(tmp_path / "mnist", "train", end="")
    assert problem(catalog) is None


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not hold for root"
)
def test_a_data_folder_that_cannot_be_listed_gives_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    try:
        with pytest.raises(DigitSetError, match="cannot be listed"):
            Catalog(tmp_path).entries()
    finally:
        tmp_path.chmod(0o700)


# Download


def test_a_download_streams_progress_and_ends_with_a_set_that_opens(tmp_path: Path) -> None:
    source = FakeSource()
    catalog = Catalog(tmp_path / "new" / "data", {"mnist": source})
    records = list(download(catalog, "mnist"))
    assert [record.message for record in records[:2]] == ["half", "whole"]
    assert "6 images" in records[-1].message
    assert source.fetched == ["train", "test"]
    assert len(catalog.open("mnist", "train")) == 6


def test_a_split_can_be_requested(tmp_path: Path) -> None:
    source = FakeSource()
    list(download(Catalog(tmp_path, {"mnist": source}), "mnist", "test"))
    assert source.fetched == ["test"]


def test_every_known_set_has_a_source_with_the_same_splits() -> None:
    # MNIST-C is a source of fifteen sets.
    assert [*LAYOUTS, "mnist-c"] == list(SOURCES)
    for name, layout in LAYOUTS.items():
        assert tuple(layout.stems) == SOURCES[name].splits
        assert set(layout.default_splits) <= set(layout.stems)


@pytest.mark.parametrize(
    ("published", "expected"), [(True, "already available"), (False, "differ from the published")]
)
def test_an_available_set_is_not_downloaded_again(
    tmp_path: Path, published: bool, expected: str
) -> None:
    put(tmp_path / "MNIST" / "raw", "train", end="")
    source = FakeSource(published=published)
    (record,) = download(Catalog(tmp_path, {"mnist": source}), "mnist", "train")
    assert expected in record.message
    assert source.fetched == []


@pytest.mark.parametrize("kind", ["cut", "too few labels", "half"])
def test_a_damaged_set_is_downloaded_again(tmp_path: Path, kind: str) -> None:
    put(tmp_path / "mnist", "train")
    break_images(tmp_path / "mnist", "train", kind)
    catalog = Catalog(tmp_path, {"mnist": FakeSource(n=9)})
    list(download(catalog, "mnist"))
    assert len(catalog.open("mnist", "train")) == 9


def test_a_downloaded_file_has_precedence_over_a_damaged_plain_one(tmp_path: Path) -> None:
    put(tmp_path / "mnist", "train", end="")
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(b"")
    catalog = Catalog(tmp_path, {"mnist": FakeSource(n=9)})
    list(download(catalog, "mnist"))
    assert len(catalog.open("mnist", "train")) == 9


@pytest.mark.parametrize("name", ["letters", "../mnist", "mine", ""])
def test_only_sets_with_a_source_can_be_downloaded(tmp_path: Path, name: str) -> None:
    put(tmp_path / "mine", "test")
    with pytest.raises(DigitSetError, match="available: mnist, emnist-digits, usps"):
        next(download(Catalog(tmp_path), name))


def test_a_split_without_a_source_cannot_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(DigitSetError, match="usps has no 'train' split to download; use test"):
        next(download(Catalog(tmp_path), "usps", "train"))


def test_generated_sets_need_no_download(tmp_path: Path) -> None:
    (record,) = download(Catalog(tmp_path), "synthetic")
    assert "nothing to download" in record.message


def test_a_failed_download_leaves_no_empty_folder(tmp_path: Path) -> None:
    source = FakeSource(problem=DownloadError("no place has it."))
    with pytest.raises(DownloadError, match="no place has it"):
        list(download(Catalog(tmp_path, {"mnist": source}), "mnist"))
    assert not (tmp_path / "mnist").exists()


def test_a_full_disk_gives_one_sentence(tmp_path: Path) -> None:
    source = FakeSource(problem=OSError(28, "No space left on device"))
    with pytest.raises(DownloadError, match=r"cannot be written to .*No space left.*--data-dir"):
        list(download(Catalog(tmp_path, {"mnist": source}), "mnist"))


def test_a_data_folder_that_is_a_file_gives_one_sentence(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("")
    catalog = Catalog(data, {"mnist": FakeSource()})
    assert not any(entry.present for entry in catalog.entries() if entry.path)
    with pytest.raises(DownloadError, match="cannot be written to"):
        list(download(catalog, "mnist"))


def test_a_set_is_downloaded_once_at_a_time(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, {"mnist": FakeSource()})
    first = download(catalog, "mnist")
    next(first)
    # Another catalogue on the same folder, as in another process.
    for other in (catalog, Catalog(tmp_path, {"mnist": FakeSource()})):
        with pytest.raises(DownloadError, match=r"is already being downloaded to"):
            next(download(other, "mnist"))
    first.close()
    list(download(catalog, "mnist"))
    assert len(catalog.open("mnist", "train")) == 6


# Real sets


def test_real_mnist_has_its_counts_and_published_checksums(real_data: Path) -> None:
    catalog = Catalog(real_data)
    train, test = catalog.open("mnist", "train"), catalog.open("mnist", "test")
    assert torch.bincount(train.labels).max() == (train.labels == 1).sum() == 6742
    assert (len(train), len(test)) == (60_000, 10_000)
    records = list(download(catalog, "mnist"))
    assert len(records) == 2
    assert all("already available" in r.message and "differ" not in r.message for r in records)
