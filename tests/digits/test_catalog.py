"""Which sets are found, how they are read, and what is said where they are not."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from digitcnn.digits import synthetic
from digitcnn.digits.catalog import LAYOUTS, SOURCES, Catalog, LiveSet
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.download import DownloadProgress
from digitcnn.digits.idx import write_idx
from digitcnn.digits.names import GENERATED, GENERATED_IMAGES
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
    """Puts ``n`` images into the folder; ``fetched`` are the splits that were asked for."""

    stem: str = "train"
    n: int = 6
    published: bool = True
    splits: tuple[str, ...] = ("train", "test")
    default_splits: tuple[str, ...] = ("train",)
    problem: Exception | None = None
    fetched: list[str] = field(default_factory=list)

    def fetch(self, split: str, folder: Path, timeout: float) -> Iterator[DownloadProgress]:
        self.fetched.append(split)
        yield DownloadProgress("images", 1, 2, "half")
        if self.problem is not None:
            raise self.problem
        put(folder, self.stem, self.n)
        yield DownloadProgress("images", 2, 2, "whole")

    def is_published(self, split: str, images: Path, labels: Path) -> bool:
        assert images.exists()
        assert labels.exists()
        return self.published


# --- Open ------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize(
    ("folder", "stem", "name", "split"),
    [
        ("mnist", "train", "mnist", "train"),
        ("mnist", "t10k", "mnist", "test"),
        ("MNIST/raw", "train", "mnist", "train"),
        ("MNIST/raw", "t10k", "mnist", "test"),
        ("usps", "test", "usps", "test"),
        ("letters from grandma", "train", "letters from grandma", "train"),
    ],
)
def test_a_set_is_read_as_it_is_wherever_it_lies(
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
def test_emnist_is_set_upright(tmp_path: Path, folder: str, split: str, end: str) -> None:
    put(tmp_path / folder, f"emnist-digits-{split}", end=end)
    images, labels = digits()
    opened = Catalog(tmp_path).open("emnist-digits", split)
    # By hand: what the file calls a row is a column of the digit.
    for image, published in zip(opened.images, images, strict=True):
        for column, stored in enumerate(published):
            assert image[:, column].equal(stored)
    assert opened.images.is_contiguous()
    assert opened.labels.equal(labels)


def test_a_folder_of_its_own_name_comes_before_torchvisions(tmp_path: Path) -> None:
    put(tmp_path / "mnist", "train", n=3)
    put(tmp_path / "MNIST" / "raw", "train", n=4)
    put(tmp_path / "MNIST" / "raw", "t10k", n=5)
    catalog = Catalog(tmp_path)
    assert len(catalog.open("mnist", "train")) == 3
    assert len(catalog.open("mnist", "test")) == 5


def test_half_a_pair_in_one_folder_does_not_hide_a_whole_one_in_another(tmp_path: Path) -> None:
    put(tmp_path / "mnist", "train", n=3)
    (tmp_path / "mnist" / "train-labels-idx1-ubyte.gz").unlink()
    put(tmp_path / "MNIST" / "raw", "train", n=4)
    assert len(Catalog(tmp_path).open("mnist", "train")) == 4


def test_the_drawn_sets_need_no_folder(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "absent")
    opened = catalog.open("synthetic", "test")
    assert opened.fingerprint == synthetic.draw("synthetic", "test").fingerprint
    assert catalog.open("synthetic", "test") is opened
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("exists", [True, False])
def test_a_known_set_that_is_absent_says_how_to_get_it(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path if exists else tmp_path / "absent"
    with pytest.raises(DigitSetError) as caught:
        Catalog(folder).open("mnist", "train")
    assert f"mnist (train) is not in {folder}" in str(caught.value)
    assert "`python -m digitcnn data download mnist`" in str(caught.value)
    assert "synthetic" in str(caught.value)


def test_the_split_is_named_where_a_plain_download_does_not_bring_it(tmp_path: Path) -> None:
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
        "..",
        ".",
        "",
        "folder/inside",
        "./plain",
        "plain/",
        ".hidden",
        "MNIST",
        "MNIST/raw",
        "\0",
        "x" * 10_000,
    ],
)
def test_a_name_is_never_used_as_a_path(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    for folder in ("../outside", "plain", ".hidden", "folder/inside", "MNIST/raw", "MNIST", "."):
        put(data / folder, "test")
    with pytest.raises(DigitSetError, match="There is no digit set") as caught:
        Catalog(data).open(name, "test")
    assert len(str(caught.value)) < 400


def test_an_absolute_path_is_no_name(tmp_path: Path) -> None:
    put(tmp_path / "outside", "test")
    with pytest.raises(DigitSetError, match="There is no digit set"):
        Catalog(tmp_path / "data").open(str(tmp_path / "outside"), "test")


@pytest.mark.parametrize(
    ("name", "split", "says"),
    [
        ("mnist", "validation", "no split 'validation'; take train or test"),
        ("usps", "train", "usps has no train images; take test"),
        ("mine", "train", "mine has no train images in .*; take test"),
        ("synthetic", "Test", "no split 'Test'"),
    ],
)
def test_a_split_that_a_set_does_not_have_is_refused(
    tmp_path: Path, name: str, split: str, says: str
) -> None:
    put(tmp_path / "mine", "test")
    with pytest.raises(DigitSetError, match=says):
        Catalog(tmp_path).open(name, split)


@pytest.mark.parametrize(("missing", "kind"), [("images", "idx3"), ("labels", "idx1")])
def test_the_missing_half_of_a_pair_is_named(tmp_path: Path, missing: str, kind: str) -> None:
    put(tmp_path / "mnist", "t10k")
    name = f"t10k-{missing}-{kind}-ubyte.gz"
    (tmp_path / "mnist" / name).unlink()
    with pytest.raises(DigitSetError, match=f"incomplete: {name} is missing in"):
        Catalog(tmp_path).open("mnist", "test")


def test_swapped_files_are_said_to_be_swapped(tmp_path: Path) -> None:
    images, labels = digits()
    (tmp_path / "mnist").mkdir()
    write_idx(tmp_path / "mnist" / "t10k-images-idx3-ubyte", labels)
    write_idx(tmp_path / "mnist" / "t10k-labels-idx1-ubyte", images)
    with pytest.raises(DigitSetError, match="swap their names back"):
        Catalog(tmp_path).open("mnist", "test")


def test_labels_that_do_not_fit_the_images_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "mnist", "train")
    write_idx(tmp_path / "mnist" / "train-labels-idx1-ubyte.gz", torch.zeros(5, dtype=torch.uint8))
    with pytest.raises(DigitSetError, match="6 images but 5 labels"):
        Catalog(tmp_path).open("mnist", "train")


# --- Keep ------------------------------------------------------------------------------------


def test_an_opened_set_is_kept_until_its_files_change(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    put(tmp_path / "mnist", "train", n=6)
    first = catalog.open("mnist", "train")
    assert catalog.open("mnist", "train") is first
    put(tmp_path / "mnist", "train", n=6, seed=1)
    second = catalog.open("mnist", "train")
    assert second.images.equal(digits(6, seed=1)[0])
    assert catalog.open("mnist", "train") is second


def test_many_threads_get_one_and_the_same_object(tmp_path: Path) -> None:
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
    catalog = Catalog(tmp_path, kept_bytes=15 * 28 * 28)
    first = catalog.open("a", "test")
    assert catalog.open("a", "test") is first
    catalog.open("b", "test")
    again = catalog.open("a", "test")
    assert again is not first
    assert again.fingerprint == first.fingerprint


# --- Live sets -------------------------------------------------------------------------------


class Growing:
    """A live set that holds as many digits as it is told, or fails."""

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


def test_a_live_set_is_listed_before_the_found_ones_once_it_has_images(tmp_path: Path) -> None:
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


def test_a_live_set_is_read_anew_each_time(tmp_path: Path) -> None:
    growing = Growing()
    catalog = Catalog(tmp_path, live={"drawings": growing.live})
    with pytest.raises(DigitSetError, match="drawings holds no digits yet; draw one"):
        catalog.open("drawings", "test")
    growing.n = 2
    first = catalog.open("drawings", "test")
    growing.n = 3
    second = catalog.open("drawings", "test")
    assert (len(first), len(second)) == (2, 3)
    assert first.fingerprint != second.fingerprint
    with pytest.raises(DigitSetError, match="take its split test"):
        catalog.open("drawings", "train")


def test_a_live_set_that_cannot_be_read_is_listed_with_its_problem(tmp_path: Path) -> None:
    growing = Growing()
    growing.fault = FeedbackError("The database is away; start it.")
    catalog = Catalog(tmp_path, live={"drawings": growing.live})
    (entry,) = [entry for entry in catalog.entries() if entry.name == "drawings"]
    assert (entry.present, entry.problem) == (False, "The database is away; start it.")
    with pytest.raises(DigitSetError, match="The database is away"):
        catalog.open("drawings", "test")


def test_a_question_about_another_set_does_not_ask_a_live_one(tmp_path: Path) -> None:
    growing = Growing()
    catalog = Catalog(tmp_path, live={"drawings": growing.live})
    assert catalog.has("synthetic", "test")
    assert growing.asked == 0


def test_the_name_of_a_live_set_is_taken(tmp_path: Path) -> None:
    put(tmp_path / "drawings", "test", n=9)
    growing = Growing()
    catalog = Catalog(tmp_path, live={"drawings": growing.live})
    assert [entry.name for entry in catalog.entries()].count("drawings") == 0
    with pytest.raises(DigitSetError, match="choose another name"):
        catalog.check_new("Drawings", "test")


# --- List ------------------------------------------------------------------------------------


def test_an_absent_data_folder_lists_the_known_sets_in_order(tmp_path: Path) -> None:
    entries = Catalog(tmp_path / "absent").entries()
    assert [(entry.name, entry.split) for entry in entries] == KNOWN
    for entry in entries:
        drawn = entry.name in GENERATED
        assert entry.present == drawn
        assert (entry.path is None) == drawn
        assert entry.n == (GENERATED_IMAGES[entry.split] if drawn else None)
        assert entry.problem is None


def test_what_is_there_is_listed_with_its_count_and_folder(tmp_path: Path) -> None:
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
    elif kind == "half":
        labels.unlink()


@pytest.mark.parametrize("name", ["mnist", "mine"])
@pytest.mark.parametrize(
    "kind", ["cut", "html", "swapped", "of other size", "too few labels", "empty", "half"]
)
def test_a_broken_pair_is_listed_as_absent_with_its_problem(
    tmp_path: Path, name: str, kind: str
) -> None:
    put(tmp_path / name, "train")
    break_images(tmp_path / name, "train", kind)
    catalog = Catalog(tmp_path)
    entry = next(e for e in catalog.entries() if (e.name, e.split) == (name, "train"))
    assert not entry.present
    assert entry.n is None
    assert entry.path == tmp_path / name
    assert entry.problem is not None
    with pytest.raises(DigitSetError):
        catalog.open(name, "train")


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


# --- Download --------------------------------------------------------------------------------


def test_a_download_streams_progress_and_ends_with_a_set_that_opens(tmp_path: Path) -> None:
    source = FakeSource()
    catalog = Catalog(tmp_path / "new" / "data", {"mnist": source})
    records = list(catalog.download("mnist"))
    assert [record.message for record in records[:-1]] == ["half", "whole"]
    assert "6 images" in records[-1].message
    assert source.fetched == ["train"]
    assert len(catalog.open("mnist", "train")) == 6


def test_a_split_can_be_asked_for(tmp_path: Path) -> None:
    source = FakeSource(stem="t10k")
    list(Catalog(tmp_path, {"mnist": source}).download("mnist", "test"))
    assert source.fetched == ["test"]


def test_the_defaults_are_all_of_mnist_and_the_test_sets_of_the_others() -> None:
    assert {name: source.default_splits for name, source in SOURCES.items()} == {
        "mnist": ("train", "test"),
        "emnist-digits": ("test",),
        "usps": ("test",),
    }
    for name, layout in LAYOUTS.items():
        assert tuple(layout.stems) == SOURCES[name].splits


@pytest.mark.parametrize(("published", "says"), [(True, "here already"), (False, "other files")])
def test_a_set_that_is_there_is_not_fetched_again(
    tmp_path: Path, published: bool, says: str
) -> None:
    put(tmp_path / "MNIST" / "raw", "train", end="")
    source = FakeSource(published=published)
    (record,) = Catalog(tmp_path, {"mnist": source}).download("mnist")
    assert says in record.message
    assert source.fetched == []


@pytest.mark.parametrize("kind", ["cut", "html", "swapped", "too few labels", "half"])
def test_a_broken_set_is_fetched_again(tmp_path: Path, kind: str) -> None:
    put(tmp_path / "mnist", "train")
    break_images(tmp_path / "mnist", "train", kind)
    catalog = Catalog(tmp_path, {"mnist": FakeSource(n=9)})
    list(catalog.download("mnist"))
    assert len(catalog.open("mnist", "train")) == 9


def test_a_broken_plain_file_does_not_hide_the_fetched_one(tmp_path: Path) -> None:
    put(tmp_path / "mnist", "train", end="")
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(b"")
    catalog = Catalog(tmp_path, {"mnist": FakeSource(n=9)})
    list(catalog.download("mnist"))
    assert len(catalog.open("mnist", "train")) == 9


@pytest.mark.parametrize("name", ["letters", "../mnist", "mine", ""])
def test_only_sets_with_a_source_can_be_fetched(tmp_path: Path, name: str) -> None:
    put(tmp_path / "mine", "test")
    with pytest.raises(DigitSetError, match="those that can are mnist, emnist-digits, usps"):
        next(Catalog(tmp_path).download(name))


def test_a_split_without_a_source_cannot_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(DigitSetError, match="usps has no split 'train' to fetch; take test"):
        next(Catalog(tmp_path).download("usps", "train"))


def test_the_drawn_sets_need_no_download(tmp_path: Path) -> None:
    (record,) = Catalog(tmp_path).download("synthetic")
    assert "nothing to fetch" in record.message


def test_a_failed_download_leaves_no_empty_folder(tmp_path: Path) -> None:
    source = FakeSource(problem=DownloadError("no place has it."))
    with pytest.raises(DownloadError, match="no place has it"):
        list(Catalog(tmp_path, {"mnist": source}).download("mnist"))
    assert not (tmp_path / "mnist").exists()


def test_a_full_disk_gives_one_sentence(tmp_path: Path) -> None:
    source = FakeSource(problem=OSError(28, "No space left on device"))
    with pytest.raises(DownloadError, match=r"cannot be written to .*No space left.*--data-dir"):
        list(Catalog(tmp_path, {"mnist": source}).download("mnist"))


def test_a_data_folder_that_is_a_file_gives_one_sentence(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("")
    catalog = Catalog(data, {"mnist": FakeSource()})
    assert not any(entry.present for entry in catalog.entries() if entry.path)
    with pytest.raises(DownloadError, match="cannot be written to"):
        list(catalog.download("mnist"))


def test_a_set_is_fetched_only_once_at_a_time(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, {"mnist": FakeSource()})
    first = catalog.download("mnist")
    next(first)
    # Another catalogue on the same folder, as in another process.
    for other in (catalog, Catalog(tmp_path, {"mnist": FakeSource()})):
        with pytest.raises(DownloadError, match=r"is being fetched into .* already"):
            next(other.download("mnist"))
    first.close()
    list(catalog.download("mnist"))
    assert len(catalog.open("mnist", "train")) == 6


# --- Real sets -------------------------------------------------------------------------------


def test_real_mnist_opens_with_its_counts_and_is_known_as_published(real_data: Path) -> None:
    catalog = Catalog(real_data)
    train, test = catalog.open("mnist", "train"), catalog.open("mnist", "test")
    assert torch.bincount(train.labels).max() == (train.labels == 1).sum() == 6742
    assert (len(train), len(test)) == (60_000, 10_000)
    records = list(catalog.download("mnist"))
    assert len(records) == 2
    assert all("here already" in r.message and "other files" not in r.message for r in records)
