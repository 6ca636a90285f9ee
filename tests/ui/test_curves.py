import re

import pytest

from digitcnn.ui.curves import HALF_A_LETTER, WIDTH, chart


@pytest.mark.parametrize("last", ["12", "2,568", "1,234,567"])
def test_the_last_number_of_an_axis_is_never_cut_off(last: str) -> None:
    made = chart(
        "Loss", "step", (0, 1), [(0, "0"), (1, last)], (0, 1), [], [("loss", "#000", [], False)], ""
    )
    found = re.search(rf'x="([\d.]+)" y="\d+" class="(middle|end)">{last}<', made)
    assert found
    at, beyond = float(found[1]), HALF_A_LETTER * len(last) * (found[2] == "middle")
    assert at + beyond <= WIDTH
