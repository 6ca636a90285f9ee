"""One run's folder: its record, its log, its lock, and its files."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import threading
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock, Timeout

from digitcnn.errors import RunError
from digitcnn.files import write_json
from digitcnn.training.run_record import INTERRUPTED, RUNNING, RunRecord
from digitcnn.training.run_results import RunResults

# A run writes into its folder and ``figures/`` below it, and nothing larger than this.
MAX_FILE = 64 << 20
MAX_FILES = 500

# Only one thread probes a lock at a time: two would mistake each other for the run's holder.
_probing = threading.Lock()


class Run:
    """One run's folder. Only one process at a time may hold and write it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = RunResults(folder)
        # Two locks, because a probe takes the first for a moment: the second decides whether the
        # run is in use. Not per thread: a generator holds them, and another thread may close it.
        self._lock = FileLock(folder / "run.lock", thread_local=False)
        self._in_use = FileLock(folder / "use.lock", thread_local=False)

    @property
    def name(self) -> str:
        """Return the run's name, which is that of its folder."""
        return self.folder.name

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the run: while the block runs, no other process and no other thread works on it.

        The system releases the lock when the process dies, however it dies.
        Raises RunError when the run is held already or was deleted.
        """
        with ExitStack() as locks:
            try:
                locks.enter_context(self._in_use.acquire(blocking=False))
                # Only probes can have it now.
                locks.enter_context(self._lock.acquire(timeout=10, poll_interval=0.01))
            except Timeout as error:
                raise RunError(f"Run '{self.name}' is in use; wait for it or stop it.") from error
            except OSError as error:
                raise RunError(
                    f"The folder of run '{self.name}' cannot be written ({error.strerror})."
                ) from error
            if self._was_deleted():
                raise RunError(f"Run '{self.name}' was deleted; choose another.")
            yield

    def record(self) -> RunRecord:
        """Return the record; a run marked running whose lock is free was interrupted.

        Raises RunError when run.json is missing or damaged.
        """
        return self.with_current_state(self.stored_record())

    def stored_record(self) -> RunRecord:
        """Return the record as run.json has it. Raises RunError as ``record`` does."""
        try:
            record = RunRecord.from_json(json.loads((self.folder / "run.json").read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise RunError(f"Run '{self.name}' has no readable run.json.") from error
        # A person may have renamed the folder; its name is the run's.
        return dataclasses.replace(record, name=self.name)

    def with_current_state(self, record: RunRecord) -> RunRecord:
        """Return ``record``, marked interrupted where it is running but the lock is free."""
        if record.state == RUNNING and not self._is_held():
            return dataclasses.replace(
                record, state=INTERRUPTED, message="The process ended during training."
            )
        return record

    def _is_held(self) -> bool:
        if self._lock.is_locked:
            return True
        if not (self.folder / "run.lock").exists():
            return False
        probe = FileLock(self.folder / "run.lock")
        try:
            with _probing, probe.acquire(blocking=False):
                self._was_deleted()
                return False
        except Timeout:
            return True
        except OSError:
            # No process can train in a folder that cannot be written.
            return False

    def _was_deleted(self) -> bool:
        """Return whether run.json is gone; call with the lock held.

        Locking a run that was deleted meanwhile creates its folder again, empty; that is removed
        here, because it would occupy the name.
        """
        if (self.folder / "run.json").exists():
            return False
        with suppress(OSError):
            for lock in (self._in_use, self._lock):
                Path(lock.lock_file).unlink(missing_ok=True)
            self.folder.rmdir()
        return True

    def write(self, record: RunRecord) -> None:
        """Store the run's record, atomically. Raises OSError."""
        write_json(self.folder / "run.json", record.to_json())

    def log(self, text: str) -> None:
        """Append a line, with the time, to log.txt."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{now} {text}\n")

    def log_error(self, error: BaseException) -> None:
        """Append the traceback of ``error`` to log.txt."""
        self.log("".join(traceback.format_exception(error)).rstrip())

    def list_files(self) -> list[str]:
        """Return the names of the files to download: no links, hidden files and locks.

        They are relative to its folder, such as ``figures/05_conv_filters.png``. Raises RunError
        when the folder is gone or cannot be listed.
        """
        figures = self.folder / "figures"
        try:
            paths = list(self.folder.iterdir())
            if figures.is_dir() and not figures.is_symlink():
                paths += figures.iterdir()
            names = [
                path.relative_to(self.folder).as_posix()
                for path in paths
                if stat.S_ISREG(path.lstat().st_mode)
                and not path.name.startswith(".")
                and path.suffix != ".lock"
                and path.name.isprintable()
            ]
        except OSError as error:
            raise RunError(
                f"The files of run '{self.name}' cannot be listed ({error.strerror}); it may have "
                "been deleted."
            ) from error
        return sorted(names)[:MAX_FILES]

    def read_file(self, name: str) -> bytes:
        """Return the content of one of ``list_files``, and of no other file.

        Raises RunError for any other name, or a file that is too large or cannot be read.
        """
        known = self.list_files()
        if name not in known:
            raise RunError(
                f"Run '{self.name}' has no file {name!s:.60}; it has {', '.join(known)}."
            )
        try:
            # O_NOFOLLOW: a link may have replaced the file since it was listed.
            flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
            with os.fdopen(os.open(self.folder / name, flags), "rb") as opened:
                content = opened.read(MAX_FILE + 1)
        except OSError as error:
            raise RunError(
                f"{name} of run '{self.name}' cannot be read ({error.strerror}); try again."
            ) from error
        if len(content) > MAX_FILE:
            raise RunError(
                f"{name} is too large to download (over {MAX_FILE:,} bytes); copy it from "
                f"{self.folder}."
            )
        return content
