"""The worksheet to print has a place for every number of the outcome."""

from __future__ import annotations

import re

import pytest
from markupsafe import escape

from digitcnn.experiments import catalogue
from digitcnn.experiments.worksheet import worksheet


@pytest.mark.parametrize("name", catalogue.names())
def test_worksheet_asks_the_experiments_questions(name: str) -> None:
    experiment = catalogue.find(name)
    page = worksheet(experiment)
    texts = [experiment.question, experiment.procedure, experiment.predict, *experiment.discussion]
    texts += [choice.text for choice in experiment.choices]
    for text in texts:
        assert str(escape(text)) in page
    rows = re.findall(r'<th scope="row">(.*?)</th>', page)
    measured = [arm.label for arm in experiment.arms] if experiment.questions else ["seed 0"]
    assert set(measured) <= set(rows)
    differences = [row for row in rows if " minus " in row]
    assert len(differences) == max(1, len(experiment.questions))
    assert ("Training accuracy" in page) == experiment.training_curve
    assert ("label errors" in page) == bool(experiment.label_errors)
    assert ("are predicted as" in page) == any(test.digit is not None for test in experiment.tests)
