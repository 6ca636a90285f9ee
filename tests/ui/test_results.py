"""Results carry what they are of; the choice and results that are known already are shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gradio as gr
import pytest
from coroutines import run_async

from digitcnn.errors import DigitSetError
from digitcnn.ui.results import Computation, Results, RunButtons
from digitcnn.ui.subject import Subject

REQUEST: Any = type("Request", (), {"session_hash": "this page"})()
MODELS = {"a": "1" * 64, "b": "2" * 64}


def subject_of(name: Any, sets: Any) -> Subject:
    """The choice of a model and sets, none of which exists."""
    if not sets:
        raise DigitSetError("No test set is chosen; choose one or more.")
    return Subject((name,), (name,), (MODELS[name],), tuple(sets), (100,) * len(sets))


class Page:
    """A page with one tab, whose handlers are called as Gradio does."""

    def __init__(self, steps: Callable[..., Iterator[dict[str, Any]]]) -> None:
        async def build() -> None:
            with gr.Blocks(analytics_enabled=False) as self.blocks, gr.Tab() as tab:
                model, sets = gr.Dropdown(["a", "b"]), gr.CheckboxGroup(["x", "y"])
                self.results = Results("evaluate", "Evaluation", "Evaluate")
                states = ["view", "run", "stop", "running", "opened", "choice"]
                self.names = ["status", "table", "addition", *states]
                self.buttons = RunButtons("Evaluate", "evaluate")
                self.results.parts |= {"status": gr.HTML(), "table": gr.HTML()}
                addition = {"status": gr.Markdown(elem_id="s"), "figure": gr.HTML()}
                self.results.connect_part(
                    RunButtons("Add", "add"), addition, gr.Dropdown(), lambda *_: iter(())
                )
                self.results.connect(
                    self.buttons,
                    Computation([model, sets], subject_of, steps),
                    opens=tab,
                )

        run_async(build())
        events = self.blocks.fns.values()
        # The first two are those of the addition.
        _, _, self._stop, self._begin, self._run, self._catch_up, self._follow, *_ = [
            event.fn for event in events if event.fn
        ]

    def _named(self, values: list[Any]) -> dict[str, Any]:
        pairs = zip(self.names, values, strict=True)
        return {name: value for name, value in pairs if value != gr.skip()}

    def press(self, model: str, sets: list[str]) -> Iterator[dict[str, Any]]:
        yield self._named(self._begin(REQUEST, model, sets))
        for values in self._run(REQUEST, model, sets):
            yield self._named(values)

    def stop(self, request: Any) -> None:
        self._stop(request)

    def choose(
        self,
        model: str,
        sets: list[str],
        view: Subject,
        *,
        running: bool = False,
        opened: bool = True,
    ) -> dict[str, Any]:
        return self._named(self._follow(view, running, opened, model, sets))

    def end(self, model: str, sets: list[str], view: Subject) -> dict[str, Any]:
        """What follows the run's last step, or opens the tab, with the choice as it was then."""
        return self._named(self._catch_up(view, False, False, model, sets))


def measured(request: Any, subject: Subject) -> Iterator[dict[str, Any]]:
    yield {"table": ""}
    yield {"table": f"<table>{subject.text}</table>", "status": "done"}


def stamps(update: dict[str, Any]) -> set[str]:
    return set(re.findall(r'data-stamp="(\w*)"', str(update)))


def test_results_and_the_choice_they_were_computed_for_have_one_stamp() -> None:
    begin, empty, last, end = Page(measured).press("a", ["x", "y"])
    stamp = subject_of("a", ["y", "x"]).stamp
    assert stamps(begin) == stamps(last) == {stamp}
    assert empty["view"] == last["view"] == subject_of("a", ["x", "y"])
    assert empty["table"] == ""
    assert empty["addition"] == "", "it would stay, of other models or sets"
    assert "addition" not in last, "it may have been computed meanwhile"
    assert 'data-text="a on x and y"' in last["table"]
    assert (end["run"]["interactive"], end["stop"]["interactive"]) == (True, False)
    assert end["running"] is False


