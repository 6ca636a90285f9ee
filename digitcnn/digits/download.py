"""Download published digit files: from several mirrors in order, verified, resumable.

There is a class per way of publishing: ``Mirrors`` (file by file), ``Archive`` (members of a large
remote zip file), ``UspsText`` (another format, converted to IDX), and one in ``mnist_c``.
``sources`` maps sets to them.

Data is received under ``NAME.part``, which a later call resumes, and gets its own name only once
its checksum is the published one. All requests go through ``requests``, as those of ``remotezip``
do, so that one set of proxy and certificate settings holds for both.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import requests
import urllib3
from remotezip import RangeNotSupported, RemoteZip, RemoteZipError

from digitcnn.digits.idx import LARGEST, looks_like_html, write_idx
from digitcnn.errors import DownloadError
from digitcnn.files import atomic_write

# Requests to one mirror before the next is tried; only an interrupted transfer is tried again.
ATTEMPTS = 5

CHUNK = 1 << 16

# Without the first, some servers and requests agree to unpack a .gz file on the way.
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "digitcnn"}

OK, PARTIAL, BAD_RANGE = 200, 206, 416


@dataclass(frozen=True)
class DownloadProgress:
    """How far a download is.

    file: the file being received. done: its bytes received so far. total: all its bytes, None
    where the server does not say. message: one line for people.
    """

    file: str
    done: int
    total: int | None
    message: str


@dataclass(frozen=True)
class RemoteFile:
    """A file as it is published.

    name: its file name. limit: the most bytes accepted for it. digest: MD5 or SHA-256, in hex.
    unpacked: the MD5 of what a gzip file contains, where published; with it, a file that was
    compressed again is accepted too.
    """

    name: str
    limit: int
    digest: str
    unpacked: str | None = None

    def matches(self, stream: BinaryIO) -> bool:
        """Return whether a seekable stream has the published bytes, as they are or recompressed."""
        if _digest(stream, self.digest) == self.digest:
            return True
        if self.unpacked is None:
            return False
        stream.seek(0)
        if _digest(stream, self.unpacked) == self.unpacked:
            return True
        stream.seek(0)
        try:
            with gzip.GzipFile(fileobj=stream) as unpacked:
                return _digest(unpacked, self.unpacked) == self.unpacked
        except (OSError, EOFError, zlib.error):
            return False

    def is_at(self, path: Path) -> bool:
        """Return whether ``path`` has the published bytes."""
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return self.matches(stream)

    def part(self, folder: Path) -> Path:
        """Return the path under which the file is received."""
        return folder / f"{self.name}.part"

    def progress(self, done: int, total: int | None) -> DownloadProgress:
        """Return the progress after ``done`` of ``total`` bytes; total None: unknown."""
        of = f" of {total / 1e6:.1f}" if total else ""
        return DownloadProgress(self.name, done, total, f"{self.name}: {done / 1e6:.1f}{of} MB")


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
class Mirrors(_PublishedFiles):
    """Files that are published one by one. urls: addresses of folders, with the final slash."""

    def fetch(self, split: str, folder: Path, timeout: float) -> Iterator[DownloadProgress]:
        """Download the files that are missing, each from the first mirror that has it."""
        for file in _missing(self.files[split], folder):
            yield from receive(file, [url + file.name for url in self.urls], folder, timeout)
            if not _finish(file, folder):
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
            except _MirrorFailed as error:
                problems.append(f"{url}: {error}")
        if not without_ranges:
            raise _unreachable(self.whole.name, problems, folder)
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
            except _Interrupted:
                if attempt == ATTEMPTS:
                    raise

    def _fetch_from_whole(self, split: str, folder: Path) -> Iterator[DownloadProgress]:
        path = self.whole.part(folder)
        try:
            with zipfile.ZipFile(path) as archive:
                yield from self._extract(archive, split, folder)
        except (_MirrorFailed, zipfile.BadZipFile) as error:
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
                            raise _MirrorFailed(f"{file.name} is larger than the published file")
                        yield file.progress(out.tell(), info.file_size)
                if not _finish(file, folder):
                    raise _MirrorFailed(f"{file.name} does not match the published checksum")
            except KeyError:
                raise _MirrorFailed(f"the archive has no {self.inside}{file.name}") from None
            except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
                raise _MirrorFailed(f"{file.name} is damaged in the archive ({error})") from error
            except (EOFError, *NETWORK_ERRORS) as error:
                raise _Interrupted(_reason(error)) from error
            finally:
                # A member is not resumed: unpacking starts at its beginning.
                part.unlink(missing_ok=True)


@dataclass(frozen=True)
class UspsText:
    """The USPS test digits as LIBSVM publishes them: bz2, a text line per image, 16x16.

    They are written as IDX files, enlarged to 20x20 and padded to 28x28. urls: of the file.
    """

    urls: tuple[str, ...]
    file: RemoteFile

    splits = ("test",)

    def fetch(self, split: str, folder: Path, timeout: float) -> Iterator[DownloadProgress]:
        """Download the text file and write its images and labels as IDX files."""
        from digitcnn.digits.usps import enlarge_usps, read_usps  # needs PyTorch

        yield from receive(self.file, self.urls, folder, timeout)
        part = self.file.part(folder)
        images, labels = read_usps(part)
        write_idx(folder / f"{split}-images-idx3-ubyte.gz", enlarge_usps(images))
        write_idx(folder / f"{split}-labels-idx1-ubyte.gz", labels)
        part.unlink()

    def is_published(self, split: str, images: Path, labels: Path) -> bool:
        """Return True: the files were converted, so there are no published ones to compare."""
        return True


# Transfer

NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, RemoteZipError)
# ValueError: of a proxy that urllib3 does not know, such as socks://.
OPENING_ERRORS = (*NETWORK_ERRORS, ValueError)


class _MirrorFailed(Exception):
    """A mirror does not provide the file; the text completes 'ADDRESS: ...'."""


class _Interrupted(_MirrorFailed):
    """The transfer broke off and can be resumed."""


class _NoRanges(Exception):
    """A mirror does not support ranges, or answers them with something that is not an archive."""


def receive(
    file: RemoteFile, urls: Sequence[str], folder: Path, timeout: float
) -> Iterator[DownloadProgress]:
    """Receive the published file as ``NAME.part`` in ``folder``, from the first mirror that has it.

    Raises DownloadError, with every mirror's problem.
    """
    if file.is_at(file.part(folder)):
        return
    problems = []
    for url in urls:
        try:
            yield from _receive_from(url, file, folder, timeout)
            return
        except _MirrorFailed as error:
            problems.append(f"{url}: {error}")
    raise _unreachable(file.name, problems, folder)


def _receive_from(
    url: str, file: RemoteFile, folder: Path, timeout: float
) -> Iterator[DownloadProgress]:
    part = file.part(folder)
    for attempt in range(1, ATTEMPTS + 1):
        resumed = part.exists()
        try:
            yield from _transfer(url, file, part, timeout)
        except _Interrupted:
            if attempt == ATTEMPTS:
                raise
            continue
        if file.is_at(part):
            return
        part.unlink()
        # The part of an earlier call or another mirror may have begun differently: start afresh.
        if not resumed or attempt == ATTEMPTS:
            raise _MirrorFailed("it does not match the published checksum")


def _transfer(url: str, file: RemoteFile, part: Path, timeout: float) -> Iterator[DownloadProgress]:
    """Make one request and append to ``part``, or rewrite it where the server sends everything."""
    done = part.stat().st_size if part.exists() else 0
    headers = {**HEADERS, "Range": f"bytes={done}-"} if done else HEADERS
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=timeout)
    except OPENING_ERRORS as error:
        raise _MirrorFailed(_reason(error)) from error
    with response:
        if done and not _resumes_at(done, response):
            done = 0
            if response.status_code == BAD_RANGE:
                part.unlink()
                raise _Interrupted("it cannot be resumed where the last transfer broke off")
        if response.status_code not in (OK, PARTIAL):
            raise _MirrorFailed(f"HTTP {response.status_code} {response.reason}")
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        try:
            for chunk in _chunks(response, file, done, total):
                with part.open("ab" if done else "wb") as out:
                    out.write(chunk)
                done += len(chunk)
                yield file.progress(done, total)
        except NETWORK_ERRORS as error:
            raise _Interrupted(f"{_reason(error)} after {done:,} bytes") from error


def _chunks(
    response: requests.Response, file: RemoteFile, done: int, total: int | None
) -> Iterator[bytes]:
    """Yield a response's body, as long as it may be ``file`` from byte ``done`` on."""
    too_large = _MirrorFailed("the response is larger than the published file")
    if (total or 0) > file.limit:
        raise too_large
    # As on the wire: a .gz file that a server calls an encoding must not be unpacked here.
    for chunk in response.raw.stream(CHUNK, decode_content=False):
        if done == 0 and looks_like_html(chunk):
            raise _MirrorFailed("the server sent an HTML page instead of the file")
        done += len(chunk)
        if done > file.limit:
            raise too_large
        yield chunk


