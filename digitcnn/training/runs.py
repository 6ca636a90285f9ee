"""Run folders under ``outputs/``: created, written, listed, opened again, renamed, deleted."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import re
import secrets
import shutil
import stat
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

import digitcnn
from digitcnn.analysis.report import RunFacts, report
from digitcnn.errors import ConfigError, RunError
from digitcnn.files import atomic_write, write_json
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.events import EpochResult, Snapshot

RUNNING, FINISHED, STOPPED = "running", "finished", "stopped"
INTERRUPTED, FAILED = "interrupted", "failed"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")

# What a run writes lies in its folder or in ``figures/`` below it, and is no larger than this.
MAX_FILE = 64 << 20
MAX_FILES = 500

REPORT = "report.html"

_looking = threading.Lock()


@dataclass(frozen=True)
class RunRecord:
    """What ``run.json`` says of a run; all times ISO 8601 in UTC.

    state: running, finished, stopped, interrupted or failed.
    fingerprint: of the images that are trained on; None until they were opened.
    checkpoint: file name under the checkpoint folder, None without one; digest: of its tensors.
    message: one sentence for people on how the run ended.
    closing: what is done once the epochs are; a resume keeps it.
    """

    name: str
    state: str
    config: TrainingConfig
    created: str
    saves: bool = True
    fingerprint: str | None = None
    checkpoint: str | None = None
    digest: str | None = None
    device: str = ""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    message: str = ""
    closing: PostTrainingConfig = dataclasses.field(default_factory=PostTrainingConfig)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunRecord:
        """Raises RunError when ``values`` are not what ``to_json`` gives."""
        try:
            config = TrainingConfig.from_json(values["config"])
            # Runs of before had no closing and say nothing of it.
            closing = PostTrainingConfig(**values.get("closing", {}))
            record = cls(**{**values, "config": config, "closing": closing})
        except (KeyError, TypeError, ConfigError) as error:
            raise RunError("run.json is not a run of this version of digitcnn.") from error
        texts = (record.name, record.state, record.created, record.device, record.message)
        if not all(isinstance(text, str) for text in texts):
            raise RunError("run.json is not a run of this version of digitcnn.")
        return record


@dataclass(frozen=True)
class RunFile:
    """A file of a run. name: within the folder, such as ``figures/05_conv_filters.png``; size: in
    bytes; modified: seconds since 1970."""

    name: str
    size: int
    modified: float


class Run:
    """One run's folder. Only one process at a time may hold and write it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Held by one generator, whichever thread it runs or is closed in.
        self._lock = FileLock(folder / "run.lock", thread_local=False)

    @property
    def name(self) -> str:
        return self.folder.name

    @contextmanager
    def held(self) -> Iterator[None]:
        """While the block runs, no other process and no other thread works on this run.

        The system lets go of the lock when the process dies, however it dies.
        Raises RunError when somebody else holds it.
        """
        try:
            # Whoever only looks whether the run is held takes the lock for a moment.
            self._lock.acquire(timeout=2)
        except Timeout as error:
            raise RunError(f"The run '{self.name}' is at work; wait for it or stop it.") from error
        except OSError as error:
            raise RunError(
                f"The folder of run '{self.name}' cannot be written ({error.strerror})."
            ) from error
        try:
            if self._was_deleted():
                raise RunError(f"The run '{self.name}' was deleted; choose another.")
            yield
        finally:
            self._lock.release()

    def record(self) -> RunRecord:
        """What is known of the run. A run that says running but that nobody holds was interrupted.

        Raises RunError when the folder's run.json is missing or damaged.
        """
        return self.as_it_is(self.written())

    def written(self) -> RunRecord:
        """What run.json says, whether it still holds or not. Raises RunError as ``record``."""
        try:
            record = RunRecord.from_json(json.loads((self.folder / "run.json").read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise RunError(f"The run '{self.name}' has no readable run.json.") from error
        # A person may have renamed the folder; its name is the run's.
        return dataclasses.replace(record, name=self.name)

    def as_it_is(self, record: RunRecord) -> RunRecord:
        """What run.json says, but interrupted where it says running and nobody holds the run."""
        if record.state == RUNNING and not self._is_held():
            return dataclasses.replace(
                record, state=INTERRUPTED, message="The process ended during the training."
            )
        return record

    def _is_held(self) -> bool:
        if self._lock.is_locked:
            return True
        if not (self.folder / "run.lock").exists():
            return False  # whoever holds a run made it
        probe = FileLock(self.folder / "run.lock")
        try:
            # One look at a time: two would take each other for the one who holds the run.
            with _looking, probe.acquire(blocking=False):
                self._was_deleted()
                return False
        except Timeout:
            return True
        except OSError:
            # A folder that cannot be written cannot be trained in either.
            return False

    def _was_deleted(self) -> bool:
        """Whether the folder lost its run.json, for one who has the lock.

        Taking the lock of a run that was deleted meanwhile makes its folder anew, with nothing in
        it: that is taken away again, or the name would stay taken.
        """
        if (self.folder / "run.json").exists():
            return False
        with suppress(OSError):
            (self.folder / "run.lock").unlink()
            self.folder.rmdir()
        return True

    def write(self, record: RunRecord) -> None:
        write_json(self.folder / "run.json", record.to_json())

    def log(self, text: str) -> None:
        """Append a line, with the time, to the run's log."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{now} {text}\n")

    def log_error(self, error: BaseException) -> None:
        """Append the whole traceback of ``error`` to the run's log."""
        self.log("".join(traceback.format_exception(error)).rstrip())

    def write_history(self, history: tuple[EpochResult, ...]) -> None:
        write_json(self.folder / "history.json", [dataclasses.asdict(r) for r in history])

    def history(self) -> tuple[EpochResult, ...]:
        """The finished epochs; empty where none is written yet."""
        try:
            rows = json.loads((self.folder / "history.json").read_text("utf-8"))
            return tuple(_epoch_result(row) for row in rows)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return ()

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        write_json(self.folder / "metrics.json", metrics)

    def write_snapshot(self, snapshot: Snapshot) -> None:
        """Keep what a resume needs in place of the last. Raises OSError, the last then stays."""
        values = {
            "weights": snapshot.weights,
            "averaged": snapshot.averaged,
            "moments": snapshot.moments,
            "history": [dataclasses.asdict(result) for result in snapshot.history],
        }
        with atomic_write(self.folder / "resume.pt") as file:
            torch.save(values, file)

    def snapshot(self) -> Snapshot | None:
        """What was kept at the end of the last finished epoch; None where none was finished."""
        path = self.folder / "resume.pt"
        if not path.exists():
            return None
        try:
            values = torch.load(path, map_location="cpu", weights_only=True)
            history = tuple(EpochResult(**row) for row in values["history"])
            return Snapshot(
                len(history), values["weights"], values["averaged"], values["moments"], history
            )
        except Exception as error:
            raise RunError(
                f"The resume state of '{self.name}' is damaged; start the training again."
            ) from error

    def forget_snapshot(self) -> None:
        (self.folder / "resume.pt").unlink(missing_ok=True)

    # --- What it holds -----------------------------------------------------------------------

    def files(self) -> list[RunFile]:
        """The run's own plain files, by name; no links, nothing hidden, no lock.

        Raises RunError when the folder is gone or cannot be listed.
        """
        found = []
        try:
            for folder in (self.folder, self.folder / "figures"):
                inside = "" if folder == self.folder else "figures/"
                if inside and not (folder.is_dir() and not folder.is_symlink()):
                    continue
                for path in folder.iterdir():
                    status = path.lstat()
                    hidden = path.name.startswith(".") or path.name == "run.lock"
                    if stat.S_ISREG(status.st_mode) and not hidden and path.name.isprintable():
                        found.append(RunFile(inside + path.name, status.st_size, status.st_mtime))
        except OSError as error:
            raise RunError(
                f"The files of run '{self.name}' cannot be listed ({error.strerror}); it may have "
                "been deleted."
            ) from error
        return sorted(found, key=lambda file: file.name)[:MAX_FILES]

    def read(self, name: str) -> bytes:
        """The content of one of ``files``, and of nothing else on this machine.

        Raises RunError for any other name, or a file that is too large or cannot be read.
        """
        known = {file.name: file for file in self.files()}
        # Looked up, not joined: a name from outside never becomes a path.
        file = known.get(name) if isinstance(name, str) else None
        if file is None:
            raise RunError(
                f"The run '{self.name}' has no file {name!s:.60}; it has {', '.join(known)}."
            )
        if file.size > MAX_FILE:
            raise RunError(
                f"{file.name} has {file.size:,} bytes, more than is sent; copy it from "
                f"{self.folder}."
            )
        path = self.folder / file.name
        try:
            # Whoever put a link in its place since it was listed gets nothing.
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(descriptor, "rb") as opened:
                return opened.read(MAX_FILE)
        except OSError as error:
            raise RunError(
                f"{file.name} of run '{self.name}' cannot be read ({error.strerror}); look again."
            ) from error

    def facts(self) -> RunFacts:
        """All that the folder says of the run, for its report. Raises RunError as ``record``.

        Files that are absent or damaged are left out: a report of what is there is worth more
        than none.
        """
        record = self.record()
        figures = {
            Path(file.name).stem: self.read(file.name)
            for file in self.files()
            if file.name.startswith("figures/") and file.name.endswith(".png")
        }
        metrics = self._json("metrics.json")
        return RunFacts(
            name=record.name,
            state=record.state,
            message=record.message,
            created=record.created,
            device=record.device,
            config=record.config.to_json(),
            versions=record.versions,
            fingerprints={"training": record.fingerprint},
            checkpoint=record.checkpoint,
            digest=record.digest,
            history=[dataclasses.asdict(result) for result in self.history()],
            metrics=metrics if isinstance(metrics, dict) else {},
            stabilities=_stabilities(self._json("stability.json")),
            figures=figures,
            log=self._log_text(),
        )

    def write_report(self) -> None:
        """``report.html``, from what the folder holds now. Raises RunError or OSError."""
        with atomic_write(self.folder / REPORT) as file:
            file.write(report(self.facts()).encode("utf-8", "replace"))

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return None

    def _log_text(self) -> str:
        """The end of the log, at most 256 KiB."""
        try:
            with (self.folder / "log.txt").open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - (256 << 10)))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""


