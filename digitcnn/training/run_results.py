"""The results of a run, as files in its folder: history, metrics, stability and resume state."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from digitcnn.analysis.stability import Stability
from digitcnn.errors import RunError
from digitcnn.files import atomic_write, write_json
from digitcnn.training.events import EpochResult, Snapshot


class RunResults:
    """Reads and writes the results in one run's folder. Writing raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write_history(self, history: Sequence[EpochResult]) -> None:
        """Store the finished epochs. Raises OSError."""
        write_json(self._folder / "history.json", [dataclasses.asdict(row) for row in history])

    def history(self) -> tuple[EpochResult, ...]:
        """Return the finished epochs; empty where none is stored or the file is damaged."""
        try:
            return tuple(_epoch_result(row) for row in self._read("history.json"))
        except (TypeError, KeyError):
            return ()

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Store the metrics by digit set. Raises OSError."""
        write_json(self._folder / "metrics.json", metrics)

    def metrics(self) -> dict[str, Any]:
        """Return the metrics by digit set; empty where none are stored."""
        metrics = self._read("metrics.json")
        return metrics if isinstance(metrics, dict) else {}

    def write_stability(self, measured: Sequence[Stability]) -> None:
        """Store the stability results, by masks. Raises OSError."""
        records = {
            stability.masks: {
                "digits": stability.digits,
                "split": stability.split,
                "n": stability.n,
                **stability.to_json(),
                "chance": stability.chance,
                "bound": stability.bound,
                "flipped": stability.flipped,
                "verdict": stability.verdict or None,
            }
            for stability in measured
        }
        write_json(self._folder / "stability.json", records)

    def stabilities(self) -> list[dict[str, Any]]:
        """Return the stored stability results; the file holds one, or one per mask type."""
        stored = self._read("stability.json")
        if not isinstance(stored, dict):
            return []
        if "passes" in stored:
            return [stored]
        return [record for record in stored.values() if isinstance(record, dict)]

    def write_snapshot(self, snapshot: Snapshot) -> None:
        """Replace the resume state. Raises OSError; the previous one then stays."""
        values = {
            "weights": snapshot.weights,
            "averaged": snapshot.averaged,
            "moments": snapshot.moments,
            "history": [dataclasses.asdict(result) for result in snapshot.history],
        }
        with atomic_write(self._folder / "resume.pt") as file:
            torch.save(values, file)

    def snapshot(self) -> Snapshot | None:
        """Return the state after the last finished epoch, None where none is stored.

        Raises RunError where the file is damaged.
        """
        path = self._folder / "resume.pt"
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
                f"The resume state of '{self._folder.name}' is damaged; start the training again."
            ) from error

    def delete_snapshot(self) -> None:
        """Delete the state to resume from; the run is finished."""
        (self._folder / "resume.pt").unlink(missing_ok=True)

    def _read(self, name: str) -> Any:
        """Return the content of a JSON file, None where it is missing or damaged."""
        try:
            return json.loads((self._folder / name).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return None


def _epoch_result(row: Any) -> EpochResult:
    """Return a row of ``history.json``. Raises TypeError or KeyError for a row of another form."""
    # JSON has no NaN: an undefined loss is stored as null.
    undefined = {key: math.nan for key in ("loss", "held_out_loss") if row[key] is None}
    result = EpochResult(**{**row, **undefined})
    if not all(type(value) in (int, float) for value in vars(result).values()):
        raise TypeError("numbers expected")
    return result
