"""What people predict of an experiment's outcome, before it is known: one prediction each."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from digitcnn.errors import ConfigError
from digitcnn.experiments.experiment import Experiment
from digitcnn.files import write_json

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
            known = self._read()
            chosen = known.setdefault(experiment.name, {})
            if visitor not in chosen and len(chosen) >= MOST_PEOPLE:
                raise ConfigError(
                    f"{MOST_PEOPLE:,} people have predicted already; no more are allowed."
                )
            chosen[visitor] = choice
            self._write(known)

    def of(self, experiment: Experiment, visitor: str) -> int | None:
        """Return the place of a visitor's prediction; None without one."""
        with self._lock:
            made = self._read().get(experiment.name, {}).get(visitor)
        return made if made is not None and 0 <= made < len(experiment.choices) else None

    def counts(self, experiment: Experiment) -> tuple[int, ...]:
        """Return how many visitors made each prediction, in the order of the choices."""
        with self._lock:
            chosen = list(self._read().get(experiment.name, {}).values())
        return tuple(chosen.count(place) for place in range(len(experiment.choices)))

    def clear(self, experiment: str) -> None:
        """Forget the predictions of an experiment. Raises ConfigError as ``record`` does."""
        with self._lock:
            known = self._read()
            if known.pop(experiment, None):
                self._write(known)

    def _read(self) -> dict[str, dict[str, int]]:
        try:
            known = json.loads(self._file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return {
            name: {visitor: place for visitor, place in chosen.items() if type(place) is int}
            for name, chosen in (known.items() if isinstance(known, dict) else ())
            if isinstance(chosen, dict)
        }

    def _write(self, known: dict[str, dict[str, int]]) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._file, known)
        except OSError as error:
            raise ConfigError(
                f"The prediction cannot be saved ({error.strerror}); the owner can free some space."
            ) from error