class RunStore:
    """All runs of one output folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # By folder: what run.json said when it had this time and size.
        self._read: dict[Path, tuple[tuple[int, int], RunRecord]] = {}

    def create(
        self,
        config: TrainingConfig,
        name: str | None = None,
        saves: bool = True,
        closing: PostTrainingConfig = PostTrainingConfig(),  # noqa: B008
    ) -> Run:
        """A new run with its folder. Without a name: digit set, date and time.

        Raises RunError for a name that is taken or no plain file name, or an unwritable folder.
        """
        now = datetime.now(timezone.utc)
        if name is not None and not _NAME.fullmatch(name):
            raise _unusable_name(name)
        chosen = name or self._free_name(default_name(config.digits, now))
        folder = self.folder / chosen
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        run = Run(folder)
        record = RunRecord(
            chosen,
            INTERRUPTED,
            config,
            now.isoformat(timespec="seconds"),
            saves,
            versions=versions(),
            message="Not started.",
            closing=closing,
        )
        try:
            folder.mkdir()
            run.write(record)
        except FileExistsError as error:
            raise RunError(f"A run '{chosen}' exists already; take another name.") from error
        except OSError as error:
            raise self._unwritable(error) from error
        return run

    def check_new(self, name: str) -> None:
        """Raises RunError where ``create`` would refuse the name now."""
        if not _NAME.fullmatch(name):
            raise _unusable_name(name)
        if os.path.lexists(self.folder / name):
            raise RunError(f"A run '{name}' exists already; take another name.")

    def _unwritable(self, error: OSError) -> RunError:
        return RunError(
            f"The folder {self.folder} cannot be written ({error.strerror}); "
            "choose another with --output-dir."
        )

    def _free_name(self, wanted: str) -> str:
        taken = 1
        name = wanted
        while (self.folder / name).exists():
            taken += 1
            name = f"{wanted}-{taken}"
        return name

    def open(self, name: str) -> Run:
        """An existing run, by its name. Raises RunError when there is none."""
        known = isinstance(name, str) and _NAME.fullmatch(name) is not None
        if not known or not (self.folder / name / "run.json").is_file():
            there = ", ".join(record.name for record in self.records()[:5]) or "none yet"
            # Without the folder: visitors read this too.
            raise RunError(f"There is no run {str(name)[:60]!r}; there are: {there}.")
        return Run(self.folder / name)

    def rename(self, name: str, new: str) -> Run:
        """Give a run another name, of its folder; its checkpoint and its resume state stay its own.

        Raises RunError when the run is at work, the new name is taken or no plain file name, or
        the folder cannot be written.
        """
        if not isinstance(new, str) or not _NAME.fullmatch(new):
            raise _unusable_name(new)
        run = self.open(name)
        target = self.folder / new
        with run.held():
            if os.path.lexists(target):
                raise RunError(f"A run '{new}' exists already; take another name.")
            record = run.written()
            try:
                run.folder.rename(target)
                renamed = Run(target)
                renamed.write(dataclasses.replace(record, name=new))
                renamed.log(f"renamed from {name}")
                if (target / REPORT).exists():
                    renamed.write_report()  # its page says the name
            except OSError as error:
                raise RunError(
                    f"The run '{name}' cannot be renamed ({error.strerror}); look at the "
                    f"permissions of {self.folder}."
                ) from error
        return renamed

    def delete(self, name: str) -> None:
        """Delete a run's folder; its checkpoint, which lies elsewhere, stays.

        Raises RunError when the run is at work, or its folder cannot be deleted.
        """
        run = self.open(name)
        with run.held():
            try:
                if run.folder.is_symlink():
                    run.folder.unlink()  # what it points to is not ours
                    return
                # Gone for everybody in one step; then its files, however many they are.
                gone = self.folder / f".deleted.{name}.{secrets.token_hex(4)}"
                run.folder.rename(gone)
                shutil.rmtree(gone)
            except OSError as error:
                raise RunError(
                    f"The run '{name}' cannot be deleted ({error.strerror}); look at the "
                    f"permissions of {self.folder}."
                ) from error

    def records(self) -> list[RunRecord]:
        """Every readable run, newest first."""
        try:
            paths = list(self.folder.iterdir())
        except OSError:
            return []  # no such folder yet, or none that may be read
        runs = [path for path in paths if _NAME.fullmatch(path.name)]
        found = []
        for path in runs:
            try:
                found.append(self._record(path))
            except (OSError, RunError):
                continue  # a folder that something else wrote, or one that is being deleted
        self._read = {path: self._read[path] for path in runs if path in self._read}
        return sorted(found, key=lambda record: record.created, reverse=True)

    def _record(self, path: Path) -> RunRecord:
        """Every page asks each second, so a file is read again only when it has changed."""
        run = Run(path)
        status = (path / "run.json").stat()
        seen = (status.st_mtime_ns, status.st_size)
        kept = self._read.get(path)
        if kept is None or kept[0] != seen:
            kept = self._read[path] = (seen, run.written())
        return run.as_it_is(kept[1])

    def digests(self) -> set[str]:
        """Of all checkpoints that the runs here wrote: what they say of themselves is ours."""
        return {record.digest for record in self.records() if record.digest is not None}


def default_name(digits: str, now: datetime) -> str:
    """What a run is called that nobody named: the digit set and the time."""
    plain = re.sub(r"[^A-Za-z0-9.-]", "-", digits).lstrip(".-")[:30] or "run"
    return f"{plain}-{now:%Y%m%d-%H%M%S}"


def _epoch_result(row: Any) -> EpochResult:
    """A row of ``history.json``, which a person may have changed. Raises TypeError, KeyError."""
    # A loss that was no number is null in JSON.
    losses = {key: math.nan for key in ("loss", "held_out_loss") if row[key] is None}
    result = EpochResult(**{**row, **losses})
    if not all(type(value) in (int, float) for value in vars(result).values()):
        raise TypeError("numbers expected")
    return result


def _unusable_name(name: object) -> RunError:
    return RunError(
        f"The run name {str(name)[:60]!r} cannot be a folder's; take up to 60 letters, digits, "
        "dots, dashes and underscores."
    )


def _stabilities(found: Any) -> list[dict[str, Any]]:
    """The results in ``stability.json``: one, or several by the kind of their masks."""
    if not isinstance(found, dict):
        return []
    return [found] if "passes" in found else [v for v in found.values() if isinstance(v, dict)]


PROGRAM = Path(digitcnn.__file__).resolve().parent.parent


def versions(program: Path = PROGRAM) -> dict[str, str]:
    """What a result depends on besides its configuration; ``git`` where the program has one.

    program: the folder that may be a git repository.
    """
    found = {
        "digitcnn": digitcnn.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
    revision = git_revision(program)
    return found if revision is None else {**found, "git": revision}


def git_revision(folder: Path) -> str | None:
    """The commit that is checked out in ``folder``, 40 or 64 hex digits; None without a repository.

    Read from the files as gitrepository-layout(5) describes them, so that no git is needed.
    """
    git = folder / ".git"
    try:
        if git.is_file():  # a worktree or submodule says where its own folder is
            git = folder / git.read_text("utf-8").removeprefix("gitdir:").strip()
        head = (git / "HEAD").read_text("utf-8").strip()
        if not head.startswith("ref:"):
            return head if _REVISION.fullmatch(head) else None
        name = head.removeprefix("ref:").strip()
        shared = git / "commondir"
        common = git / shared.read_text("utf-8").strip() if shared.is_file() else git
        for place in (git, common):
            if (place / name).is_file():
                revision = (place / name).read_text("utf-8").strip()
                return revision if _REVISION.fullmatch(revision) else None
        for line in (common / "packed-refs").read_text("utf-8").splitlines():
            revision, _, packed = line.partition(" ")
            if packed == name and _REVISION.fullmatch(revision):
                return revision
    except (OSError, ValueError):
        return None
    return None


_REVISION = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
