"""Download digit sets that are published as IDX files, one by one or in an archive.

There is a class per way of publishing: ``Mirrors`` (file by file) and ``Archive`` (members of a
large remote zip file) here, and a class for each set that is converted to IDX in ``usps`` and
``mnist_c``. ``sources`` maps sets to them; ``transfer`` receives a single file.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import requests
from remotezip import RangeNotSupported, RemoteZip

from digitcnn.digits.transfer import (
    ATTEMPTS,
    CHUNK,
    HEADERS,
    NETWORK_ERRORS,
    OPENING_ERRORS,
    PARTIAL,
    DownloadProgress,
    Interrupted,
    MirrorFailed,
    RemoteFile,
    finish,
    reason_of,
    receive,
    unreachable,
)
from digitcnn.errors import DownloadError

FilePair = tuple[RemoteFile, RemoteFile]


class Source(Protocol):
    """Where a set can be downloaded."""

    @property
    def splits(self) -> tuple[str, ...]:
        """All splits that can be downloaded."""

    def fetch(self, split: str, folder: Path, timeout: float) -> Iterator[DownloadProgress]:
        """Put the files of ``split`` into ``folder``, which exists.

        timeout: seconds that a server may be silent. Raises DownloadError when no mirror has the
        published files, OSError when the folder cannot be written.
        """

    def is_published(self, split: str, images: Path, labels: Path) -> bool:
        """Return whether two files are the published ones. Raises OSError."""


@dataclass(frozen=True)
class _PublishedFiles:
    """IDX files that are published as such. files: images and labels, by split."""

    urls: tuple[str, ...]
    files: Mapping[str, FilePair]

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.files)

    def is_published(self, split: str, images: Path, labels: Path) -> bool:
        first, second = self.files[split]
        return first.is_at(images) and second.is_at(labels)


@dataclass(frozen=True)
class ConvertedFile:
    """One published file that ``fetch`` of a subclass converts to IDX. urls: of its mirrors."""

    urls: tuple[str, ...]
    file: RemoteFile

    splits = ("test",)

    def is_published(self, split: str, images: Path, labels: Path) -> bool:
        """Return True: the files were converted, so there are no published ones to compare."""
        return True


@dataclass(frozen=True)
class Mirrors(_PublishedFiles):
    """Files that are published one by one. urls: addresses of folders, with the final slash."""

    def fetch(self, split: str, folder: Path, timeout: float) -> Iterator[DownloadProgress]:
        """Download the files that are missing, each from the first mirror that has it."""
        for file in _missing(self.files[split], folder):
            yield from receive(file, [url + file.name for url in self.urls], folder, timeout)
            if not finish(file, folder):
                raise DownloadError(
                    f"{file.name} changed during the download; wait until no other program "
                    f"writes to {folder}, then try again."
                )


@dataclass(frozen=True)
class Archive(_PublishedFiles):
    """Members of a zip file, extracted by HTTP ranges, or from the whole where a server has none.

    urls: addresses of the archive. whole: the archive itself. inside: the folder inside it, with
    the final slash.
    """

    whole: RemoteFile
    inside: str

    def fetch(self, split: str, folder: Path, timeout: float) -> Iterator[DownloadProgress]:
        """Extract the files that are missing, by ranges where a mirror supports them."""
        problems = []
        # The whole archive may be fifty times as large as its members: try ranges everywhere first.
        without_ranges = []
        for url in self.urls:
            try:
                yield from self._fetch_by_ranges(url, split, folder, timeout)
                return
            except _NoRanges:
                without_ranges.append(url)
            except MirrorFailed as error:
                problems.append(f"{url}: {error}")
        if not without_ranges:
            raise unreachable(self.whole.name, problems, folder)
        try:
            yield from receive(self.whole, without_ranges, folder, timeout)
        except DownloadError as error:
            # The other mirrors' problems belong in the same sentence.
            raise DownloadError("; ".join([*problems, str(error)])) from error
        yield from self._fetch_from_whole(split, folder)

    def _fetch_by_ranges(
        self, url: str, split: str, folder: Path, timeout: float
    ) -> Iterator[DownloadProgress]:
        largest = max(file.limit for file in self.files[split])
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with requests.Session() as session:
                    session.hooks["response"].append(_limit_ranges_to(largest + CHUNK))
                    with _open_remote(url, session, timeout) as archive:
                        yield from self._extract(archive, split, folder)
                return
            except Interrupted:
                if attempt == ATTEMPTS:
                    raise

    def _fetch_from_whole(self, split: str, folder: Path) -> Iterator[DownloadProgress]:
        path = self.whole.part(folder)
        try:
            with zipfile.ZipFile(path) as archive:
                yield from self._extract(archive, split, folder)
        except (MirrorFailed, zipfile.BadZipFile) as error:
            raise DownloadError(
                f"{self.whole.name} was downloaded but cannot be unpacked: {error}; "
                "download it again."
            ) from error
        finally:
            path.unlink(missing_ok=True)

    def _extract(
        self, archive: zipfile.ZipFile, split: str, folder: Path
    ) -> Iterator[DownloadProgress]:
        """Extract the members that are missing from ``folder``."""
        for file in _missing(self.files[split], folder):
            part = file.part(folder)
            try:
                info = archive.getinfo(self.inside + file.name)
                with archive.open(info) as member, part.open("wb") as out:
                    while chunk := member.read(CHUNK):
                        out.write(chunk)
                        if out.tell() > file.limit:
                            raise MirrorFailed(f"{file.name} is larger than the published file")
                        yield file.progress(out.tell(), info.file_size)
                if not finish(file, folder):
                    raise MirrorFailed(f"{file.name} does not match the published checksum")
            except KeyError:
                raise MirrorFailed(f"the archive has no {self.inside}{file.name}") from None
            except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
                raise MirrorFailed(f"{file.name} is damaged in the archive ({error})") from error
            except (EOFError, *NETWORK_ERRORS) as error:
                raise Interrupted(reason_of(error)) from error
            finally:
                # A member is not resumed: unpacking starts at its beginning.
                part.unlink(missing_ok=True)


class _NoRanges(Exception):
    """A mirror does not support ranges, or answers them with something that is not an archive."""


def _open_remote(url: str, session: requests.Session, timeout: float) -> zipfile.ZipFile:
    try:
        archive: zipfile.ZipFile = RemoteZip(url, session=session, headers=HEADERS, timeout=timeout)
        return archive
    except (RangeNotSupported, zipfile.BadZipFile) as error:
        raise _NoRanges from error
    except OPENING_ERRORS as error:
        raise MirrorFailed(reason_of(error)) from error


def _limit_ranges_to(limit: int) -> Callable[..., None]:
    """Return a hook that refuses large partial responses: remotezip reads all that is sent."""

    def check(response: requests.Response, *args: object, **kwargs: object) -> None:
        length = response.headers.get("Content-Length", "")
        if response.status_code == PARTIAL and not (length.isdecimal() and int(length) <= limit):
            response.close()
            raise requests.RequestException("the response is larger than requested")

    return check


def _missing(files: FilePair, folder: Path) -> list[RemoteFile]:
    return [file for file in files if not file.is_at(folder / file.name)]
