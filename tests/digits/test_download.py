"""Downloads from a local server that misbehaves as real ones do."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import random
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from digitcnn.digits.catalog import Catalog
from digitcnn.digits.download import Archive, Mirrors
from digitcnn.digits.idx import read_idx
from digitcnn.digits.mnist_c import CorruptionArchive
from digitcnn.digits.names import CORRUPTIONS, MNIST_C_SETS
from digitcnn.digits.set_download import download
from digitcnn.digits.transfer import DownloadProgress, RemoteFile
from digitcnn.digits.usps import UspsText, enlarge_usps
from digitcnn.errors import DigitSetError, DownloadError

TIMEOUT = 5.0
PAGE = b"<!DOCTYPE html>\n<html><title>Moved</title></html>"

# Not compressible, and long enough to be cut in the middle of several pieces.
IMAGES = random.Random(0).randbytes(300_000)
LABELS = random.Random(1).randbytes(1_000)


# The server


@dataclass
class Place:
    """One address of the server.

    modes: how the 1st, 2nd, ... request is answered; the last one answers all that follow.
    """

    content: bytes
    modes: tuple[str, ...]
    ranges: list[str | None] = field(default_factory=list)
    sent: int = 0


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.places: dict[str, Place] = {}
        self.closing = threading.Event()

    def add(self, path: str, content: bytes, *modes: str) -> Place:
        place = self.places[path] = Place(content, modes or ("ok",))
        return place

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        place = self.server.places.get(self.path)
        if place is None:
            self.send_error(404)
            return
        mode = place.modes[min(len(place.ranges), len(place.modes) - 1)]
        asked = self.headers.get("Range")
        place.ranges.append(asked)
        if mode == "silent":
            self.server.closing.wait()
            return
        content = PAGE if "html" in mode else place.content
        start, end = 0, len(content)
        if asked and "whole" not in mode:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            if first == "":
                start = max(0, end - int(last))
            else:
                start, end = int(first), min(end, int(last) + 1 if last else end)
            if mode == "more":
                start, end = 0, len(content)
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:end]
        if "unsized" not in mode:
            self.send_header("Content-Length", str(len(body)))
        if "encoded" in mode:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if "cut" in mode:
            body = body[: len(body) // 2]
        try:
            self.wfile.write(body)
            place.sent += len(body)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# File by file


def mirrors(*urls: str) -> Mirrors:
    files = (
        RemoteFile("images.gz", 400_000, md5(IMAGES)),
        RemoteFile("labels.gz", 2_000, md5(LABELS)),
    )
    return Mirrors(urls, {"train": files})


def fetch(source: Mirrors, folder: Path) -> list[DownloadProgress]:
    return list(source.fetch("train", folder, TIMEOUT))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_get_their_names_and_progress_is_reported(server: Server, tmp_path: Path) -> None:
    server.add("/images.gz", IMAGES)
    server.add("/labels.gz", LABELS)
    progress = fetch(mirrors(server.url("/")), tmp_path)
    assert names(tmp_path) == ["images.gz", "labels.gz"]
    assert (tmp_path / "images.gz").read_bytes() == IMAGES
    assert (tmp_path / "labels.gz").read_bytes() == LABELS
    images = [record for record in progress if record.file == "images.gz"]
    assert [record.done for record in images] == sorted({record.done for record in images})
    assert len(images) >= 4
    assert images[-1].done == images[-1].total == len(IMAGES)


def test_the_download_starts_when_the_iterator_is_advanced(server: Server, tmp_path: Path) -> None:
    place = server.add("/images.gz", IMAGES)
    mirrors(server.url("/")).fetch("train", tmp_path, TIMEOUT)
    assert place.ranges == []


def test_an_existing_published_file_is_not_requested(server: Server, tmp_path: Path) -> None:
    place = server.add("/images.gz", IMAGES)
    server.add("/labels.gz", LABELS)
    (tmp_path / "images.gz").write_bytes(IMAGES)
    fetch(mirrors(server.url("/")), tmp_path)
    assert place.ranges == []
    assert names(tmp_path) == ["images.gz", "labels.gz"]


def test_an_existing_damaged_file_is_replaced(server: Server, tmp_path: Path) -> None:
    server.add("/images.gz", IMAGES)
    server.add("/labels.gz", LABELS)
    (tmp_path / "images.gz").write_bytes(IMAGES[:1000])
    fetch(mirrors(server.url("/")), tmp_path)
    assert (tmp_path / "images.gz").read_bytes() == IMAGES


@pytest.mark.parametrize("mode", ["html", "html whole unsized", "cut whole", "silent"])
def test_when_a_mirror_fails_the_next_is_used(server: Server, tmp_path: Path, mode: str) -> None:
    for path, content in {"images.gz": IMAGES, "labels.gz": LABELS}.items():
        server.add(f"/bad/{path}", content, mode)
        server.add(f"/good/{path}", content)
    source = mirrors(server.url("/bad/"), server.url("/good/"))
    list(source.fetch("train", tmp_path, 0.2 if mode == "silent" else TIMEOUT))
    assert (tmp_path / "images.gz").read_bytes() == IMAGES


def test_the_error_names_every_mirror_with_its_reason(server: Server, tmp_path: Path) -> None:
    server.add("/page/images.gz", IMAGES, "html")
    server.add("/wrong/images.gz", IMAGES[::-1])
    server.add("/long/images.gz", IMAGES * 2)
    server.add("/silent/images.gz", IMAGES, "silent")
    server.add("/cut/images.gz", IMAGES, "whole cut")
    places = [server.url(f"/{p}/") for p in ("none", "page", "wrong", "long", "silent", "cut")]
    places.append("http://127.0.0.1:1/")
    with pytest.raises(DownloadError) as caught:
        list(mirrors(*places).fetch("train", tmp_path, 0.3))
    message = str(caught.value)
    for place, reason in zip(
        places,
        (
            "HTTP 404 Not Found",
            "an HTML page instead",
            "does not match the published checksum",
            "larger than the published file",
            "timed out",
            "after 150,000 bytes",
            "Connection refused",
        ),
        strict=True,
    ):
        _, _, rest = message.partition(f"{place}images.gz: ")
        assert reason in rest.split(";")[0]
    assert str(tmp_path) in message
    assert not (tmp_path / "images.gz").exists()


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks"])
def test_an_unusable_proxy_gives_one_sentence(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    server.add("/images.gz", IMAGES)
    for name in ("no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("all_proxy", f"{scheme}://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"images\.gz could not be downloaded"):
        fetch(mirrors(server.url("/")), tmp_path)


def test_an_interrupted_transfer_is_resumed(server: Server, tmp_path: Path) -> None:
    place = server.add("/images.gz", IMAGES, "cut", "cut", "ok")
    server.add("/labels.gz", LABELS)
    fetch(mirrors(server.url("/")), tmp_path)
    assert place.ranges == [None, "bytes=150000-", "bytes=225000-"]
    assert place.sent == len(IMAGES)
    assert (tmp_path / "images.gz").read_bytes() == IMAGES


def test_an_interrupted_transfer_restarts_without_ranges(server: Server, tmp_path: Path) -> None:
    place = server.add("/images.gz", IMAGES, "whole cut", "whole")
    server.add("/labels.gz", LABELS)
    fetch(mirrors(server.url("/")), tmp_path)
    assert place.ranges == [None, "bytes=150000-"]
    assert (tmp_path / "images.gz").read_bytes() == IMAGES


def test_the_next_call_resumes_an_interrupted_download(server: Server, tmp_path: Path) -> None:
    place = server.add("/images.gz", IMAGES)
    server.add("/labels.gz", LABELS)
    source = mirrors(server.url("/"))
    interrupted = source.fetch("train", tmp_path, TIMEOUT)
    done = next(interrupted).done
    interrupted.close()
    assert names(tmp_path) == ["images.gz.part"]
    fetch(source, tmp_path)
    assert place.ranges == [None, f"bytes={done}-"]
    assert names(tmp_path) == ["images.gz", "labels.gz"]
    assert (tmp_path / "images.gz").read_bytes() == IMAGES


def test_a_complete_part_needs_no_request(server: Server, tmp_path: Path) -> None:
    place = server.add("/images.gz", IMAGES)
    server.add("/labels.gz", LABELS)
    (tmp_path / "images.gz.part").write_bytes(IMAGES)
    fetch(mirrors(server.url("/")), tmp_path)
    assert place.ranges == []
    assert names(tmp_path) == ["images.gz", "labels.gz"]


@pytest.mark.parametrize(
    "left",
    [b"", b"other bytes", PAGE, IMAGES[::-1], IMAGES + b"more", b"x" * 500_000],
    ids=["empty", "other", "html", "as long", "longer", "over the limit"],
)
def test_a_part_of_another_file_is_replaced(server: Server, tmp_path: Path, left: bytes) -> None:
    server.add("/images.gz", IMAGES)
    server.add("/labels.gz", LABELS)
    (tmp_path / "images.gz.part").write_bytes(left)
    fetch(mirrors(server.url("/")), tmp_path)
    assert (tmp_path / "images.gz").read_bytes() == IMAGES
    assert names(tmp_path) == ["images.gz", "labels.gz"]


def test_an_endless_response_stops_at_the_limit(server: Server, tmp_path: Path) -> None:
    server.add("/images.gz", b"\0" * 50_000_000, "whole unsized")
    records: list[DownloadProgress] = []
    with pytest.raises(DownloadError, match="larger than the published file"):
        records.extend(mirrors(server.url("/")).fetch("train", tmp_path, TIMEOUT))
    assert 0 < records[-1].done <= 400_000
    assert (tmp_path / "images.gz.part").stat().st_size <= 400_000


def test_a_gz_file_sent_as_an_encoding_is_not_unpacked(server: Server, tmp_path: Path) -> None:
    content = gzip.compress(LABELS)
    server.add("/labels.gz", content, "encoded")
    file = RemoteFile("labels.gz", 2_000, md5(content))
    source = Mirrors((server.url("/"),), {"train": (file, file)})
    fetch(source, tmp_path)
    assert (tmp_path / "labels.gz").read_bytes() == content


def test_a_recompressed_file_is_accepted(server: Server, tmp_path: Path) -> None:
    published = gzip.compress(LABELS, mtime=1)
    file = RemoteFile("labels.gz", 2_000, md5(published), unpacked=md5(LABELS))
    source = Mirrors((server.url("/"),), {"train": (file, file)})
    server.add("/labels.gz", gzip.compress(LABELS[::-1]))
    with pytest.raises(DownloadError, match="published checksum"):
        fetch(source, tmp_path)
    again = gzip.compress(LABELS, compresslevel=1, mtime=2)
    assert again != published
    server.add("/labels.gz", again)
    fetch(source, tmp_path)
    assert (tmp_path / "labels.gz").read_bytes() == again


@pytest.mark.parametrize("content", [LABELS, gzip.compress(LABELS)], ids=["plain", "gz"])
def test_published_files_match_plain_or_compressed(content: bytes) -> None:
    file = RemoteFile("labels.gz", 2_000, "0" * 32, unpacked=md5(LABELS))
    assert file.matches(io.BytesIO(content))
    assert not file.matches(io.BytesIO(content[:-9]))


# Out of an archive


@pytest.fixture(scope="module")
def zipped() -> bytes:
    """An archive in the official form, most of it other members."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("gzip/other-1.gz", random.Random(2).randbytes(1_000_000))
        archive.writestr("gzip/images.gz", IMAGES)
        archive.writestr("gzip/other-2.gz", random.Random(3).randbytes(1_000_000))
        archive.writestr("gzip/labels.gz", LABELS)
        archive.writestr("gzip/other-3.gz", random.Random(4).randbytes(1_000_000))
    return content.getvalue()


