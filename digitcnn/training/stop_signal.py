"""The signal to end a training or fine-tuning early."""

from __future__ import annotations

import threading

from digitcnn.training.run_record import INTERRUPTED, STOPPED


class StopSignal:
    """Asks a training to end between two batches, and with which state."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = STOPPED

    def stop(self, reason: str = STOPPED) -> None:
        """Request the end.

        reason: ``stopped`` when a person asked, and a checkpoint is saved; ``interrupted`` when
        the process is about to end.
        """
        # The reason first: the training reads it as soon as the event is set.
        self.reason = reason
        self._event.set()

    def is_set(self) -> bool:
        """Return whether to stop."""
        return self._event.is_set()

    @property
    def interrupted(self) -> bool:
        """Return whether to stop because the process is about to end."""
        return self.is_set() and self.reason == INTERRUPTED
