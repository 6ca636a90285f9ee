"""The versions of the packages that a result depends on."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import numpy as np
import torch

import digitcnn

PROGRAM = Path(digitcnn.__file__).resolve().parent.parent


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