def archive(
    zipped: bytes, *urls: str, images: str = "images.gz", digest: str = sha256(IMAGES)
) -> Archive:
    files = (
        RemoteFile(images, len(IMAGES), digest),
        RemoteFile("labels.gz", len(LABELS), sha256(LABELS)),
    )
    whole = RemoteFile("gzip.zip", 4_000_000, md5(zipped))
    return Archive(urls, {"test": files}, whole, "gzip/")


def take(source: Archive, folder: Path) -> list[DownloadProgress]:
    return list(source.fetch("test", folder, TIMEOUT))


def assert_both_members(folder: Path) -> None:
    assert names(folder) == ["images.gz", "labels.gz"]
    assert (folder / "images.gz").read_bytes() == IMAGES
    assert (folder / "labels.gz").read_bytes() == LABELS


def test_only_the_needed_members_are_fetched_by_ranges(
    server: Server, tmp_path: Path, zipped: bytes
) -> None:
    place = server.add("/gzip.zip", zipped)
    progress = take(archive(zipped, server.url("/gzip.zip")), tmp_path)
    assert_both_members(tmp_path)
    assert None not in place.ranges
    assert place.sent < len(IMAGES) + len(LABELS) + 100_000 < len(zipped) / 5
    assert progress[-1].done == progress[-1].total == len(LABELS)


