"""The record of a run, as stored in ``run.json``, and the versions that its result depends on."""

from __future__ import annotations

import dataclasses
import platform
import re
import subprocess
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import digitcnn
from digitcnn.errors import ConfigError, RunError
from digitcnn.folders import PACKAGE
from digitcnn.training.config import PostTrainingConfig, TrainingConfig

RUNNING, FINISHED, STOPPED = "running", "finished", "stopped"
INTERRUPTED, FAILED = "interrupted", "failed"

PROGRAM = PACKAGE.parent

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


@dataclass(frozen=True)
class RunRecord:
    """The state and the settings of a run; times are ISO 8601 in UTC.

    state: running, finished, stopped, interrupted or failed.
    saves: whether the run writes a checkpoint and a resume state.
    fingerprint: of the training images; None before they were opened.
    checkpoint: file name under the checkpoint folder, None without one. digest: of its tensors.
    message: one sentence on how the run ended.
    post_training: what follows the last epoch; stored as ``closing``.
    group: of the runs that belong together, such as those of an experiment; empty for most runs.
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
    versions: dict[str, str] = field(default_factory=dict)
    message: str = ""
    post_training: PostTrainingConfig = field(default_factory=PostTrainingConfig)
    group: str = ""

    @property
    def resumable(self) -> bool:
        """Return whether the run ended early and saved the state to resume from."""
        return self.state in (STOPPED, INTERRUPTED, FAILED) and self.saves

    @property
    def model(self) -> str:
        """Return the name of the run's model in the list of models; empty where none was saved."""
        return (self.checkpoint or "").removesuffix(".pt")

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain values; the keys are those of the file format."""
        values = dataclasses.asdict(self)
        return {**values, "closing": values.pop("post_training")}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunRecord:
        """Return the record that ``to_json`` stored. Raises RunError for anything else."""
        try:
            values = {
                **values,
                "config": TrainingConfig.from_json(values["config"]),
                # The oldest runs have no such key.
                "post_training": PostTrainingConfig(**values.get("closing", {})),
            }
            values.pop("closing", None)
            record = cls(**values)
        except (KeyError, TypeError, ConfigError) as error:
            raise RunError("run.json is not a run of this version of digitcnn.") from error
        texts = ("name", "state", "created", "device", "message", "group")
        if not all(isinstance(getattr(record, text), str) for text in texts):
            raise RunError("run.json is not a run of this version of digitcnn.")
        return record


def is_run_name(name: object) -> bool:
    """Return whether ``name`` can be the name of a run's folder."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def check_run_name(name: object) -> None:
    """Raise RunError for a name that cannot name a run's folder."""
    if not is_run_name(name):
        raise RunError(
            f"The run name {str(name)[:60]!r} is not valid; use up to 60 letters, digits, dots, "
            "dashes and underscores."
        )


def default_run_name(digits: str, now: datetime) -> str:
    """Return the default name of a run: digit set, day and time, such as mnist-5Nov-1632."""
    safe = re.sub(r"[^A-Za-z0-9.-]", "-", digits).lstrip(".-")[:30] or "run"
    return f"{safe}-{now.day}{now:%b}-{now:%H%M}"


def versions(program: Path = PROGRAM) -> dict[str, str]:
    """Return the versions by name; ``git`` where ``program`` is a checkout and git is installed."""
    packages = {
        "digitcnn": digitcnn.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
    revision = git_revision(program)
    return packages if revision is None else {**packages, "git": revision}


def git_revision(folder: Path) -> str | None:
    """Return the commit that is checked out in ``folder``, None where it is not known."""
    if not (folder / ".git").exists():
        return None  # an installed package may be inside another repository
    try:
        result = subprocess.run(
            ["git", "rev-parse", "--verify", "HEAD"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None
