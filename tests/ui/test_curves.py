import re

import pytest

from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import EpochResult, StepProgress
from digitcnn.training.view import LossCurve, TrainingView
from digitcnn.ui.curves import HALF_A_LETTER, LEFT, RIGHT, WIDTH, chart, curves


@pytest.mark.parametrize("last", ["12", "2,568", "1,234,567"])
def test_the_last_number_of_an_axis_is_never_cut_off(last: str) -> None:
    made = chart(
        "Loss", "step", (0, 1), [(0, "0"), (1, last)], (0, 1), [], [("loss", "#000", [], False)], ""
    )
    found = re.search(rf'x="([\d.]+)" y="\d+" class="(middle|end)">{last}<', made)
    assert found
    at, beyond = float(found[1]), HALF_A_LETTER * len(last) * (found[2] == "middle")
    assert at + beyond <= WIDTH


def drawn_steps(view: TrainingView) -> list[float]:
    """Where the loss is drawn, in steps."""
    found = re.search(r'<polyline points="([^"]*)"', curves(view))
    assert found
    places = [float(point.split(",")[0]) for point in found[1].split()]
    assert view.progress is not None
    return [(x - LEFT) / (WIDTH - LEFT - RIGHT) * view.progress.steps for x in places]


def test_a_resumed_runs_loss_begins_with_the_means_of_its_earlier_epochs() -> None:
    results = tuple(EpochResult(epoch, 1.0, 0.9, 0.2, 0.98, 40, 1e-3, 5.0) for epoch in (1, 2, 3))
    resumed = TrainingView(
        config=TrainingConfig(epochs=4),
        progress=StepProgress(4, 4, 35, 40, (0.5,), 100.0, 1.0),
        losses=LossCurve().with_losses((0.5,) * 15),
        history=results,
    )
    assert drawn_steps(resumed) == pytest.approx([5, 15, *range(21, 36)], abs=0.2)
    through = TrainingView(
        config=TrainingConfig(epochs=4),
        progress=StepProgress(4, 4, 35, 40, (0.5,), 100.0, 1.0),
        losses=LossCurve().with_losses((0.5,) * 35),
        history=results,
    )
    assert drawn_steps(through) == pytest.approx(list(range(1, 36)), abs=0.2)
