"""What the menu of a run does: files for everyone; resume, rename and delete for the owner.

The page's script ``runs.js`` calls ``manage_run`` as a plain POST, so it accepts any JSON. Files
are read by ``Run.read_file``: the page never serves a path of the output folder.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from digitcnn.errors import RunError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.filenames import safe_filename
from digitcnn.training.report import REPORT
from digitcnn.training.run import Run
from digitcnn.ui.access import Access
from digitcnn.ui.parts import file_reply
from digitcnn.ui.sketchpad_tab import Payload, replying
from digitcnn.workspace import Workspace


def manager(workspace: Workspace, access: Access) -> Callable[[Any, gr.Request], Payload]:
    """Return ``manage_run``, which does what a run's menu offers.

    It takes ``{"owner", "run", "action"}``, accepts any JSON, and never raises. Only the owner may
    ``resume``, ``rename`` to ``{"name"}`` and ``delete``, with ``{"with_model": true}`` the model
    too, which return the run's new name as ``{"run"}``; ``report``, ``model`` and ``files`` return
    a file as ``{"name", "type", "content": base64}``. ``safe-name`` returns ``{"run"}``, what a run
    would be called that is renamed to ``{"name"}``; empty where nothing of it may be in a name.
    """

    def manage_run(payload: Any, request: gr.Request) -> Payload:
        def handle(sent: Payload) -> Payload:
            name, action = sent.get("run"), sent.get("action")
            if action == "safe-name":
                return {"run": _safe_name(sent)}
            if isinstance(action, str) and action in OWNER_ACTIONS:
                access.require_owner(request, sent.get("owner"), to=f"{action} a run")
                return {"run": OWNER_ACTIONS[action](workspace, str(name), sent)}
            return file_of(workspace, str(name), action)

        return replying(handle)(payload)

    return manage_run


def _resume(workspace: Workspace, name: str, _: Payload) -> str:
    return workspace.job.resume(name)


def _rename(workspace: Workspace, name: str, sent: Payload) -> str:
    new = _safe_name(sent)
    if not new:
        raise RunError("The new name has no letters from A to Z and no digits; add some.")
    run = workspace.runs.open(name)
    return name if new == run.name else workspace.job.rename(name, new)


def _safe_name(sent: Payload) -> str:
    typed = sent.get("name")
    return safe_filename(typed if isinstance(typed, str) else "", "")


def _delete(workspace: Workspace, name: str, sent: Payload) -> str:
    model = _deletable_model(workspace, name) if sent.get("with_model") is True else ""
    workspace.job.delete(name)
    if model:
        workspace.checkpoints.delete(model)
    return ""


OWNER_ACTIONS: Mapping[str, Callable[[Workspace, str, Payload], str]] = {
    "resume": _resume,
    "rename": _rename,
    "delete": _delete,
}


def _deletable_model(workspace: Workspace, name: str) -> str:
    """Return the name of a run's model; empty if its file is gone.

    Raises RunError if another run has the same model, or the file has changed since.
    """
    record = workspace.runs.open(name).record()
    models = {one.name: one for one in workspace.checkpoints.list()}
    if record.model not in models:
        return ""
    model = models[record.model]
    others = [
        one.name
        for one in workspace.runs.records()
        if one.model == record.model and one.name != name
    ]
    if others:
        why = f"is also the model of run '{others[0]}'"
    elif not isinstance(model, Checkpoint) or model.digest != record.digest:
        why = f"is no longer the model that run '{name}' saved"
    else:
        return record.model
    raise RunError(f"{record.checkpoint} {why}; delete the run without it.")


def file_of(workspace: Workspace, name: str, kind: Any) -> Payload:
    """Return a run's ``report``, its ``model`` or a zip of all ``files``. Raises DigitCNNError."""
    run = workspace.runs.open(name)
    if kind == "report":
        if REPORT not in run.list_files():
            raise RunError(f"Run '{name}' has no report; it is written when a run ends.")
        file, media_type, content = f"{name}.html", "text/html", run.read_file(REPORT)
    elif kind == "model":
        record = run.record()
        if record.checkpoint is None:
            raise RunError(f"Run '{name}' has no model; it is saved when a run ends.")
        file, media_type = record.checkpoint, "application/octet-stream"
        content = _model_file(workspace, record.model)
    elif kind == "files":
        file, media_type, content = f"{name}.zip", "application/zip", _zip(run)
    else:
        raise RunError("This action is unknown; reload the page.")
    return file_reply(file, media_type, content)


def _model_file(workspace: Workspace, name: str) -> bytes:
    path = workspace.checkpoints.get(name).path
    assert path is not None, "a checkpoint of the folder is a file"
    return path.read_bytes()


def _zip(run: Run) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in run.list_files():
            archive.writestr(each, run.read_file(each))
    return file.getvalue()
