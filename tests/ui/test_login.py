"""The login: the format of its file, and how slow guessing is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from coroutines import run_async

from digitcnn.errors import ConfigError
from digitcnn.ui.login import LONGEST_WAIT, NAMES_REMEMBERED, Logins


class Waits(list[float]):
    """Replaces the clock: records each wait, which is over at once."""

    async def sleep(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def logins(waits: Waits) -> Logins:
    return Logins({"ada": "s:cret", "zoë": "pässword"}, waits.sleep)


def may_enter(logins: Logins, name: str, password: str) -> bool:
    return run_async(logins.check(name, password))


@pytest.mark.parametrize(("name", "password"), [("ada", "s:cret"), ("zoë", "pässword")])
def test_a_right_password_passes_at_once(
    logins: Logins, waits: Waits, name: str, password: str
) -> None:
    assert may_enter(logins, name, password)
    assert waits == []


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ada", "secret"),
        ("ada", ""),
        ("eve", "s:cret"),
        ("", ""),
        ("Ada", "s:cret"),
        ("ada", "\ud800"),
    ],
)
def test_anything_else_is_rejected(logins: Logins, name: str, password: str) -> None:
    assert not may_enter(logins, name, password)


def test_wrong_passwords_wait_ever_longer_and_never_lock_out(logins: Logins, waits: Waits) -> None:
    for _ in range(12):
        assert not may_enter(logins, "ada", "guess")
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT
    assert waits[1] == 2 * waits[0]
    assert may_enter(logins, "zoë", "pässword")
    assert len(waits) == 11  # the other name did not wait
    assert may_enter(logins, "ada", "s:cret")
    assert waits[-1] == LONGEST_WAIT
    assert may_enter(logins, "ada", "s:cret")
    assert len(waits) == 12  # a right password starts anew


def test_simultaneous_guesses_wait_as_long_as_consecutive_ones(
    logins: Logins, waits: Waits
) -> None:
    async def guess_at_once() -> list[bool]:
        return await asyncio.gather(*(logins.check("ada", f"guess {i}") for i in range(12)))

    assert not any(run_async(guess_at_once()))
    assert max(waits) == LONGEST_WAIT


def test_a_limited_number_of_names_is_remembered(logins: Logins, waits: Waits) -> None:
    may_enter(logins, "first", "guess")

    async def guess_many_names() -> None:
        for i in range(NAMES_REMEMBERED):
            await logins.check(f"name {i}", "guess")

    run_async(guess_many_names())
    may_enter(logins, "first", "guess")
    assert waits == []


def test_a_file_has_a_name_and_a_password_per_line(tmp_path: Path) -> None:
    path = tmp_path / "logins"
    path.write_text("# the class\n\nada:s:cret\n zoë :pässword\n", "utf-8")
    logins = Logins.from_file(path)
    assert may_enter(logins, "ada", "s:cret")
    assert may_enter(logins, "zoë", "pässword")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "contains no logins"),
        ("# only a remark\n", "contains no logins"),
        ("ada:x\nhunter2\n", "Line 2"),
        (":password\n", "Line 1"),
        ("ada:\n", "Line 1"),
        ("ada:x\nada:y\n", "Line 2"),
    ],
)
def test_a_malformed_file_gives_one_sentence(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "logins"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=problem) as refused:
        Logins.from_file(path)
    assert "hunter2" not in str(refused.value)


def test_an_unreadable_file_gives_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Logins.from_file(tmp_path / "nothing")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        Logins.from_file(tmp_path / "bytes")
