"""Create, open, list, rename and delete the runs of an output folder."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from cachetools import LRUCache

from digitcnn.errors import RunError
from digitcnn.network.filenames import numbered
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.report import REPORT, write_report
from digitcnn.training.run import Run
from digitcnn.training.run_record import (
    INTERRUPTED,
    RunRecord,
    check_run_name,
    default_run_name,
    is_run_name,
    versions,
)


class RunStore:
    """All runs of one output folder. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Every page lists the runs each second, so run.json is read again only after a change.
        # By path, time and size of run.json.
        self._records: LRUCache[tuple[Path, int, int], RunRecord] = LRUCache(2000)
        self._records_lock = threading.Lock()

    def create(
        self,
        config: TrainingConfig,
        name: str | None = None,
        saves: bool = True,
        post_training: PostTrainingConfig = PostTrainingConfig(),  # noqa: B008
        group: str = "",
    ) -> Run:
        """Create a run and its folder; without a name: digit set, date and time.

        Raises RunError for a name that is taken or not valid, or a folder that is not writable.
        """
        now = datetime.now(timezone.utc)
        if name is None:
            name = self.free_name(default_run_name(config.digits, now))
        check_run_name(name)
        run = Run(self.folder / name)
        record = RunRecord(
            name,
            INTERRUPTED,
            config,
            now.isoformat(timespec="microseconds"),
            saves,
            versions=versions(),
            message="Not started.",
            post_training=post_training,
            group=group,
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                run.folder.mkdir()
            except FileExistsError as error:
                raise _name_taken(name) from error
            run.write(record)
        except OSError as error:
            raise RunError(
                f"The folder {self.folder} cannot be written ({error.strerror}); choose another "
                "with --output-dir."
            ) from error
        return run

    def check_new(self, name: str) -> None:
        """Raise RunError where ``create`` would refuse the name now."""
        check_run_name(name)
        if os.path.lexists(self.folder / name):
            raise _name_taken(name)

    def free_name(self, base: str, endings: Sequence[str] = ("",)) -> str:
        """Return ``base``, numbered if a run is already called ``base`` with one of the endings."""
        return next(
            name
            for name in numbered(base)
            if not any((self.folder / f"{name}{ending}").exists() for ending in endings)
        )

    def open(self, name: str) -> Run:
        """Return an existing run. Raises RunError when there is none of that name."""
        if not is_run_name(name) or not (self.folder / name / "run.json").is_file():
            available = ", ".join(record.name for record in self.records()[:5]) or "none yet"
            # Without the folder: visitors read this too.
            raise RunError(f"There is no run {str(name)[:60]!r}; available: {available}.")
        return Run(self.folder / name)

    def rename(self, name: str, new: str) -> Run:
        """Rename a run and its folder; its checkpoint and its resume state keep their names.

        Raises RunError when the run is in use, the new name is taken or not valid, or the folder
        cannot be written.
        """
        check_run_name(new)
        run = self.open(name)
        with run.held():
            self.check_new(new)
            record = run.stored_record()
            with self._permission_explained(name, "renamed"):
                run.folder.rename(self.folder / new)
                renamed = Run(self.folder / new)
                renamed.write(dataclasses.replace(record, name=new))
                renamed.log(f"renamed from {name}")
                if (renamed.folder / REPORT).exists():
                    write_report(renamed)  # its heading is the name
        return renamed

    def delete(self, name: str) -> None:
        """Delete a run's folder; its checkpoint, in another folder, stays.

        Raises RunError when the run is in use, or its folder cannot be deleted.
        """
        run = self.open(name)
        with run.held(), self._permission_explained(name, "deleted"):
            if run.folder.is_symlink():
                run.folder.unlink()  # not what it points to
                return
            # Renamed first, so that the run disappears in one step, however many files it has.
            hidden = self.folder / f".deleted.{name}.{secrets.token_hex(4)}"
            run.folder.rename(hidden)
            shutil.rmtree(hidden)

    @contextmanager
    def _permission_explained(self, name: str, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(
                f"Run '{name}' cannot be {action} ({error.strerror}); check the permissions of "
                f"{self.folder}."
            ) from error

    def records(self) -> list[RunRecord]:
        """Return every readable run, newest first."""
        try:
            paths = list(self.folder.iterdir())
        except OSError:
            return []  # no such folder yet, or an unreadable one
        records = []
        for path in paths:
            if is_run_name(path.name):
                try:
                    records.append(self._record(path))
                except (OSError, RunError):
                    continue  # another program's folder, or one that is being deleted
        return sorted(records, key=lambda record: record.created, reverse=True)

    def _record(self, path: Path) -> RunRecord:
        run = Run(path)
        status = (path / "run.json").stat()
        key = (path, status.st_mtime_ns, status.st_size)
        with self._records_lock:
            record = self._records.get(key)
        if record is None:
            record = run.stored_record()
            with self._records_lock:
                self._records[key] = record
        return run.with_current_state(record)

    def digests(self) -> set[str]:
        """Return the digests of all checkpoints that runs here wrote; their claims are trusted."""
        return {record.digest for record in self.records() if record.digest is not None}

    def names_of_models(self) -> dict[tuple[str, str | None], str]:
        """Return the runs' names by the names and digests of their checkpoints."""
        oldest_first = reversed(self.records())  # of two runs of one model the newer one counts
        return {(one.model, one.digest): one.name for one in oldest_first if one.model}

    def grouped_checkpoints(self) -> set[str]:
        """Return the names of the checkpoints of groups' runs, which are never chosen unasked."""
        return {record.model for record in self.records() if record.group and record.model}


def _name_taken(name: str) -> RunError:
    return RunError(f"A run '{name}' already exists; choose another name.", field="name")