def test_without_ranges_the_whole_archive_is_fetched_unpacked_and_removed(
    server: Server, tmp_path: Path, zipped: bytes
) -> None:
    server.add("/gzip.zip", zipped, "whole")
    progress = take(archive(zipped, server.url("/gzip.zip")), tmp_path)
    assert_both_members(tmp_path)
    assert max(r.done for r in progress if r.file == "gzip.zip") == len(zipped)


def test_an_interrupted_whole_archive_is_resumed(
    server: Server, tmp_path: Path, zipped: bytes
) -> None:
    place = server.add("/gzip.zip", zipped, "whole", "whole cut", "ok")
    take(archive(zipped, server.url("/gzip.zip")), tmp_path)
    assert_both_members(tmp_path)
    assert place.ranges[2] == f"bytes={len(zipped) // 2}-"


def test_a_mirror_with_ranges_has_precedence(server: Server, tmp_path: Path, zipped: bytes) -> None:
    without = server.add("/without.zip", zipped, "whole")
    server.add("/with.zip", zipped)
    take(archive(zipped, server.url("/without.zip"), server.url("/with.zip")), tmp_path)
    assert_both_members(tmp_path)
    assert len(without.ranges) == 1


@pytest.mark.parametrize("mode", ["html", "html whole", "html whole unsized"])
def test_an_html_page_instead_of_the_archive_is_reported(
    server: Server, tmp_path: Path, zipped: bytes, mode: str
) -> None:
    server.add("/gzip.zip", zipped, mode)
    url, missing = server.url("/gzip.zip"), server.url("/missing.zip")
    with pytest.raises(DownloadError) as caught:
        take(archive(zipped, missing, url), tmp_path)
    assert f"{url}: the server sent an HTML page instead of the file" in str(caught.value)
    assert f"{missing}: HTTP 404 Not Found" in str(caught.value)
    assert names(tmp_path) == []


