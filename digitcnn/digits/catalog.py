"""Which digit sets exist, where they come from, which are on this machine.

A set is a folder in the data folder, by its name, with an images and a labels file per split;
MNIST and EMNIST are also found as torchvision lays them out. What is there is read as it is. How
a file is read is left to ``idx``, how it is fetched to ``download``. Sets that grow while the
program runs are handed in, by whoever keeps them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from digitcnn.digits.digit_set import SIDE, DigitSet
from digitcnn.digits.download import (
    Archive,
    DownloadProgress,
    Mirrors,
    RemoteFile,
    Source,
    UspsText,
)
from digitcnn.digits.idx import read_idx, read_shape, write_idx
from digitcnn.digits.names import GENERATED, GENERATED_IMAGES, SPLITS
from digitcnn.errors import DigitCNNError, DigitSetError, DownloadError

if TYPE_CHECKING:
    from torch import Tensor

# Addresses and MD5 as in torchvision.datasets.MNIST, EMNIST and USPS 0.29; the MD5 of MNIST's
# unpacked files are those of LeCun's original ones.
SOURCES: Mapping[str, Source] = {
    "mnist": Mirrors(
        places=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        files={
            "train": (
                RemoteFile(
                    name="train-images-idx3-ubyte.gz",
                    limit=12_000_000,
                    digest="f68b3c2dcbeaaa9fbdd348bbdeb94873",
                    unpacked="6bbc9ace898e44ae57da46a324031adb",
                ),
                RemoteFile(
                    name="train-labels-idx1-ubyte.gz",
                    limit=60_008,
                    digest="d53e105ee54ea40749a09fcbcd1e9432",
                    unpacked="a25bea736e30d166cdddb491f175f624",
                ),
            ),
            "test": (
                RemoteFile(
                    name="t10k-images-idx3-ubyte.gz",
                    limit=2_000_000,
                    digest="9fb629c4189551a2d022fa330f9573f3",
                    unpacked="2646ac647ad5339dbf082846283269ea",
                ),
                RemoteFile(
                    name="t10k-labels-idx1-ubyte.gz",
                    limit=10_008,
                    digest="ec29112dd5afa0611ce80d1b7f02629c",
                    unpacked="27ae3e4e09519cfbb04c329615203637",
                ),
            ),
        },
        default_splits=("train", "test"),
    ),
    "emnist-digits": Archive(
        places=(
            "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
            "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/gzip.zip",
        ),
        whole=RemoteFile(
            name="gzip.zip", limit=600_000_000, digest="58c8d27c78d21e728a6bc7b3cc06412e"
        ),
        inside="gzip/",
        files={
            "train": (
                RemoteFile(
                    name="emnist-digits-train-images-idx3-ubyte.gz",
                    limit=59_515_779,
                    digest="f7c95004d14d81af89522e67d8f0c781dfb3bd544181c81bfe1eb6b41c35b726",
                ),
                RemoteFile(
                    name="emnist-digits-train-labels-idx1-ubyte.gz",
                    limit=113_859,
                    digest="6638a6ff5fe2eefd9cca2471995b46c82986b8e4b2a70d2f5ce8e05d7edb319e",
                ),
            ),
            "test": (
                RemoteFile(
                    name="emnist-digits-test-images-idx3-ubyte.gz",
                    limit=9_908_519,
                    digest="20ebe43509264f7639d37c835a3f0b009e90b29e00a099a03101abe1644a3f63",
                ),
                RemoteFile(
                    name="emnist-digits-test-labels-idx1-ubyte.gz",
                    limit=19_960,
                    digest="bad1834c45d5988e270b99d43b13edc3fd898f658ffbc2caf2846ef27f7b05b0",
                ),
            ),
        },
        # The training images are 60 MB and nothing here trains on them unless asked to.
        default_splits=("test",),
    ),
    "usps": UspsText(
        places=("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/usps.t.bz2",),
        file=RemoteFile(
            name="usps.t.bz2", limit=4_000_000, digest="8ea070ee2aca1ac39742fdd1ef5ed118"
        ),
    ),
}


@dataclass(frozen=True)
class Layout:
    """Where the files of a known set are.

    folders: relative to the data folder; a download goes to the first. stems: what the file
    names begin with, by split. transposed: rows and columns are swapped in the files.
    """

    folders: tuple[str, ...]
    stems: Mapping[str, str]
    transposed: bool = False


LAYOUTS: Mapping[str, Layout] = {
    "mnist": Layout(("mnist", "MNIST/raw"), {"train": "train", "test": "t10k"}),
    "emnist-digits": Layout(
        ("emnist-digits", "EMNIST/raw"),
        {"train": "emnist-digits-train", "test": "emnist-digits-test"},
        transposed=True,
    ),
    "usps": Layout(("usps",), {"test": "test"}),
}

# Folders in the data folder that hold no set of their own name.
NO_SETS = ("MNIST", "EMNIST", *LAYOUTS, *GENERATED)

# What a person may call a set of their own.
_OWN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")

# Enough for MNIST, EMNIST's test set and the drawn ones at once.
KEPT_BYTES = 256 << 20

TIMEOUT = 30.0


@dataclass(frozen=True)
class Entry:
    """One split of one set, as a list shows it.

    n: images, None where absent. path: its folder, or where it would be; None for sets that the
    program draws. problem: why files that are there cannot be used, else None.
    """

    name: str
    split: str
    n: int | None
    present: bool
    path: Path | None
    problem: str | None = None


@dataclass(frozen=True)
class LiveSet:
    """A test set that grows while the program runs, such as what people draw for it.

    count: how many images there are now. read: images uint8 [N, 28, 28], ink high, and labels
    uint8 [N]. Both are asked each time and may raise DigitCNNError. how: how it gets its first.
    """

    count: Callable[[], int]
    read: Callable[[], tuple[Tensor, Tensor]]
    how: str


@dataclass(frozen=True)
class _Pair:
    """An images file and its labels file. signature: changes when either is replaced."""

    images: Path
    labels: Path

    @property
    def signature(self) -> tuple[object, ...]:
        stats = (self.images.stat(), self.labels.stat())
        return tuple((s.st_ino, s.st_size, s.st_mtime_ns) for s in stats)


class Catalog:
    """The digit sets in one data folder; safe to use from many threads.

    data_dir: need not exist yet. sources: where sets can be fetched from, by name.
    timeout: seconds that a server may be silent during a download.
    kept_bytes: how much of opened sets stays in memory. live: test sets that grow, by name; one
    without images is not listed.
    """

    def __init__(
        self,
        data_dir: Path,
        sources: Mapping[str, Source] = SOURCES,
        timeout: float = TIMEOUT,
        kept_bytes: int = KEPT_BYTES,
        live: Mapping[str, LiveSet] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self._live = dict(live or {})
        self._sources = sources
        self._timeout = timeout
        self._kept_bytes = kept_bytes
        self._guard = threading.Lock()
        # Guarded by _guard; least recently used first.
        self._opened: dict[tuple[str, str], tuple[object, DigitSet]] = {}
        self._opening: dict[tuple[str, str], threading.Lock] = {}

    # --- Open --------------------------------------------------------------------------------

    def open(self, name: str, split: str) -> DigitSet:
        """The images and labels of ``split``, upright; the same object while the files stay.

        A live set is read anew each time. Raises DigitSetError when the set is unknown, not on
        this machine, or unreadable.
        """
        if split not in SPLITS:
            raise DigitSetError(f"There is no split {split!r:.80}; take train or test.")
        if name in GENERATED:
            return self._kept(name, split, None, partial(_generate, name, split))
        if name in self._live:
            return self._open_live(name, split)
        pair = self._find(name, split)
        if pair is None:
            raise DigitSetError(self._how_to_get(name, split))
        try:
            signature = pair.signature
        except OSError as error:
            raise DigitSetError(
                f"{error.filename} cannot be read ({error.strerror}); check its permissions."
            ) from error
        return self._kept(name, split, signature, lambda: _read(pair, name, split))

    def names(self) -> list[str]:
        """Every set that is known here: fetchable, drawn, live, found as a folder."""
        return [*LAYOUTS, *GENERATED, *self._live, *self._found()]

    def _open_live(self, name: str, split: str) -> DigitSet:
        if split != "test":
            raise DigitSetError(f"{name} is a test set; take its split test.")
        try:
            images, labels = self._live[name].read()
        except DigitCNNError as error:
            raise DigitSetError(str(error)) from error
        if len(labels) == 0:
            raise DigitSetError(f"{name} holds no digits yet; {self._live[name].how}.")
        return DigitSet(images, labels, name, split)

    def _kept(
        self, name: str, split: str, signature: object, make: Callable[[], DigitSet]
    ) -> DigitSet:
        """The set kept under this signature, else a new one; threads that want it make it once."""
        key = name, split
        with self._guard:
            opening = self._opening.setdefault(key, threading.Lock())
        with opening:
            with self._guard:
                kept = self._opened.pop(key, None)
                if kept is not None and kept[0] == signature:
                    self._opened[key] = kept
                    return kept[1]
            digit_set = make()
            with self._guard:
                self._opened[key] = signature, digit_set
                self._forget_oldest()
            return digit_set

    def _forget_oldest(self) -> None:
        sizes = {key: kept[1].images.numel() for key, kept in self._opened.items()}
        for key in list(self._opened):
            if sum(sizes.values()) <= self._kept_bytes:
                return
            del self._opened[key], sizes[key]

    # --- List --------------------------------------------------------------------------------

    def has(self, name: str, split: str) -> bool:
        """Whether the split of that set is on this machine."""
        # A live set is asked only when it is meant: its keeper may be far away.
        entries = (
            self._live_entries()
            if name in self._live
            else (*self._known_entries(), *self._found_entries())
        )
        return any(entry.present for entry in entries if (entry.name, entry.split) == (name, split))

    def entries(self) -> list[Entry]:
        """Every split of every set, known ones first; reads headers, not images.

        Files that are there but cannot be used make an absent entry with its problem. Raises
        DigitSetError when the data folder cannot be listed.
        """
        return [*self._known_entries(), *self._live_entries(), *self._found_entries()]

    def _known_entries(self) -> list[Entry]:
        known = [(name, split) for name, layout in LAYOUTS.items() for split in layout.stems]
        drawn = [
            Entry(name, split, GENERATED_IMAGES[split], present=True, path=None)
            for name in GENERATED
            for split in SPLITS
        ]
        return [*self._entries(known), *drawn]

    def _found_entries(self) -> Iterator[Entry]:
        return self._entries(
            [(name, split) for name, splits in self._found().items() for split in splits]
        )

    def _entries(self, sets: list[tuple[str, str]]) -> Iterator[Entry]:
        for name, split in sets:
            path = self.data_dir / _layout(name).folders[0]
            try:
                pair = self._find(name, split)
                if pair is None:
                    yield Entry(name, split, None, present=False, path=path)
                else:
                    path = pair.images.parent
                    yield Entry(name, split, _count(pair), present=True, path=path)
            except DigitSetError as error:
                yield Entry(name, split, None, present=False, path=path, problem=str(error))

    def _live_entries(self) -> Iterator[Entry]:
        for name, live in self._live.items():
            try:
                n = live.count()
            except DigitCNNError as error:
                yield Entry(name, "test", None, present=False, path=None, problem=str(error))
            else:
                if n:
                    yield Entry(name, "test", n, present=True, path=None)

    def _found(self) -> dict[str, list[str]]:
        """Folders that are sets though nobody knows them by name, with their splits."""
        found = {}
        for name in _listing(self.data_dir):
            if name in (*NO_SETS, *self._live) or name.startswith("."):
                continue
            files = set(_listing(self.data_dir / name))
            splits = [split for split in SPLITS if files & set(_file_names(split, "images-idx3"))]
            if splits:
                found[name] = splits
        return found

    # --- Find --------------------------------------------------------------------------------

    def _find(self, name: str, split: str) -> _Pair | None:
        """The files of a split, None where there are none.

        A name that is not in the catalogue is looked up in the data folder's listing, never made
        into a path. Raises DigitSetError when only one file of the two is there, or a folder
        cannot be listed.
        """
        if name not in LAYOUTS and name not in self._found():
            return None
        layout = _layout(name)
        if split not in layout.stems:
            return None
        half = None
        for relative in layout.folders:
            folder = self.data_dir / relative
            files = _listing(folder)
            wanted = [
                _file_names(layout.stems[split], kind) for kind in ("images-idx3", "labels-idx1")
            ]
            # .gz first: where torchvision left both they are equal, and a download lands as .gz.
            images, labels = (next((n for n in names if n in files), None) for names in wanted)
            if images and labels:
                return _Pair(folder / images, folder / labels)
            if images or labels:
                half = folder, wanted[0 if labels else 1][0]
        if half is not None:
            raise DigitSetError(
                f"{name} ({split}) is incomplete: {half[1]} is missing in {half[0]}; "
                f"put it there{self._or_fetch(name, split)}."
            )
        return None

    def _how_to_get(self, name: str, split: str) -> str:
        """The sentence for a set that ``_find`` did not find."""
        found = self._found()
        if name in found:
            return f"{name} has no {split} images in {self.data_dir / name}; take {found[name][0]}."
        if name not in LAYOUTS:
            return f"There is no digit set {name!r:.80}; known are {', '.join(self.names())}."
        if split not in LAYOUTS[name].stems:
            return f"{name} has no {split} images; take {' or '.join(LAYOUTS[name].stems)}."
        return (
            f"{name} ({split}) is not in {self.data_dir}; put its files there"
            f"{self._or_fetch(name, split)}, or take synthetic, which needs none."
        )

    def _or_fetch(self, name: str, split: str) -> str:
        source = self._sources.get(name)
        if source is None or split not in source.splits:
            return ""
        option = "" if split in source.default_splits else f" --split {split}"
        return f", or fetch it with `python -m digitcnn data download {name}{option}`"

    # --- Download ----------------------------------------------------------------------------

    def download(self, name: str, split: str | None = None) -> Iterator[DownloadProgress]:
        """Fetch a set into the data folder; does nothing but say so where it is here already.

        split: None takes what the set's source gives by default. Files that can be read are never
        replaced. Nothing is requested before the first record is asked for; what was received is
        gone on with after an interruption.

        Raises DigitSetError when the set cannot be fetched at all, DownloadError when no place
        gives it, the data folder cannot be written, or it is being fetched already.
        """
        if name in GENERATED:
            yield DownloadProgress(
                name, 0, None, f"{name} is drawn by the program: nothing to fetch."
            )
            return
        source = self._sources.get(name)
        if source is None:
            raise DigitSetError(
                f"{name!r:.80} cannot be fetched; those that can are {', '.join(self._sources)}."
            )
        if split is not None and split not in source.splits:
            raise DigitSetError(
                f"{name} has no split {split!r:.80} to fetch; take {' or '.join(source.splits)}."
            )
        for wanted in source.default_splits if split is None else (split,):
            yield from self._download(name, wanted, source)

    def _download(self, name: str, split: str, source: Source) -> Iterator[DownloadProgress]:
        folder = self.data_dir / LAYOUTS[name].folders[0]
        try:
            here = self._here_already(name, split, source)
            if here is not None:
                yield here
                return
            with self._writing_to(folder, name, "being fetched into"):
                yield from source.fetch(split, folder, self._timeout)
        except OSError as error:
            raise DownloadError(
                f"{name} cannot be written to {folder} ({error.strerror or error}); "
                "make room or change its permissions, or choose another folder with --data-dir."
            ) from error
        n = len(self.open(name, split))
        yield DownloadProgress(name, n, n, f"{name} ({split}): {n:,} images in {folder}.")

    def _here_already(self, name: str, split: str, source: Source) -> DownloadProgress | None:
        """What to say when the set can be read as it is, else None: what is broken is replaced."""
        try:
            pair = self._find(name, split)
            if pair is None:
                return None
            n = len(self.open(name, split))
        except DigitSetError:
            return None
        says = f"{name} ({split}) is here already: {n:,} images in {pair.images.parent}"
        if not source.is_published(split, pair.images, pair.labels):
            says += ", other files than the published ones, which are fetched if you move these"
        return DownloadProgress(name, n, n, f"{says}.")

    @contextmanager
    def _writing_to(self, folder: Path, name: str, doing: str) -> Iterator[None]:
        """While the block runs, no other thread and no other process writes this set. The folder
        is made for it, and is gone again if nothing came into it.

        The system lets go of the lock when the process dies, however it dies.
        """
        folder.mkdir(parents=True, exist_ok=True)
        # Held by one generator, whichever thread it runs or is closed in.
        lock = FileLock(self.data_dir / f".{name}.lock", thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise DownloadError(
                f"{name} is {doing} {self.data_dir} already; wait until it is here."
            ) from error
        try:
            yield
        finally:
            try:
                if not any(folder.iterdir()):
                    folder.rmdir()
            finally:
                lock.release()

    # --- Add ---------------------------------------------------------------------------------

    def check_new(self, name: str, split: str) -> None:
        """Raises DigitSetError where a person's own set cannot have that name, or has that split
        already."""
        if not _OWN_NAME.fullmatch(name):
            raise DigitSetError(
                f"The name {name!r:.80} cannot be a folder's; take up to 60 letters, digits, dots, "
                "dashes and underscores."
            )
        # Some file systems do not tell large letters from small ones.
        if name.lower() in {known.lower() for known in (*NO_SETS, *self._live)}:
            raise DigitSetError(
                f"{name} is a set that digitcnn knows; choose another name for yours."
            )
        folder = self.data_dir / name
        if folder.is_file():
            raise DigitSetError(f"{folder} is a file; choose another name for the set.")
        kinds = ("images-idx3", "labels-idx1")
        names = {file for kind in kinds for file in _file_names(split, kind)}
        there = sorted(names.intersection(_listing(folder)))
        if there:
            raise DigitSetError(
                f"{folder} has {split} digits already ({', '.join(there)}); choose another name, "
                "or move them away."
            )

    def add(self, digit_set: DigitSet) -> Path:
        """Write a person's own set into the data folder; returns its folder.

        Nothing that is there is replaced; a set may get its other split later. Raises
        DigitSetError as ``check_new`` does, or when the folder cannot be written.
        """
        name, split = digit_set.name, digit_set.split
        self.check_new(name, split)
        folder = self.data_dir / name
        try:
            with self._writing_to(folder, name, "being written to"):
                self.check_new(name, split)
                labels, images = (
                    folder / _file_names(split, kind)[0] for kind in ("labels-idx1", "images-idx3")
                )
                try:
                    # A set is found by its images, so it appears whole when these appear.
                    write_idx(labels, digit_set.labels)
                    write_idx(images, digit_set.images)
                except BaseException:
                    labels.unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise DigitSetError(
                f"{name} cannot be written to {folder} ({error.strerror or error}); make room or "
                "change its permissions, or choose another folder with --data-dir."
            ) from error
        return folder


def _layout(name: str) -> Layout:
    """Where a set's files are; a set without a layout of its own has a folder by its name."""
    return LAYOUTS.get(name) or Layout((name,), {split: split for split in SPLITS})


