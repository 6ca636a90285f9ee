"""What can go wrong for a person, each with a sentence that says what to do.

    DigitCNNError
    ├── ConfigError        a setting outside its range, or settings that exclude each other
    ├── DigitSetError      a digit set that is unknown, absent or unreadable
    │   └── DownloadError  every place it could come from refused
    ├── SketchError        a picture that cannot be read as a drawing
    ├── CheckpointError    a file that is no usable checkpoint
    ├── CapabilityError    a model that cannot do what was asked
    ├── ExportError        a network that cannot be written for use elsewhere
    ├── RunError           a run that does not exist, is busy, or cannot be resumed
    ├── TrainingError      a training that could not go on
    ├── FeedbackError      feedback that cannot be kept
    └── NotOwnerError      a visitor asked for what only the owner may do

The text of each is one sentence for the person: what came, what was expected, what to do.
The command line prints it and exits with 2; the page shows it as a toast.
"""


class DigitCNNError(Exception):
    """Base of all errors that are meant to be read by a person."""


class ConfigError(DigitCNNError):
    """A setting is outside its range, or two settings exclude each other."""


class DigitSetError(DigitCNNError):
    """A digit set is unknown, absent or unreadable."""


class DownloadError(DigitSetError):
    """A digit set could not be fetched from any of its places."""


class SketchError(DigitCNNError):
    """A picture cannot be read as a drawing."""


class CheckpointError(DigitCNNError):
    """A file is no usable checkpoint."""


class CapabilityError(DigitCNNError):
    """A model lacks what was asked for, such as dropout or feature maps."""


class ExportError(DigitCNNError):
    """A network cannot be written for use elsewhere."""


class RunError(DigitCNNError):
    """A run does not exist, is busy, or cannot be resumed."""


class TrainingError(DigitCNNError):
    """A training could not go on."""


class FeedbackError(DigitCNNError):
    """Feedback cannot be kept."""


class NotOwnerError(DigitCNNError):
    """A visitor asked for what only the owner may do."""