def test_an_interrupted_member_is_fetched_again(
    server: Server, tmp_path: Path, zipped: bytes
) -> None:
    # The end of the archive with its directory, then the first member.
    place = server.add("/gzip.zip", zipped, "ok", "cut", "ok")
    take(archive(zipped, server.url("/gzip.zip")), tmp_path)
    assert_both_members(tmp_path)
    assert len(place.ranges) > 4


@pytest.mark.parametrize("mode", ["ok", "whole"])
def test_a_member_with_a_wrong_checksum_is_refused(
    server: Server, tmp_path: Path, zipped: bytes, mode: str
) -> None:
    server.add("/gzip.zip", zipped, mode)
    source = archive(zipped, server.url("/gzip.zip"), digest=sha256(b"something else"))
    with pytest.raises(DownloadError, match=r"images\.gz does not match the published checksum"):
        take(source, tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("mode", ["ok", "whole"])
def test_a_missing_member_is_named(
    server: Server, tmp_path: Path, zipped: bytes, mode: str
) -> None:
    server.add("/gzip.zip", zipped, mode)
    with pytest.raises(DownloadError, match=r"the archive has no gzip/absent\.gz"):
        take(archive(zipped, server.url("/gzip.zip"), images="absent.gz"), tmp_path)


def test_a_damaged_member_is_refused(server: Server, tmp_path: Path, zipped: bytes) -> None:
    at = zipped.index(IMAGES[1000:1100])
    server.add("/gzip.zip", zipped[:at] + bytes(100) + zipped[at + 100 :])
    with pytest.raises(DownloadError, match=r"images\.gz is damaged in the archive"):
        take(archive(zipped, server.url("/gzip.zip")), tmp_path)
    assert names(tmp_path) == []


def test_a_member_that_unpacks_to_too_much_stops_at_the_limit(
    server: Server, tmp_path: Path
) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("gzip/images.gz", bytes(20_000_000))
    server.add("/gzip.zip", content.getvalue())
    records: list[DownloadProgress] = []
    with pytest.raises(DownloadError, match=r"images\.gz is larger than the published file"):
        records.extend(archive(b"", server.url("/gzip.zip")).fetch("test", tmp_path, TIMEOUT))
    assert 0 < records[-1].done <= len(IMAGES)
    assert names(tmp_path) == []


def test_a_partial_response_that_is_too_large_is_refused(
    server: Server, tmp_path: Path, zipped: bytes
) -> None:
    server.add("/gzip.zip", zipped, "more")
    with pytest.raises(DownloadError, match="the response is larger than requested"):
        take(archive(zipped, server.url("/gzip.zip")), tmp_path)


def test_a_silent_archive_mirror_times_out(server: Server, tmp_path: Path, zipped: bytes) -> None:
    server.add("/silent.zip", zipped, "silent")
    server.add("/gzip.zip", zipped)
    source = archive(zipped, server.url("/silent.zip"), server.url("/gzip.zip"))
    list(source.fetch("test", tmp_path, 0.3))
    assert_both_members(tmp_path)


def test_usps_is_converted_to_idx_files_of_28x28(server: Server, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).uniform(-1, 1, (3, 16, 16)).round(3)
    lines = [
        f"{label} " + " ".join(f"{i}:{value:.3f}" for i, value in enumerate(row.ravel(), start=1))
        for label, row in zip((10, 1, 4), pixels, strict=True)
    ]
    packed = bz2.compress("\n".join(lines).encode())
    server.add("/usps.t.bz2", packed)
    source = UspsText((server.url("/usps.t.bz2"),), RemoteFile("usps.t.bz2", 100_000, md5(packed)))
    progress = list(source.fetch("test", tmp_path, TIMEOUT))
    assert names(tmp_path) == ["test-images-idx3-ubyte.gz", "test-labels-idx1-ubyte.gz"]
    assert read_idx(tmp_path / "test-labels-idx1-ubyte.gz").tolist() == [9, 0, 3]
    images = read_idx(tmp_path / "test-images-idx3-ubyte.gz")
    assert images.equal(enlarge_usps(torch.tensor(pixels, dtype=torch.float32)))
    assert progress[-1].done == len(packed)


# MNIST-C


def corruptions() -> bytes:
    """An archive of the published form, seven images per corruption."""
    packed = io.BytesIO()
    random = np.random.default_rng(0)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for corruption in CORRUPTIONS:
            members = {
                "test_images": random.integers(0, 256, (7, 28, 28, 1), dtype=np.uint8),
                "test_labels": np.arange(7),
                "train_images": np.zeros((2, 28, 28, 1), np.uint8),
            }
            for name, array in members.items():
                with archive.open(f"mnist_c/{corruption}/{name}.npy", "w") as member:
                    np.save(member, array)
    return packed.getvalue()


def catalog_of(server: Server, packed: bytes, folder: Path, *modes: str) -> tuple[Catalog, Place]:
    place = server.add("/mnist_c.zip", packed, *modes)
    file = RemoteFile("mnist_c.zip", 1_000_000, md5(packed))
    source = CorruptionArchive((server.url("/mnist_c.zip"),), file)
    return Catalog(folder, {"mnist-c": source}), place


def test_mnist_c_becomes_a_set_per_corruption(server: Server, tmp_path: Path) -> None:
    packed = corruptions()
    catalog, place = catalog_of(server, packed, tmp_path, "cut", "ok")
    *_, last = download(catalog, "mnist-c", timeout=TIMEOUT)
    assert last.message == "mnist-c is now available: 105 images in 15 sets."
    # The transfer that was cut was resumed, not begun again.
    assert place.ranges[1] is not None
    assert place.sent == len(packed)
    assert {entry.name for entry in catalog.entries() if entry.present} >= set(MNIST_C_SETS)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        published = np.load(archive.open("mnist_c/fog/test_images.npy"))
    fog = catalog.open("mnist-c-fog", "test")
    assert np.array_equal(fog.images.numpy(), published[..., 0])
    assert fog.labels.tolist() == list(range(7))
    assert not (tmp_path / "mnist-c").exists()
    *_, again = download(catalog, "mnist-c", timeout=TIMEOUT)
    assert "already available" in again.message
    assert len(place.ranges) == 2


def test_mnist_c_that_is_not_downloaded_is_refused_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(DigitSetError, match="data download mnist-c"):
        Catalog(tmp_path).open("mnist-c-fog", "test")
