"""Download digit sets into a catalog's data folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from digitcnn.digits.catalog import Catalog
from digitcnn.digits.download import Source
from digitcnn.digits.idx import explaining
from digitcnn.digits.names import GENERATED, MNIST_C, MNIST_C_SETS
from digitcnn.digits.set_files import LAYOUTS
from digitcnn.digits.set_writer import cannot_write, exclusive
from digitcnn.digits.sources import SOURCES
from digitcnn.digits.transfer import DownloadProgress
from digitcnn.errors import DigitSetError, DownloadError

# Seconds that a server may be silent.
TIMEOUT = 30.0


def download(
    catalog: Catalog, name: str, split: str | None = None, timeout: float = TIMEOUT
) -> Iterator[DownloadProgress]:
    """Download a set into the data folder, unless it is available already.

    split: None for the default splits. timeout: seconds that a server may be silent. Readable files
    are never replaced. The download starts when the iterator is first advanced. An interrupted
    download is resumed.

    Raises DigitSetError when the set cannot be downloaded at all, DownloadError when every source
    fails, the data folder cannot be written, or a download is under way already.
    """
    if name in GENERATED:
        text = f"{name} is generated, so there is nothing to download."
        yield DownloadProgress(name, 0, None, text)
        return
    sources = SOURCES if catalog.sources is None else catalog.sources
    source = sources.get(name)
    if source is None:
        raise DigitSetError(f"{name!r:.80} cannot be downloaded; available: {', '.join(sources)}.")
    if split is not None and split not in source.splits:
        raise DigitSetError(
            f"{name} has no {split!r:.80} split to download; use {' or '.join(source.splits)}."
        )
    if name == MNIST_C:
        yield from _download_mnist_c(catalog, source, timeout)
        return
    for each in LAYOUTS[name].default_splits if split is None else (split,):
        folder = catalog.data_dir / LAYOUTS[name].folders[0]
        available = _available_text(catalog, name, each, source)
        if available is None:
            yield from _fetch(catalog, source, name, each, folder, timeout)
        n = len(catalog.open(name, each))
        text = available or f"{name} ({each}): {n:,} images in {folder}."
        yield DownloadProgress(name, n, n, text)


def _download_mnist_c(
    catalog: Catalog, source: Source, timeout: float
) -> Iterator[DownloadProgress]:
    """Download the archive, which becomes a set for each corruption, where one is missing."""
    available = "is already"
    if not all(catalog.has(name, "test") for name in MNIST_C_SETS):
        yield from _fetch(catalog, source, MNIST_C, "test", catalog.data_dir / MNIST_C, timeout)
        available = "is now"
    n = sum(len(catalog.open(name, "test")) for name in MNIST_C_SETS)
    text = f"{MNIST_C} {available} available: {n:,} images in {len(MNIST_C_SETS)} sets."
    yield DownloadProgress(MNIST_C, n, n, text)


def _fetch(
    catalog: Catalog, source: Source, name: str, split: str, folder: Path, timeout: float
) -> Iterator[DownloadProgress]:
    try:
        with exclusive(catalog.data_dir, folder, name, "being downloaded to"):
            yield from source.fetch(split, folder, timeout)
    except OSError as error:
        raise DownloadError(cannot_write(name, folder, error)) from error


def _available_text(catalog: Catalog, name: str, split: str, source: Source) -> str | None:
    """Return a message that the set is available; None if it is missing or damaged."""
    try:
        files = catalog.files(name, split)
        if files is None:
            return None
        n = len(catalog.open(name, split))
    except DigitSetError:
        return None
    text = f"{name} ({split}) is already available: {n:,} images in {files.images.parent}."
    with explaining(files.images):
        published = source.is_published(split, files.images, files.labels)
    if not published:
        text += (
            " These files differ from the published ones. Move them away to download the originals."
        )
    return text