@pytest.mark.parametrize(
    "other",
    [
        {"digests": ("3" * 64,)},
        {"keys": ("b",)},
        {"sets": ("x",), "counts": (100,)},
        {"counts": (100, 101)},
    ],
)
def test_another_model_file_set_or_number_of_images_has_another_stamp(other: Any) -> None:
    subject = subject_of("a", ["x", "y"])
    assert replace(subject, **other).stamp != subject.stamp


def test_a_new_choice_is_named_and_its_known_results_are_shown_at_once() -> None:
    page = Page(measured)
    list(page.press("a", ["x"]))
    of_a = subject_of("a", ["x"])
    unknown = page.choose("b", ["x"], of_a)
    assert unknown.keys() == {"choice"}
    assert stamps(unknown) == {subject_of("b", ["x"]).stamp}
    assert 'data-action="Evaluate b"' in unknown["choice"]
    list(page.press("b", ["x"]))
    known = page.choose("a", ["x"], subject_of("b", ["x"]))
    assert "a on x" in known["table"]
    assert known["view"] == of_a
    # A page that was loaded again has its results back once it opens the tab.
    assert page.choose("a", ["x"], Subject(), opened=False).keys() == {"choice"}
    again = page.end("a", ["x"], Subject())
    assert (again["table"], again["view"], again["opened"]) == (known["table"], of_a, True)
    # The results of a run would come between these.
    assert page.choose("a", ["x"], subject_of("b", ["x"]), running=True).keys() == {"choice"}


def test_the_end_of_a_run_leaves_the_choice_as_it_is_shown() -> None:
    # Its values may be older than a choice that was made while it was on its way.
    page = Page(measured)
    list(page.press("a", ["x"]))
    assert page.end("b", ["x"], subject_of("a", ["x"])) == {"opened": True}
    list(page.press("b", ["x"]))
    known = page.end("a", ["x"], subject_of("b", ["x"]))
    assert known.keys() == {"status", "table", "addition", "view", "opened"}


def test_a_choice_of_nothing_has_no_stamp_and_offers_nothing() -> None:
    choice = Page(measured).choose("a", [], subject_of("a", ["x"]))["choice"]
    assert stamps({"choice": choice}) == {""}
    assert 'data-action=""' in choice


@pytest.mark.parametrize("error", [DigitSetError("gone"), ZeroDivisionError()])
def test_the_button_is_enabled_after_any_error(error: Exception) -> None:
    def steps(request: Any, subject: Subject) -> Iterator[dict[str, Any]]:
        yield {"status": "working"}
        raise error

    page = Page(steps)
    shown = page.press("a", ["x"])
    assert next(shown)["running"] is True
    assert "working" in next(shown)["status"]
    stopped = next(shown)
    assert "Evaluation stopped; see the error message." in stopped["status"]
    assert stopped["run"]["interactive"] is True
    assert stopped["running"] is False
    with pytest.raises(gr.Error):
        next(shown)
    # What is incomplete is not shown again.
    assert page.choose("a", ["x"], subject_of("b", ["x"])).keys() == {"choice"}


def test_stop_ends_the_work_of_its_own_page_and_what_is_incomplete_is_not_cached() -> None:
    ended: list[str] = []

    def steps(request: Any, subject: Subject) -> Iterator[dict[str, Any]]:
        try:
            for number in range(5):
                yield {"status": f"step {number}"}
        finally:
            ended.append(subject.text)

    page = Page(steps)
    page.stop(REQUEST)  # before the start: forgotten
    shown = page.press("a", ["x"])
    begun = next(shown)
    assert (begun["run"]["interactive"], begun["stop"]["interactive"]) == (False, True)
    assert "step 0" in next(shown)["status"]
    page.stop(type("Request", (), {"session_hash": "another page"})())
    assert "step 1" in next(shown)["status"]
    assert ended == []
    page.stop(REQUEST)
    last = next(shown)
    assert ended == ["a on x"]
    assert "Evaluation stopped before its end" in last["status"]
    assert (last["run"]["interactive"], last["stop"]["interactive"]) == (True, False)
    assert last["running"] is False
    assert list(shown) == []
    assert page.choose("a", ["x"], subject_of("b", ["x"])).keys() == {"choice"}


def test_results_and_each_addition_have_exactly_two_buttons() -> None:
    blocks = Page(measured).blocks.blocks.values()
    assert sum(isinstance(block, gr.Button) for block in blocks) == 4
