"""Fetch published digit files: from several places in order, verified, resumed, landed whole.

Three kinds of source, each told by how its files are published: ``Mirrors`` (file by file),
``Archive`` (members of a large remote zip file), ``UspsText`` (another format, converted to IDX).
Which sets have which source is left to ``catalog``.

Everything is received under ``NAME.part``, which a later call goes on with, and takes its own name
only once its digest is the published one. HTTP is spoken by ``requests``, because ``remotezip``
speaks it too: one set of proxy and certificate settings holds for both.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import requests
import urllib3
from remotezip import RangeNotSupported, RemoteZip, RemoteZipError

from digitcnn.digits.idx import LARGEST, looks_like_html, write_idx
from digitcnn.errors import DownloadError
from digitcnn.files import atomic_write

# Requests to one place before the next is tried; only a cut transfer is worth another.
ATTEMPTS = 5

CHUNK = 1 << 16

# Without the first, some servers and requests agree to unpack a .gz file on the way.
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "digitcnn"}


@dataclass(frozen=True)
class DownloadProgress:
    """How far a download is.

    file: the file that is being fetched. done: bytes of it that are here.
    total: its bytes, None where the server does not say. message: one line for the person.
    """

    file: str
    done: int
    total: int | None
    message: str


@dataclass(frozen=True)
class RemoteFile:
    """A file as it is published.

    name: its file name. limit: the most bytes that are accepted for it.
    digest: MD5 or SHA-256, in hex. unpacked: MD5 of what is inside a gzip file, where published:
    with it a file that was packed again is accepted too.
    """

    name: str
    limit: int
    digest: str
    unpacked: str | None = None

    def is_published(self, stream: BinaryIO) -> bool:
        """Whether a seekable stream holds the published bytes, as they are or packed again."""
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


class Source(Protocol):
    """Where a set comes from."""

    @property
    def default_splits(self) -> tuple[str, ...]:
        """What is fetched where nobody names a split."""

    @property
    def splits(self) -> tuple[str, ...]:
        """All splits that can be fetched."""

    def fetch(self, split: str, folder: Path, timeout: float) -> Iterator[DownloadProgress]:
        """Put the files of ``split`` into ``folder``, an existing folder.

        timeout: seconds that a server may be silent. Raises DownloadError when no place gives
        the published files, OSError when the folder cannot be written.
        """

    def is_published(self, split: str, images: Path, labels: Path) -> bool:
        """Whether two files are the published ones. Raises OSError."""


@dataclass(frozen=True)
class Mirrors:
    """Files that are published one by one, in several places.

    places: addresses of folders, with the final slash. files: images and labels, by split.
    """

    places: tuple[str, ...]
    files: Mapping[str, tuple[RemoteFile, RemoteFile]]
    default_splits: tuple[str, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.files)

    def fetch(self, split: str, folder: Path, timeout: float) -> Iterator[DownloadProgress]:
        for file in _missing(self.files[split], folder):
            urls = [place + file.name for place in self.places]
            yield from _receive(file, urls, folder, timeout)
            if not _land(file, folder):
                raise DownloadError(
                    f"{file.name} changed while it was fetched; wait until no other program "
                    f"fetches it into {folder}, then try again."
                )

    def is_published(self, split: str, images: Path, labels: Path) -> bool:
        return _are_published(self.files[split], (images, labels))


@dataclass(frozen=True)
class Archive:
    """Members of a zip file, taken out by HTTP ranges; where those are refused, out of the whole.

    places: addresses of the archive. whole: the archive itself.
    inside: the folder inside it, with the final slash. files: images and labels, by split.
    """

    places: tuple[str, ...]
    whole: RemoteFile
    inside: str
    files: Mapping[str, tuple[RemoteFile, RemoteFile]]
    default_splits: tuple[str, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.files)

    def fetch(self, split: str, folder: Path, timeout: float) -> Iterator[DownloadProgress]:
        problems = []
        # The whole archive may be fifty times what is wanted: first every place by ranges.
        refused = []
        for url in self.places:
            try:
                yield from self._fetch_by_ranges(url, split, folder, timeout)
                return
            except _RangesRefused:
                refused.append(url)
            except _PlaceFailed as error:
                problems.append(f"{url}: {error}")
        if refused:
            try:
                yield from _receive(self.whole, refused, folder, timeout)
            except DownloadError as error:
                # What the other places said belongs into the same sentence.
                raise DownloadError("; ".join([*problems, str(error)])) from error
            yield from self._unpack(split, folder)
            return
        raise _unreachable(self.whole.name, problems, folder)

    def is_published(self, split: str, images: Path, labels: Path) -> bool:
        return _are_published(self.files[split], (images, labels))

    def _fetch_by_ranges(
        self, url: str, split: str, folder: Path, timeout: float
    ) -> Iterator[DownloadProgress]:
        largest = max(file.limit for file in self.files[split])
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with requests.Session() as session:
                    session.hooks["response"].append(_refuse_larger_than(largest + CHUNK))
                    with _open_remote(url, session, timeout) as archive:
                        for file in _missing(self.files[split], folder):
                            yield from self._take(archive, file, folder)
                return
            except _Cut:
                if attempt == ATTEMPTS:
                    raise

    def _unpack(self, split: str, folder: Path) -> Iterator[DownloadProgress]:
        path = _part(self.whole, folder)
        try:
            with zipfile.ZipFile(path) as archive:
                for file in _missing(self.files[split], folder):
                    yield from self._take(archive, file, folder)
        except (_PlaceFailed, zipfile.BadZipFile) as error:
            raise DownloadError(
                f"{self.whole.name} was fetched, but cannot be unpacked: {error}; fetch it again."
            ) from error
        finally:
            path.unlink(missing_ok=True)

    def _take(
        self, archive: zipfile.ZipFile, file: RemoteFile, folder: Path
    ) -> Iterator[DownloadProgress]:
        """One member out of ``archive`` to its place in ``folder``."""
        try:
            info = archive.getinfo(self.inside + file.name)
        except KeyError:
            raise _PlaceFailed(f"the archive holds no {self.inside}{file.name}") from None
        part = _part(file, folder)
        try:
            with archive.open(info) as member, part.open("wb") as out:
                while chunk := member.read(CHUNK):
                    out.write(chunk)
                    if out.tell() > file.limit:
                        raise _PlaceFailed(f"{file.name} is larger than the published file")
                    yield _progress(file, out.tell(), info.file_size)
            if not _land(file, folder):
                raise _PlaceFailed(f"{file.name} has another digest than the published file")
        except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            raise _PlaceFailed(f"{file.name} is damaged in the archive ({error})") from error
        except (EOFError, *NETWORK_ERRORS) as error:
            raise _Cut(_reason(error)) from error
        finally:
            # A member is not gone on with: unpacking starts at its beginning.
            part.unlink(missing_ok=True)


@dataclass(frozen=True)
class UspsText:
    """The USPS test digits as LIBSVM publishes them: bz2, a text line per image, 16x16.

    They land as IDX files, enlarged to 20x20 and padded to 28x28.
    places: addresses of the file.
    """

    places: tuple[str, ...]
    file: RemoteFile

    default_splits = splits = ("test",)

    def fetch(self, split: str, folder: Path, timeout: float) -> Iterator[DownloadProgress]:
        yield from _receive(self.file, self.places, folder, timeout)
        part = _part(self.file, folder)
        from digitcnn.digits.usps import enlarge_usps, read_usps  # PyTorch

        images, labels = read_usps(part)
        write_idx(folder / f"{split}-images-idx3-ubyte.gz", enlarge_usps(images))
        write_idx(folder / f"{split}-labels-idx1-ubyte.gz", labels)
        part.unlink()

    def is_published(self, split: str, images: Path, labels: Path) -> bool:
        """True: converted on arrival, there is nothing published to compare them with."""
        return True


# --- Transfer --------------------------------------------------------------------------------

NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, RemoteZipError)


class _PlaceFailed(Exception):
    """One place does not give what is wanted; its text completes 'ADDRESS: ...'."""


class _Cut(_PlaceFailed):
    """The transfer broke off; it can be gone on with."""


class _RangesRefused(Exception):
    """A place has no ranges, or answers them with something that is no archive."""


def _receive(
    file: RemoteFile, urls: list[str] | tuple[str, ...], folder: Path, timeout: float
) -> Iterator[DownloadProgress]:
    """Make ``NAME.part`` in ``folder`` the published file, from the first place that has it."""
    if _is_published(file, _part(file, folder)):
        return
    problems = []
    for url in urls:
        try:
            yield from _receive_from(url, file, folder, timeout)
            return
        except _PlaceFailed as error:
            problems.append(f"{url}: {error}")
    raise _unreachable(file.name, problems, folder)


def _receive_from(
    url: str, file: RemoteFile, folder: Path, timeout: float
) -> Iterator[DownloadProgress]:
    part = _part(file, folder)
    for attempt in range(1, ATTEMPTS + 1):
        resumed = part.exists()
        try:
            yield from _transfer(url, file, part, timeout)
        except _Cut:
            if attempt == ATTEMPTS:
                raise
            continue
        if _is_published(file, part):
            return
        part.unlink()
        # What an earlier call or another place left may have been the wrong beginning.
        if not resumed or attempt == ATTEMPTS:
            raise _PlaceFailed("its bytes have another digest than the published file")


def _transfer(url: str, file: RemoteFile, part: Path, timeout: float) -> Iterator[DownloadProgress]:
    """One request: ``part`` from where it ends, or from its start where the server insists."""
    done = part.stat().st_size if part.exists() else 0
    headers = {**HEADERS, "Range": f"bytes={done}-"} if done else HEADERS
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=timeout)
    except NETWORK_ERRORS as error:
        raise _PlaceFailed(_reason(error)) from error
    with response:
        if done and not _goes_on_at(done, response):
            done = 0
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                part.unlink()
                raise _Cut("it cannot go on where the last transfer was cut")
        if response.status_code not in (requests.codes.ok, requests.codes.partial_content):
            raise _PlaceFailed(f"HTTP {response.status_code} {response.reason}")
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        try:
            for chunk in _body(response, file, done, total):
                with part.open("ab" if done else "wb") as out:
                    out.write(chunk)
                done += len(chunk)
                yield _progress(file, done, total)
        except NETWORK_ERRORS as error:
            raise _Cut(f"{_reason(error)} after {done:,} bytes") from error


def _body(
    response: requests.Response, file: RemoteFile, done: int, total: int | None
) -> Iterator[bytes]:
    """The pieces of an answer that may be ``file`` from byte ``done`` on."""
    if (total or 0) > file.limit:
        raise _PlaceFailed("what came is larger than the published file")
    # As on the wire: a .gz file that a server calls an encoding must not be unpacked here.
    for chunk in response.raw.stream(CHUNK, decode_content=False):
        if done == 0 and looks_like_html(chunk):
            raise _PlaceFailed("an HTML page came instead of the file")
        done += len(chunk)
        if done > file.limit:
            raise _PlaceFailed("what came is larger than the published file")
        yield chunk


def _goes_on_at(done: int, response: requests.Response) -> bool:
    content_range = response.headers.get("Content-Range", "")
    return response.status_code == requests.codes.partial_content and bool(
        re.match(rf"bytes {done}-", content_range)
    )


def _open_remote(url: str, session: requests.Session, timeout: float) -> zipfile.ZipFile:
    try:
        return RemoteZip(url, session=session, headers=HEADERS, timeout=timeout)
    except (RangeNotSupported, zipfile.BadZipFile) as error:
        raise _RangesRefused from error
    except NETWORK_ERRORS as error:
        raise _PlaceFailed(_reason(error)) from error


def _refuse_larger_than(limit: int) -> Callable[..., None]:
    """A hook for responses to range requests: remotezip reads as much as the server sends."""

    def check(response: requests.Response, *args: object, **kwargs: object) -> None:
        length = response.headers.get("Content-Length", "")
        partial = response.status_code == requests.codes.partial_content
        if partial and not (length.isdecimal() and int(length) <= limit):
            response.close()
            raise requests.RequestException("its answer is larger than what was asked for")

    return check


def _reason(error: Exception) -> str:
    """Why a transfer failed, in a few words; requests' own texts are nested representations."""
    words = str(error) or type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (requests.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError)):
            return "no answer in time"
        if isinstance(cause, requests.HTTPError) and cause.response is not None:
            return f"HTTP {cause.response.status_code} {cause.response.reason}"
        if isinstance(cause, OSError) and cause.strerror:
            words = cause.strerror
        cause = cause.__cause__ or cause.__context__
    return words


