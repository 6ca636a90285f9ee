import base64
import math
import re

import pytest

from digitcnn.ui.tables import Cell, data_link, table

HEADERS = ["digit set", "images", "accuracy"]


def test_texts_are_escaped_in_cells_headers_and_label() -> None:
    made = table(["<i>set</i>"], [["<script>alert(1)</script>"]], label='"><b>', caption=True)
    assert "<script>" not in made
    assert "<i>" not in made
    assert "<b>" not in made
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in made


def test_numbers_are_grouped_by_thousands_and_sorted_as_numbers() -> None:
    made = table(HEADERS, [["mnist test", 10_000, Cell("99%", 0.99)]], label="Accuracy")
    assert '<td data-key="10000">10,000</td>' in made
    assert '<td data-key="0.99">99%</td>' in made


def test_nan_is_a_dash_that_sorts_last() -> None:
    made = table(HEADERS, [["a", 1, Cell("nan%", math.nan)]], label="Accuracy")
    assert '<td data-key="">–</td>' in made
    assert "nan" not in made


def test_the_first_column_is_the_row_header_and_texts_are_left_aligned() -> None:
    made = table(HEADERS, [["a", 1, "good"]], label="Accuracy")
    assert '<th scope="row" class="text" data-key="a">a</th>' in made
    assert '<td class="text" data-key="good">good</td>' in made
    assert made.count('<th scope="col"') == 3


def test_long_texts_wrap_and_numbers_do_not() -> None:
    verdict = "no evidence of a difference: these images cannot reveal one below 0.16 points"
    exact = Cell("+0.05 points (-0.07 to +0.17), 95% interval", 0.0005)
    made = table(HEADERS, [["a", exact, verdict]], label="Pairs")
    assert f'<td class="text sentence" data-key="{verdict}">' in made
    assert '<td data-key="0.0005">' in made


def test_the_footer_is_not_sorted() -> None:
    made = table(HEADERS, [["a", 1, "x"]], label="Accuracy", footer=[["a minus b", "", "y"]])
    rows, footer = made.split("<tfoot>")
    assert "minus" not in rows
    assert "a minus b" in footer


def test_a_table_without_rows_has_its_headers() -> None:
    made = table(HEADERS, [], label="Accuracy")
    assert re.findall(r'<button type="button">([^<]+)', made) == HEADERS


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="argument"):
        table(HEADERS, [["a", 1]], label="Accuracy")


def test_a_link_holds_the_whole_file() -> None:
    link = data_link("a,b\n1,–\n".encode(), "text/csv", 'x".csv', "<CSV>")
    address = re.search(r'href="data:text/csv;base64,([^"]+)"', link)
    assert address
    assert base64.b64decode(address[1]).decode() == "a,b\n1,–\n"
    assert 'download="x&#34;.csv"' in link
    assert "&lt;CSV&gt;" in link
