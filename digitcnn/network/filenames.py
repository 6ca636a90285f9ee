"""File names for new checkpoints: safe, and never those of existing files."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from digitcnn.errors import CheckpointError
from digitcnn.network import checkpoint
from digitcnn.network.details import Details
from digitcnn.network.ood import OODDetector
from digitcnn.network.own_format import AnyNetwork

# Letters that Unicode does not decompose into one of A to Z and an accent.
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe"}
    | dict(zip("øØłŁđĐıŧŦ", "oOlLdDitT", strict=True))
)


def safe_filename(name: str, default: str) -> str:
    """Reduce an untrusted name to at most 60 letters, digits, ``.``, ``_`` and ``-``.

    Accents are removed. default: returned if nothing is left.
    """
    name = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", name.translate(_LETTERS)))
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("._-")[:60] or default


def numbered(stem: str) -> Iterator[str]:
    """Yield ``stem``, ``stem-2``, ``stem-3`` and so on."""
    yield stem
    yield from (f"{stem}-{number}" for number in itertools.count(2))


def save_under_free_name(
    folder: Path,
    names: Iterable[str],
    network: AnyNetwork,
    details: Details,
    ood: OODDetector | None = None,
    *,
    description: str = "",
    reuse: bool = True,
) -> Path:
    """Write a checkpoint under the first of ``names``, without ``.pt``, that no file has.

    names: endless. description: of a rebuilt network. reuse: return the existing file under an
    earlier name where it has the same weights and as much information, instead of writing again.
    Raises CheckpointError where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"The folder {folder} cannot be written ({error.strerror}); choose another with "
            "--checkpoint-dir."
        ) from error
    digest = checkpoint.digest_of(network)
    for name in names:
        path = folder / f"{name}.pt"
        if not os.path.lexists(path):
            try:
                checkpoint.save(path, network, details, ood, description)
                return path
            except CheckpointError:
                if not os.path.lexists(path):
                    raise
                # Another process took the name meanwhile.
        if not reuse:
            continue
        with contextlib.suppress(CheckpointError):
            existing = checkpoint.load(path)
            if existing.digest == digest and (existing.ood is None) == (ood is None):
                return path
    raise AssertionError("names must not end")
