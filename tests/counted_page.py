"""An open page whose requests to the app are noted, and whose clock the test may advance."""

from __future__ import annotations

from typing import Any


class CountedPage:
    """Records a page's requests to the app. Create it before the page is opened."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.asked: list[str] = []  # functions of the page; of other requests, the address
        self.unanswered: set[Any] = set()
        page.on("request", self._note)
        for event in ("requestfinished", "requestfailed"):
            page.on(event, lambda request: self.unanswered.discard(request))

    def _note(self, request: Any) -> None:
        if "/gradio_api/" in request.url:
            name = request.url.rsplit("/gradio_api/", 1)[1]
            if request.method == "POST" and name.startswith("component_server"):
                name = request.post_data_json["fn_name"]
                self.unanswered.add(request)
            self.asked.append(name)

    def settle(self) -> None:
        """Wait until all calls are answered and none is sent but the clock's, once a second."""
        before, now = -1, 0
        while before != now or self.unanswered:
            before = now
            self.page.wait_for_timeout(150)
            now = sum(name != "page_state" for name in self.asked)

    def now(self) -> float:
        """Return the time by the page's clock, in seconds."""
        return float(self.page.evaluate("Date.now()")) / 1000

    def pass_time(self, seconds: float, since: float | None = None) -> None:
        """Advance the page's clock to ``seconds`` after ``since``, by default after now.

        It advances by half a second at a time and waits for all calls to be answered in between.
        The clock also runs by itself, for seconds on a slow machine, and that time counts.
        """
        end = (self.now() if since is None else since) + seconds
        while (left := end - self.now()) > 0:
            self.page.clock.fast_forward(min(500, round(1000 * left)))
            self.page.wait_for_timeout(5)
            while self.unanswered:
                self.page.wait_for_timeout(5)
