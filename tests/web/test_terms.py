"""Terms that explain themselves, in headers and in texts."""

from __future__ import annotations

from digitcnn.web.terms import TERMS, explain, meaning


def test_a_term_is_explained_where_it_first_appears() -> None:
    html = explain("Held-out <b> and held-out, withheld-out; NLL (nats).")
    assert html.count("<button") == 3
    assert f'title="{TERMS["nll"]}">NLL</button>' in html
    assert html.startswith('<button type="button" class="term"')
    assert "&lt;b&gt; and held-out, withheld-out; " in html


def test_a_header_is_explained_by_the_term_it_starts_with() -> None:
    assert meaning("ECE mnist test") == TERMS["ece"]
    assert meaning("Held-out accuracy (95%)") == TERMS["held-out"]
    assert meaning("Accuracy (95% interval)") == TERMS["accuracy (95% interval)"]
    assert meaning("Digit set") == meaning("Supported") == ""
