"""The work that a run consists of, counted in images, and the time that each part takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import HELD_OUT_SHARE
from digitcnn.digits.names import set_names
from digitcnn.options import FIGURES, STABILITY_FIGURE, usual_passes
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.post_training import other_test_set
from digitcnn.training.step import FORWARD_SHARE, STATISTICS_IMAGES

# Seconds on two cores, whatever the network: per held-out image of the OOD detector's fit, per
# image of a dropout pass, which repeats the last layers only, and per figure.
DETECTOR_SECONDS = 1.5e-4
PASS_SECONDS = 4e-6
FIGURE_SECONDS = 0.3


@dataclass(frozen=True)
class RunWork:
    """How many images each part of a run handles.

    images: trained on per epoch. held_out: evaluated at each epoch's end and after the last one.
    tested: of the test sets of the run's own kind. others: of the set by other writers.
    fitted: by the OOD detector's fit. passes: images times dropout passes. figures: their number.
    """

    images: int = 0
    held_out: int = 0
    tested: int = 0
    others: int = 0
    fitted: int = 0
    passes: int = 0
    figures: int = 0

    @classmethod
    def of(cls, config: TrainingConfig, post: PostTrainingConfig, catalog: Catalog) -> RunWork:
        """Count the work of a run; a set that is not available counts as empty."""
        names = set_names(config.digits)
        files = [count for name in names if (count := catalog.entry(name, "train").n)]
        held_out = sum(max(1, count // HELD_OUT_SHARE) for count in files)
        images = max(0, sum(files) - held_out)
        test_sets = names if post.test_sets else []
        tested = sum(catalog.entry(name, "test").n or 0 for name in test_sets)
        others = 0
        if post.test_sets:
            others = catalog.entry(other_test_set(config.digits), "test").n or 0
        passes = 2 * (post.passes or usual_passes(config.epochs)) if post.stability else 0
        return cls(
            images=min(images, config.train_images or images),
            held_out=held_out,
            tested=tested,
            others=others,
            fitted=held_out if post.ood_detector else 0,
            passes=passes * (others or tested or held_out),
            figures=sum(post.stability or name != STABILITY_FIGURE for name in FIGURES)
            if post.figures
            else 0,
        )

    def seconds_after(self, images_per_second: float) -> Mapping[str, float]:
        """Return the seconds of each phase after the last epoch, by the start of its text."""
        forward = FORWARD_SHARE / max(1.0, images_per_second)
        return {
            "evaluating the held-out": forward * (self.held_out + self.tested),
            "fitting": DETECTOR_SECONDS * self.fitted,
            "evaluating": forward * self.others,
            "running": PASS_SECONDS * self.passes,
            "drawing": FIGURE_SECONDS * self.figures,
        }

    def seconds(self, epochs: int, images_per_second: float) -> float:
        """Return the seconds of the whole run. images_per_second: while it trains."""
        evaluated = min(self.images, STATISTICS_IMAGES) + self.held_out
        training = epochs * (self.images + FORWARD_SHARE * evaluated) / images_per_second
        return training + sum(self.seconds_after(images_per_second).values())
