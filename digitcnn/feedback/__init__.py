"""What people said about the model's answers.

A verdict is kept with its sketch: the strokes, the 28x28 image that the network saw, which model
answered what with which probabilities, and what the person says it is: all that makes a digit set
of them. ``FeedbackStore.record`` returns when the verdict is on the disk.

Who gave a verdict is kept only as a hash of the secret in that person's browser: the store tells
which verdicts belong together, but nobody who reads it can act as that person. Lists show an alias.

``entry`` says what is kept, ``schema`` is the table, ``store`` asks and changes, and
``sqlite_file`` and ``postgres`` are the two places where the table can be.
"""

from digitcnn.feedback.entry import (
    EVERYTHING,
    MAX_STROKES_BYTES,
    FeedbackEntry,
    FeedbackFilter,
    ModelScore,
    Score,
    Sketch,
    visitor_alias,
)
from digitcnn.feedback.schema import SCHEMA_VERSION
from digitcnn.feedback.store import FeedbackStore

__all__ = [
    "EVERYTHING",
    "MAX_STROKES_BYTES",
    "SCHEMA_VERSION",
    "FeedbackEntry",
    "FeedbackFilter",
    "FeedbackStore",
    "ModelScore",
    "Score",
    "Sketch",
    "visitor_alias",
]
