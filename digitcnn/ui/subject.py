"""The models and test sets that results belong to, as a page has chosen them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.names import joined, written
from digitcnn.errors import CheckpointError, DigitSetError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.services.evaluation import names_of
from digitcnn.ui.models import Models
from digitcnn.workspace import Workspace


def names_in(chosen: Any) -> list[str]:
    """Return the names in a page's unchecked input, each once."""
    names = chosen if isinstance(chosen, list) else []
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))


@dataclass(frozen=True)
class Subject:
    """The models and test sets of some results; empty before the first ones.

    keys: of the models, for ``Models.get``. names: for people. digests: identify their
    predictions in caches.
    sets, counts: names of the test sets, the reference first, and how many images each has.
    setting: a further choice that the results depend on, in words; empty where there is none.
    """

    keys: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    counts: tuple[int | None, ...] = ()
    setting: str = ""

    @classmethod
    def of(
        cls, workspace: Workspace, models: Models, keys: Sequence[Any], sets: Sequence[str]
    ) -> Subject:
        """Describe an unchecked choice of models and test sets.

        Raises DigitCNNError for a missing model or set.
        """
        checkpoints = [models.get(key) for key in keys]
        return cls(
            tuple(keys),
            tuple(names_of(checkpoints)),
            tuple(checkpoint.key for checkpoint in checkpoints),
            tuple(sets),
            tuple(workspace.catalog.entry(name, "test").n for name in sets),
        )

    @property
    def stamp(self) -> str:
        """Return a digest of the models in their order, of the sets in any, and of the setting."""
        parts = (
            tuple(zip(self.keys, self.digests, strict=True)),
            sorted(zip(self.sets, map(str, self.counts), strict=True)),
            self.setting,
        )
        return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()

    @property
    def titles(self) -> list[str]:
        """Return the sets' names as people write them."""
        return [written(name) for name in self.sets]

    @property
    def set_choices(self) -> list[tuple[str, str]]:
        """Return the sets as the choices of a list."""
        return list(zip(self.titles, self.sets, strict=True))

    @property
    def text(self) -> str:
        """Return the models, sets and setting as text for people."""
        if not self.names:
            return ""
        setting = f", {self.setting}" if self.setting else ""
        return f"{joined(self.names)} on {joined(self.titles)}{setting}"

    def open(
        self, workspace: Workspace, models: Models, name: Any
    ) -> tuple[list[Checkpoint], DigitSet]:
        """Return the models and the set called ``name``. Raises DigitCNNError if one is missing."""
        if name not in self.sets:
            raise DigitSetError("There are no results for this set on this page; compute them.")
        return self.checkpoints(models), workspace.catalog.open(name, "test")

    def checkpoints(self, models: Models) -> list[Checkpoint]:
        """Return the models. Raises CheckpointError if one is missing or has been replaced."""
        checkpoints = [models.get(key) for key in self.keys]
        for name, digest, checkpoint in zip(self.names, self.digests, checkpoints, strict=True):
            if checkpoint.key != digest:
                raise CheckpointError(f"{name} has changed; compute its results again.")
        return checkpoints
