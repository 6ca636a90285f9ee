from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from digitcnn.files import atomic_write, write_json


def test_an_atomic_write_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), atomic_write(path) as file:
        file.write(b"half of the ne" + None)  # type: ignore[operator]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "result"):
        pass
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE((tmp_path / "result").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_nan_is_null_in_json(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": [float("inf"), 1.5], "c": (None,)})
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "a": None, "b": [None, 1.5], "c": [None],
    }  # fmt: skip


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_never_replaces_one_that_appeared_meanwhile(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:  # as on FAT
        monkeypatch.setattr(os, "link", _no_links)
    path = tmp_path / "result"

    def write_while_another_takes_the_name() -> None:
        with atomic_write(path, new=True) as file:
            file.write(b"mine")
            path.write_bytes(b"theirs")

    with pytest.raises(FileExistsError):
        write_while_another_takes_the_name()
    assert path.read_bytes() == b"theirs"
    path.unlink()
    with atomic_write(path, new=True) as file:
        file.write(b"mine")
    assert path.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [path]


def _no_links(source: Path, target: Path) -> None:
    raise PermissionError(1, "Operation not permitted")
