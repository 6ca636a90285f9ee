"""Run folders under ``outputs/``: created, written, listed, opened again to go on."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

import digitcnn
from digitcnn.errors import ConfigError, RunError
from digitcnn.files import atomic_write, write_json
from digitcnn.training.config import TrainingConfig
from digitcnn.training.loop import EpochResult, Snapshot

RUNNING, FINISHED, STOPPED = "running", "finished", "stopped"
INTERRUPTED, FAILED = "interrupted", "failed"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


@dataclass(frozen=True)
class RunRecord:
    """What ``run.json`` says of a run; all times ISO 8601 in UTC.

    state: running, finished, stopped, interrupted or failed.
    fingerprint: of the images that are trained on; None until they were opened.
    checkpoint: file name under the checkpoint folder, None without one; digest: of its tensors.
    message: one sentence for people on how the run ended.
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

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunRecord:
        """Raises RunError when ``values`` are not what ``to_json`` gives."""
        try:
            config = TrainingConfig.from_json(values["config"])
            record = cls(**{**values, "config": config})
        except (KeyError, TypeError, ConfigError) as error:
            raise RunError("run.json is not a run of this version of digitcnn.") from error
        texts = (record.name, record.state, record.created, record.device, record.message)
        if not all(isinstance(text, str) for text in texts):
            raise RunError("run.json is not a run of this version of digitcnn.")
        return record


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
        probe = FileLock(self.folder / "run.lock")
        try:
            with probe.acquire(blocking=False):
                return False
        except Timeout:
            return True
        except OSError:
            # A folder that cannot be written cannot be trained in either.
            return False

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
            return tuple(EpochResult(**row) for row in rows)
        except (OSError, ValueError, TypeError):
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


class RunStore:
    """All runs of one output folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # By folder: what run.json said when it had this time and size.
        self._read: dict[Path, tuple[tuple[int, int], RunRecord]] = {}

    def create(self, config: TrainingConfig, name: str | None = None, saves: bool = True) -> Run:
        """A new run with its folder. Without a name: digit set, date and time.

        Raises RunError for a name that is taken or no plain file name, or an unwritable folder.
        """
        now = datetime.now(timezone.utc)
        if name is not None and not _NAME.fullmatch(name):
            raise RunError(
                f"The run name {name[:60]!r} cannot be a folder's; take up to 60 letters, digits, "
                "dots, dashes and underscores."
            )
        digits = re.sub(r"[^A-Za-z0-9.-]", "-", config.digits).lstrip(".-")[:30] or "run"
        chosen = name or self._free_name(f"{digits}-{now:%Y%m%d-%H%M%S}")
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
        )
        try:
            folder.mkdir()
            run.write(record)
        except FileExistsError as error:
            raise RunError(f"A run '{chosen}' exists already; take another name.") from error
        except OSError as error:
            raise self._unwritable(error) from error
        return run

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
        folder = self.folder / name
        if not _NAME.fullmatch(name) or not (folder / "run.json").is_file():
            known = ", ".join(record.name for record in self.records()[:5]) or "none yet"
            raise RunError(f"There is no run {name[:60]!r} in {self.folder}; there are: {known}.")
        return Run(folder)

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


def versions() -> dict[str, str]:
    """What a result depends on besides its configuration."""
    return {
        "digitcnn": digitcnn.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
