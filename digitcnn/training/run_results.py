"""The results of a run, as files in its folder: history, metrics, stability and resume state."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
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
        """Return the metrics by digit set; empty where none are stored or the file is damaged.

        Each is as ``Evaluation.to_json`` or, of a stopped run, has ``n`` and ``accuracy`` only.
        """
        try:
            metrics: dict[str, Any] = dict(self._read("metrics.json"))
            for result in metrics.values():
                _check_accuracy(result["accuracy"], result["n"])
                _check_numbers(result.get(key) for key in ("nll", "brier", "ece", "macro_f1"))
                for row in result.get("per_digit", ()):
                    _check_numbers(
                        row[key] for key in ("digit", "support", "precision", "recall", "f1")
                    )
        except (AttributeError, KeyError, TypeError, ValueError):
            return {}
        return metrics

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
        """Return the stored stability results; empty where there are none or they are damaged.

        Each has ``masks``, ``passes``, ``mean``, ``std``, ``min`` and ``max``. The file holds one,
        or one per mask type.
        """
        try:
            stored = dict(self._read("stability.json"))
            results = [stored] if "passes" in stored else list(stored.values())
            for result in results:
                _check_numbers(result[key] for key in ("passes", "mean", "std", "min", "max"))
                _check_numbers([result.get("n")])
                if not isinstance(result["masks"], str):
                    return []
        except (KeyError, TypeError, ValueError):
            return []
        return results

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
    _check_numbers(row.values())
    result = EpochResult(**{**row, **undefined})
    _check_accuracy(result.accuracy, result.held_out)
    if None in vars(result).values():
        raise TypeError("numbers expected")
    return result


def _check_accuracy(accuracy: Any, n: Any) -> None:
    if type(n) is not int or not 1 <= n < 10**12 or not 0 <= accuracy <= 1:
        raise TypeError("an accuracy expected")


def _check_numbers(values: Iterable[Any]) -> None:
    """Raise TypeError for a value that is neither a number of usual size nor None."""
    for value in values:
        if value is not None and (type(value) not in (int, float) or not abs(value) < 1e12):
            raise TypeError("numbers expected")