def _file_names(stem: str, kind: str) -> tuple[str, str]:
    return f"{stem}-{kind}-ubyte.gz", f"{stem}-{kind}-ubyte"


def _listing(folder: Path) -> list[str]:
    """Names in ``folder``, sorted; none where it does not exist or is a file."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DigitSetError(
            f"{folder} cannot be listed ({error.strerror}); change its permissions, "
            "or choose another folder with --data-dir."
        ) from error


def _generate(name: str, split: str) -> DigitSet:
    from digitcnn.digits import synthetic  # NumPy and PyTorch, which a list of sets does without

    return synthetic.draw(name, split)


def _read(pair: _Pair, name: str, split: str) -> DigitSet:
    images, labels = read_idx(pair.images, dimensions=3), read_idx(pair.labels, dimensions=1)
    if _layout(name).transposed:
        images = images.transpose(1, 2).contiguous()
    return DigitSet(images, labels, name, split)


def _count(pair: _Pair) -> int:
    """Images of a pair by its headers. Raises DigitSetError when they rule out a digit set."""
    n, *size = read_shape(pair.images, dimensions=3)
    (labels,) = read_shape(pair.labels, dimensions=1)
    if size != [SIDE, SIDE] or labels != n or n == 0:
        raise DigitSetError(
            f"{pair.images} holds {n:,} images of {size[0]}x{size[1]} and {pair.labels.name} "
            f"{labels:,} labels; as many labels as images of {SIDE}x{SIDE} are expected."
        )
    return n
