"""Errors for people: each text is one sentence, "problem; remedy".

The command line prints the text and exits with 2; the page shows it beside the field that
it concerns, else as a toast.
"""


class DigitCNNError(Exception):
    """Base of all errors that people read.

    field: the setting that is wrong, named like the command's option; empty if it is not a setting.
    """

    def __init__(self, text: str = "", *, field: str = "") -> None:
        super().__init__(text)
        self.field = field


class ConfigError(DigitCNNError):
    """A setting is out of range, or settings exclude each other."""


class DigitSetError(DigitCNNError):
    """A digit set is unknown, missing or unreadable."""


class DownloadError(DigitSetError):
    """A digit set could not be downloaded from any of its sources."""


class SketchError(DigitCNNError):
    """An image cannot be read as a sketch."""


class CheckpointError(DigitCNNError):
    """A file is not a usable checkpoint."""


class CapabilityError(DigitCNNError):
    """A model cannot do what was asked, such as dropout or feature maps."""


class ExportError(DigitCNNError):
    """A model cannot be exported."""


class RunError(DigitCNNError):
    """A run does not exist, is busy, or cannot be resumed."""


class TrainingError(DigitCNNError):
    """Training could not continue."""


class FeedbackError(DigitCNNError):
    """Feedback cannot be saved or read."""


class NotOwnerError(DigitCNNError):
    """A visitor tried something that only the owner may do."""