# --- Files -----------------------------------------------------------------------------------


def _part(file: RemoteFile, folder: Path) -> Path:
    return folder / f"{file.name}.part"


def _progress(file: RemoteFile, done: int, total: int | None) -> DownloadProgress:
    of = f" of {total / 1e6:.1f}" if total else ""
    return DownloadProgress(file.name, done, total, f"{file.name}: {done / 1e6:.1f}{of} MB")


def _land(file: RemoteFile, folder: Path) -> bool:
    """Give a received file its name; False, and nothing of it left, where its digest is wrong.

    It is copied, not renamed: another process that fetches the same set may still be writing
    to the part.
    """
    part = _part(file, folder)
    content = part.read_bytes()
    part.unlink(missing_ok=True)
    if not file.is_published(io.BytesIO(content)):
        return False
    with atomic_write(folder / file.name) as out:
        out.write(content)
    return True


def _missing(files: tuple[RemoteFile, ...], folder: Path) -> list[RemoteFile]:
    return [file for file in files if not _is_published(file, folder / file.name)]


def _is_published(file: RemoteFile, path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return file.is_published(stream)


def _are_published(files: tuple[RemoteFile, ...], paths: tuple[Path, ...]) -> bool:
    return all(_is_published(file, path) for file, path in zip(files, paths, strict=True))


def _unreachable(name: str, problems: list[str], folder: Path) -> DownloadError:
    return DownloadError(
        f"{name} could not be fetched ({'; '.join(problems)}); check the network, "
        f"or put the files into {folder} by hand."
    )


def _digest(stream: io.BufferedIOBase | BinaryIO, like: str) -> str:
    """Hex digest of at most LARGEST bytes of ``stream``, of the kind that ``like`` is."""
    kind = {32: "md5", 64: "sha256"}[len(like)]
    digest = hashlib.new(kind, usedforsecurity=False)
    left = LARGEST
    while left > 0 and (chunk := stream.read(min(left, 1 << 20))):
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest()