def _resumes_at(done: int, response: requests.Response) -> bool:
    content_range = response.headers.get("Content-Range", "")
    return response.status_code == PARTIAL and bool(re.match(rf"bytes {done}-", content_range))


def _open_remote(url: str, session: requests.Session, timeout: float) -> zipfile.ZipFile:
    try:
        archive: zipfile.ZipFile = RemoteZip(url, session=session, headers=HEADERS, timeout=timeout)
        return archive
    except (RangeNotSupported, zipfile.BadZipFile) as error:
        raise _NoRanges from error
    except OPENING_ERRORS as error:
        raise _MirrorFailed(_reason(error)) from error


def _limit_ranges_to(limit: int) -> Callable[..., None]:
    """Return a hook that refuses large partial responses: remotezip reads all that is sent."""

    def check(response: requests.Response, *args: object, **kwargs: object) -> None:
        length = response.headers.get("Content-Length", "")
        if response.status_code == PARTIAL and not (length.isdecimal() and int(length) <= limit):
            response.close()
            raise requests.RequestException("the response is larger than requested")

    return check


def _reason(error: Exception) -> str:
    """Say in a few words why a transfer failed; requests' own texts are nested representations."""
    words = str(error) or type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (requests.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError)):
            return "timed out"
        if isinstance(cause, requests.HTTPError) and cause.response is not None:
            return f"HTTP {cause.response.status_code} {cause.response.reason}"
        if isinstance(cause, OSError) and cause.strerror:
            words = cause.strerror
        cause = cause.__cause__ or cause.__context__
    return words


def _unreachable(name: str, problems: list[str], folder: Path) -> DownloadError:
    return DownloadError(
        f"{name} could not be downloaded ({'; '.join(problems)}); check the network, "
        f"or put the files in {folder} yourself."
    )


# Files


def _finish(file: RemoteFile, folder: Path) -> bool:
    """Give a received file its own name; return False, and remove it, if its checksum is wrong.

    It is copied, not renamed: another process that downloads the same set may still be writing to
    the part.
    """
    part = file.part(folder)
    content = part.read_bytes()
    part.unlink(missing_ok=True)
    if not file.matches(io.BytesIO(content)):
        return False
    with atomic_write(folder / file.name) as out:
        out.write(content)
    return True


def _missing(files: FilePair, folder: Path) -> list[RemoteFile]:
    return [file for file in files if not file.is_at(folder / file.name)]


def _digest(stream: io.BufferedIOBase | BinaryIO, like: str) -> str:
    """Return the hex digest of at most LARGEST bytes, MD5 or SHA-256 as ``like`` is."""
    digest = hashlib.new({32: "md5", 64: "sha256"}[len(like)], usedforsecurity=False)
    left = LARGEST
    while left > 0 and (chunk := stream.read(min(left, 1 << 20))):
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest()
