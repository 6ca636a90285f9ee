"""Stored experiments: their state, settings, outcome, and people's predictions."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from digitcnn.errors import ConfigError, RunError
from digitcnn.experiments.experiment import Experiment
from digitcnn.experiments.outcome import Outcome
from digitcnn.files import write_json
from digitcnn.network.filenames import numbered
from digitcnn.training.run_record import RUNNING, RunRecord, is_run_name
from digitcnn.training.runs import RunStore


@dataclass(frozen=True)
class Group:
    """One execution of an experiment.

    name: of the group, which its runs carry. digits: what they were trained on. created: ISO 8601
    in UTC. state: running, finished, stopped, interrupted or failed. message: how it ended.
    predictions: how many people made each prediction, by its place.
    """

    name: str
    experiment: str
    digits: str
    seed: int
    created: str
    state: str = RUNNING
    message: str = ""
    outcome: Outcome | None = None
    predictions: tuple[int, ...] = ()


class GroupStore:
    """The groups in one folder, a file each. Thread-safe."""

    def __init__(self, folder: Path, runs: RunStore, checkpoints: Path) -> None:
        self._folder, self._runs, self._checkpoints = folder, runs, checkpoints
        self._lock = threading.Lock()

    def create(self, experiment: str, digits: str, seed: int) -> Group:
        """Create a group. Raises RunError where the folder cannot be written."""
        now = datetime.now(timezone.utc)
        names = numbered(f"{experiment}-{now:%Y%m%d-%H%M%S}")
        with self._lock:
            name = next(name for name in names if not self._path(name).exists())
            group = Group(name, experiment, digits, seed, now.isoformat(timespec="microseconds"))
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                self.write(group)
            except OSError as error:
                raise RunError(
                    f"The folder {self._folder} cannot be written ({error.strerror}); choose "
                    "another with --output-dir."
                ) from error
        return group

    def write(self, group: Group) -> None:
        """Store a group, atomically. Raises OSError."""
        write_json(self._path(group.name), dataclasses.asdict(group))

    def latest(self, experiment: str) -> Group | None:
        """Return the newest group of an experiment; None where there is none."""
        return max(self._groups(experiment), key=lambda group: group.created, default=None)

    @property
    def version(self) -> int:
        """Return a number that changes with every group that is added, changed or deleted."""
        try:
            return self._folder.stat().st_mtime_ns
        except OSError:
            return 0

    def runs_of(self, group: str) -> list[RunRecord]:
        """Return the records of a group's runs, the first one first."""
        return [one for one in reversed(self._runs.records()) if group and one.group == group]

    def delete(self, name: str) -> None:
        """Delete a group: its outcome, its runs and their checkpoints.

        Raises RunError for an unknown group, or a run that is in use or cannot be deleted.
        """
        path = self._path(name)
        if not is_run_name(name) or not path.is_file():
            raise RunError(f"There is no outcome {str(name)[:60]!r}; it was deleted already.")
        for record in self.runs_of(name):
            self._runs.delete(record.name)
            if record.checkpoint is not None and Path(record.checkpoint).name == record.checkpoint:
                (self._checkpoints / record.checkpoint).unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def _groups(self, experiment: str) -> Iterator[Group]:
        for path in self._folder.glob(f"{experiment}-*.json"):
            try:
                values = json.loads(path.read_text("utf-8"))
                group = Group(**{**values, "predictions": tuple(values["predictions"])})
            except (OSError, ValueError, TypeError, KeyError):
                continue  # damaged, or being deleted
            if group.experiment == experiment and group.name == path.stem:
                yield group

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


# Per experiment, so that nobody can fill the disk.
MOST_PEOPLE = 1000


class PeoplesPredictions:
    """Predictions by experiment and visitor, in one small file. Thread-safe.

    file: holds the place of each visitor's choice, by experiment and by the visitor's hash.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()

    def record(self, experiment: Experiment, visitor: str, choice: object) -> None:
        """Store a visitor's prediction in place of an earlier one.

        visitor: a hash. choice: the place of one of the choices, unchecked. Raises ConfigError for
        another choice, for too many visitors, or where the file cannot be written.
        """
        if type(choice) is not int or not 0 <= choice < len(experiment.choices):
            raise ConfigError("Unknown prediction; choose one of those on the card.")
        with self._lock:
            predictions = self._read()
            chosen = predictions.setdefault(experiment.name, {})
            if visitor not in chosen and len(chosen) >= MOST_PEOPLE:
                raise ConfigError(
                    f"{MOST_PEOPLE:,} people have predicted already; no more are allowed."
                )
            chosen[visitor] = choice
            self._write(predictions)

    def of(self, experiment: Experiment, visitor: str) -> int | None:
        """Return the place of a visitor's prediction; None without one."""
        with self._lock:
            choice = self._read().get(experiment.name, {}).get(visitor)
        return choice if choice is not None and 0 <= choice < len(experiment.choices) else None

    def counts(self, experiment: Experiment) -> tuple[int, ...]:
        """Return how many visitors made each prediction, in the order of the choices."""
        with self._lock:
            chosen = list(self._read().get(experiment.name, {}).values())
        return tuple(chosen.count(place) for place in range(len(experiment.choices)))

    def clear(self, experiment: str) -> None:
        """Forget the predictions of an experiment. Raises ConfigError as ``record`` does."""
        with self._lock:
            predictions = self._read()
            if predictions.pop(experiment, None):
                self._write(predictions)

    def _read(self) -> dict[str, dict[str, int]]:
        try:
            predictions: dict[str, dict[str, int]] = json.loads(self._file.read_text("utf-8"))
        except (OSError, ValueError):  # none yet, or damaged
            return {}
        return predictions if isinstance(predictions, dict) else {}

    def _write(self, predictions: dict[str, dict[str, int]]) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._file, predictions)
        except OSError as error:
            raise ConfigError(
                f"The prediction cannot be saved ({error.strerror}); the owner can free some space."
            ) from error
