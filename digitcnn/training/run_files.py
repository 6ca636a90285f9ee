"""The files of a run that a page may list and download, and the report made from them."""

from __future__ import annotations

import dataclasses
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from digitcnn.analysis.report import RunFacts, report
from digitcnn.errors import RunError
from digitcnn.files import atomic_write
from digitcnn.training.run import Run

# A run writes into its folder and ``figures/`` below it, and nothing larger than this.
MAX_FILE = 64 << 20
MAX_FILES = 500
MAX_LOG = 256 << 10

REPORT = "report.html"


@dataclass(frozen=True)
class RunFile:
    """A file of a run.

    name: relative to the run's folder, such as ``figures/05_conv_filters.png``. size: in bytes.
    """

    name: str
    size: int


def list_files(run: Run) -> list[RunFile]:
    """Return the run's regular files by name, without links, hidden files and locks.

    Raises RunError when the folder is gone or cannot be listed.
    """
    files = []
    try:
        for folder in (run.folder, run.folder / "figures"):
            prefix = "" if folder == run.folder else "figures/"
            if prefix and not (folder.is_dir() and not folder.is_symlink()):
                continue
            for path in folder.iterdir():
                status = path.lstat()
                hidden = path.name.startswith(".") or path.suffix == ".lock"
                if stat.S_ISREG(status.st_mode) and not hidden and path.name.isprintable():
                    files.append(RunFile(prefix + path.name, status.st_size))
    except OSError as error:
        raise RunError(
            f"The files of run '{run.name}' cannot be listed ({error.strerror}); it may have been "
            "deleted."
        ) from error
    return sorted(files, key=lambda file: file.name)[:MAX_FILES]


def read_file(run: Run, name: str) -> bytes:
    """Return the content of one of ``list_files``, and of no other file.

    Raises RunError for any other name, or a file that is too large or cannot be read.
    """
    known = {file.name: file for file in list_files(run)}
    # Looked up, not joined: a name from outside never becomes a path.
    file = known.get(name) if isinstance(name, str) else None
    if file is None:
        raise RunError(f"Run '{run.name}' has no file {name!s:.60}; it has {', '.join(known)}.")
    if file.size > MAX_FILE:
        raise RunError(
            f"{file.name} is too large to download ({file.size:,} bytes); copy it from "
            f"{run.folder}."
        )
    try:
        # O_NOFOLLOW: a link may have replaced the file since it was listed.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(run.folder / file.name, flags), "rb") as opened:
            return opened.read(MAX_FILE)
    except OSError as error:
        raise RunError(
            f"{file.name} of run '{run.name}' cannot be read ({error.strerror}); try again."
        ) from error


def write_report(run: Run) -> None:
    """Write ``report.html`` from what the folder holds now. Raises RunError or OSError."""
    with atomic_write(run.folder / REPORT) as file:
        file.write(report(_facts(run)).encode("utf-8", "replace"))


def _facts(run: Run) -> RunFacts:
    """Gather the facts for the report. Raises RunError as ``Run.record`` does.

    Files that are missing or damaged are left out: a partial report is better than none.
    """
    record = run.record()
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
        history=[dataclasses.asdict(result) for result in run.results.history()],
        metrics=run.results.metrics(),
        stabilities=run.results.stabilities(),
        figures={
            Path(file.name).stem: read_file(run, file.name)
            for file in list_files(run)
            if file.name.startswith("figures/") and file.name.endswith(".png")
        },
        log=_log_text(run),
    )


def _log_text(run: Run) -> str:
    """Return the end of log.txt, empty where it cannot be read."""
    try:
        with (run.folder / "log.txt").open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - MAX_LOG))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
