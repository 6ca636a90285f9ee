"""What the parts of the page share while it is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from digitcnn.ui.access import WITH_TOKEN_JS, Access
from digitcnn.ui.clock import Clock
from digitcnn.ui.gradio_private import Dependency
from digitcnn.ui.models import Models
from digitcnn.ui.parts import PRIVATE
from digitcnn.workspace import Workspace


@dataclass(frozen=True)
class Context:
    """What each part is built with, inside the open ``page``.

    owner_token: a hidden field, see ``with_token``. model_select: its value is the name of the
    model that is chosen in the header.
    """

    workspace: Workspace
    models: Models
    access: Access
    clock: Clock
    page: gr.Blocks
    owner_token: gr.Textbox
    model_select: gr.Dropdown

    def with_token(
        self,
        event: Callable[..., Dependency],
        handler: Callable[..., Any],
        inputs: Sequence[Any] = (),
        outputs: Any = None,
        **options: Any,
    ) -> Dependency:
        """Connect a handler whose first input is the owner's token; empty for a visitor."""
        options |= {**PRIVATE, "js": WITH_TOKEN_JS}
        return event(handler, [self.owner_token, *inputs], outputs, **options)
