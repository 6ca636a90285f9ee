"""Receive one published file over HTTP: from several mirrors in order, verified, resumable.

Data is received under ``NAME.part``, which a later call resumes, and gets its own name only once
its checksum is the published one. All requests go through ``requests``, as those of ``remotezip``
do, so that one set of proxy and certificate settings holds for both.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import requests
import urllib3
from remotezip import RemoteZipError

from digitcnn.digits.idx import LARGEST, looks_like_html
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


NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, RemoteZipError)
# ValueError: of a proxy that urllib3 does not know, such as socks://.
OPENING_ERRORS = (*NETWORK_ERRORS, ValueError)


class MirrorFailed(Exception):
    """A mirror does not provide the file; the text completes 'ADDRESS: ...'."""


class Interrupted(MirrorFailed):
    """The transfer was interrupted and can be resumed."""


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
        except MirrorFailed as error:
            problems.append(f"{url}: {error}")
    raise unreachable(file.name, problems, folder)


def _receive_from(
    url: str, file: RemoteFile, folder: Path, timeout: float
) -> Iterator[DownloadProgress]:
    part = file.part(folder)
    for attempt in range(1, ATTEMPTS + 1):
        resumed = part.exists()
        try:
            yield from _transfer(url, file, part, timeout)
        except Interrupted:
            if attempt == ATTEMPTS:
                raise
            continue
        if file.is_at(part):
            return
        part.unlink()
        # The part of an earlier call or another mirror may have begun differently: start again.
        if not resumed or attempt == ATTEMPTS:
            raise MirrorFailed("it does not match the published checksum")


def _transfer(url: str, file: RemoteFile, part: Path, timeout: float) -> Iterator[DownloadProgress]:
    """Make one request and append to ``part``, or rewrite it where the server sends everything."""
    done = part.stat().st_size if part.exists() else 0
    headers = {**HEADERS, "Range": f"bytes={done}-"} if done else HEADERS
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=timeout)
    except OPENING_ERRORS as error:
        raise MirrorFailed(reason_of(error)) from error
    with response:
        if done and not _resumes_at(done, response):
            done = 0
            if response.status_code == BAD_RANGE:
                part.unlink()
                raise Interrupted("it cannot be resumed where the last transfer was interrupted")
        if response.status_code not in (OK, PARTIAL):
            raise MirrorFailed(f"HTTP {response.status_code} {response.reason}")
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        try:
            for chunk in _chunks(response, file, done, total):
                with part.open("ab" if done else "wb") as out:
                    out.write(chunk)
                done += len(chunk)
                yield file.progress(done, total)
        except NETWORK_ERRORS as error:
            raise Interrupted(f"{reason_of(error)} after {done:,} bytes") from error


def _chunks(
    response: requests.Response, file: RemoteFile, done: int, total: int | None
) -> Iterator[bytes]:
    """Yield a response's body, as long as it may be ``file`` from byte ``done`` on."""
    too_large = MirrorFailed("the response is larger than the published file")
    if (total or 0) > file.limit:
        raise too_large
    # As on the wire: a .gz file that a server calls an encoding must not be unpacked here.
    for chunk in response.raw.stream(CHUNK, decode_content=False):
        if done == 0 and looks_like_html(chunk):
            raise MirrorFailed("the server sent an HTML page instead of the file")
        done += len(chunk)
        if done > file.limit:
            raise too_large
        yield chunk


def _resumes_at(done: int, response: requests.Response) -> bool:
    content_range = response.headers.get("Content-Range", "")
    return response.status_code == PARTIAL and bool(re.match(rf"bytes {done}-", content_range))


def reason_of(error: Exception) -> str:
    """Return why a transfer failed, in a few words; requests' own texts are nested reprs."""
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


def unreachable(name: str, problems: list[str], folder: Path) -> DownloadError:
    """Return the error for a file that no mirror provides; problems: one per mirror."""
    return DownloadError(
        f"{name} could not be downloaded ({'; '.join(problems)}); check the network, "
        f"or put the files in {folder} yourself."
    )


def finish(file: RemoteFile, folder: Path) -> bool:
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


def _digest(stream: io.BufferedIOBase | BinaryIO, like: str) -> str:
    """Return the hex digest of at most LARGEST bytes, MD5 or SHA-256 as ``like`` is."""
    digest = hashlib.new({32: "md5", 64: "sha256"}[len(like)], usedforsecurity=False)
    left = LARGEST
    while left > 0 and (chunk := stream.read(min(left, 1 << 20))):
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest()
