"""Open, list and add digit sets, by name and split.

Sets are generated, live (they grow while the program runs) or files in the data folder.
``set_files`` finds and checks files, ``set_download`` downloads, ``set_writer`` writes. Modules
that need PyTorch are imported when first used, so that listing sets is quick.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cachetools import LRUCache

from digitcnn.digits import set_writer
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.idx import explaining, read_idx
from digitcnn.digits.names import (
    GENERATED,
    GENERATED_IMAGES,
    SEPARATOR,
    SPLITS,
    base_of,
)
from digitcnn.digits.set_files import (
    LAYOUTS,
    SetFiles,
    count_images,
    find_files,
    layout_of,
    missing_text,
    own_sets,
)
from digitcnn.errors import DigitCNNError, DigitSetError
from digitcnn.shared_cache import SharedCache

if TYPE_CHECKING:
    from torch import Tensor

    from digitcnn.digits.download import Source

# Enough for MNIST, EMNIST's test set and the generated ones at once.
CACHE_BYTES = 256 << 20


@dataclass(frozen=True)
class Entry:
    """One split of one set, as listed.

    n: number of images, None unless present. path: its folder, or where it would be; None for
    generated and live sets. problem: why files that exist cannot be used, else None; a split with
    a problem is not present.
    """

    name: str
    split: str
    n: int | None = None
    path: Path | None = None
    problem: str | None = None

    @property
    def present(self) -> bool:
        """Whether the split can be used."""
        return self.n is not None


@dataclass(frozen=True)
class LiveSet:
    """A test set that grows while the program runs, such as the sketches that people label.

    count: returns the number of images. read: returns images uint8 [N, 28, 28], ink high, and
    labels uint8 [N]. Both are called each time and may raise DigitCNNError.
    how: what to do to get its first image.
    """

    count: Callable[[], int]
    read: Callable[[], tuple[Tensor, Tensor]]
    how: str


class Catalog:
    """The digit sets of one data folder; safe to use from many threads.

    data_dir: need not exist yet. sources: where sets can be downloaded, by name; None for the
    published places. cache_bytes: how many bytes of opened images stay in memory.
    live: test sets that grow, by name; an empty one is not listed.
    """

    def __init__(
        self,
        data_dir: Path,
        sources: Mapping[str, Source] | None = None,
        *,
        cache_bytes: int = CACHE_BYTES,
        live: Mapping[str, LiveSet] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self._live = dict(live or {})
        self.sources = sources
        # By name and split: the signature of what was read, and the set.
        self._opened: SharedCache[tuple[str, str], tuple[object, DigitSet]] = SharedCache(
            cache_bytes, lambda opened: opened[1].images.numel()
        )
        self._lock = threading.Lock()
        # Problems found only by reading whole files, by the files' signature. Guarded by _lock.
        self._problems: LRUCache[object, str] = LRUCache(256)

    # Open

    def open(self, name: str, split: str) -> DigitSet:
        """Return the images and labels of a split, upright.

        Returns the same object until its files change; a live set is read each time. Raises
        DigitSetError when the set is unknown, missing or damaged.
        """
        if split not in SPLITS:
            raise DigitSetError(f"Unknown split {split!r:.80}; use train or test.")
        if SEPARATOR in name:
            return self._open_variant(name, split)
        if name in GENERATED:
            return self._cached(name, split, None, partial(_generate, name, split))
        if name in self._live:
            return self._open_live(name, split)
        files = self.files(name, split)
        if files is None:
            raise DigitSetError(missing_text(self.data_dir, name, split, self.names()))
        with explaining(files.images):
            signature = files.signature
        return self._cached(
            name, split, signature, partial(self._read, name, split, files, signature)
        )

    def _open_variant(self, name: str, split: str) -> DigitSet:
        from digitcnn.digits.training_images import variant

        digit_set = self.open(base_of(name), split)
        return self._cached(name, split, digit_set, partial(variant, digit_set, name))

    def _open_live(self, name: str, split: str) -> DigitSet:
        if split != "test":
            raise DigitSetError(f"{name} has only a test split; use it.")
        try:
            images, labels = self._live[name].read()
        except DigitCNNError as error:
            raise DigitSetError(str(error)) from error
        if len(labels) == 0:
            raise DigitSetError(f"{name} is empty; {self._live[name].how}.")
        return DigitSet(images, labels, name, split)

    def _cached(
        self, name: str, split: str, signature: object, make: Callable[[], DigitSet]
    ) -> DigitSet:
        """Return the cached set while its signature is the same; concurrent callers make one."""
        _, digit_set = self._opened.get(
            (name, split),
            lambda _: (signature, make()),
            accept=lambda opened: opened[0] == signature,
        )
        return digit_set

    def _read(self, name: str, split: str, files: SetFiles, signature: object) -> DigitSet:
        try:
            count_images(files, name, split)
            images = read_idx(files.images, dimensions=3)
            labels = read_idx(files.labels, dimensions=1)
        except DigitSetError as error:
            problem = str(error)
            if not problem.startswith(f"{name} ({split})"):
                problem = f"{name} ({split}) cannot be used: {problem}"
            # From now on, lists show this problem, which their quick check misses.
            with self._lock:
                self._problems[signature] = problem
            raise DigitSetError(problem) from error
        if layout_of(name).transposed:
            images = images.transpose(1, 2).contiguous()
        return DigitSet(images, labels, name, split)

    # List

    def names(self) -> list[str]:
        """Return every known name: downloadable, generated, live, and folders with sets."""
        return [*LAYOUTS, *GENERATED, *self._live, *own_sets(self.data_dir, self._live)]

    def has(self, name: str, split: str) -> bool:
        """Return whether the split can be used.

        False for damaged files too; ``check`` raises for these.
        """
        return self.entry(name, split).present

    def check(self, name: str, split: str) -> bool:
        """Return whether the split can be used, False only where none of its files exist.

        Call this before using another set instead. Raises DigitSetError, with the problem, when
        files exist that cannot be used.
        """
        entry = self.entry(name, split)
        if entry.problem is not None:
            raise DigitSetError(entry.problem)
        return entry.present

    def entry(self, name: str, split: str) -> Entry:
        """Return one split of a set; for an unknown name, an entry that is not present.

        A live set is counted only when named, since its store may be slow to reach.
        """
        if SEPARATOR in name:
            return self._variant_entry(name, split)
        if name in GENERATED and split in SPLITS:
            return Entry(name, split, GENERATED_IMAGES[split])
        if name in self._live and split == "test":
            return self._live_entry(name)
        if name in LAYOUTS or name in own_sets(self.data_dir, self._live):
            return self._file_entry(name, split)
        return Entry(name, split)

    def _variant_entry(self, name: str, split: str) -> Entry:
        entry = replace(self.entry(base_of(name), split), name=name)
        if not entry.present:
            return entry
        try:
            return replace(entry, n=len(self.open(name, split)))
        except DigitSetError as error:
            return replace(entry, n=None, problem=str(error))

    def entries(self, *, thorough: bool = False) -> list[Entry]:
        """Return every split of every set, known ones first; reads headers and labels.

        thorough: read the images too, to notice all damage. Files that exist but cannot be used
        give an entry with its problem. Raises DigitSetError when the data folder cannot be listed.
        """
        own = own_sets(self.data_dir, self._live)
        live = [self._live_entry(name) for name in self._live]
        return [
            *(
                self._file_entry(name, split, thorough=thorough)
                for name, layout in LAYOUTS.items()
                for split in layout.stems
            ),
            *(self.entry(name, split) for name in GENERATED for split in SPLITS),
            *(entry for entry in live if entry.present or entry.problem),
            *(
                self._file_entry(name, split, thorough=thorough)
                for name, splits in own.items()
                for split in splits
            ),
        ]

    def _file_entry(self, name: str, split: str, *, thorough: bool = False) -> Entry:
        path = self.data_dir / layout_of(name).folders[0]
        try:
            files = find_files(self.data_dir, name, split)
            if files is None:
                return Entry(name, split, path=path)
            path = files.images.parent
            n = count_images(files, name, split, thorough=thorough)
            with self._lock:
                problem = self._problems.get(files.signature)
        except (DigitSetError, OSError) as error:
            n, problem = 0, str(error)
        return Entry(name, split, n if problem is None else None, path, problem)

    def _live_entry(self, name: str) -> Entry:
        try:
            n = self._live[name].count()
        except DigitCNNError as error:
            return Entry(name, "test", problem=str(error))
        return Entry(name, "test", n or None)

    def files(self, name: str, split: str) -> SetFiles | None:
        """Return a split's files, None where there are none; unknown names never become paths."""
        if name not in LAYOUTS and name not in own_sets(self.data_dir, self._live):
            return None
        return find_files(self.data_dir, name, split)

    # Add

    def check_new(self, name: str, split: str) -> None:
        """Raise DigitSetError when an own set cannot have that name, or has that split already."""
        set_writer.check_new(self.data_dir, name, split, self._live)

    def add(self, digit_set: DigitSet) -> Path:
        """Write an own set into the data folder and return its folder.

        Nothing that exists is replaced; a set may get its other split later. Raises DigitSetError
        as ``check_new`` does, or when the folder cannot be written.
        """
        return set_writer.add(self.data_dir, digit_set, self._live)


def _generate(name: str, split: str) -> DigitSet:
    from digitcnn.digits import synthetic

    return synthetic.draw(name, split)
