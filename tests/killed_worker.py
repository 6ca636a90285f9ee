"""A process that is to be killed: trains, stores feedback and downloads, and reports what it did.

Run with the folder and the address of a download. A line is printed after what it reports is done.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from pathlib import Path

import torch
from sample_feedback import sample

from digitcnn.digits import synthetic
from digitcnn.digits.download import Mirrors
from digitcnn.digits.transfer import RemoteFile
from digitcnn.training.config import TrainingConfig
from digitcnn.training.run_record import FINISHED, RUNNING
from digitcnn.workspace import Workspace

# Not compressible, and many pieces long.
CONTENT = {
    "images": torch.randint(256, (3_000_000,), generator=torch.Generator().manual_seed(0)),
    "labels": torch.randint(256, (40_000,), generator=torch.Generator().manual_seed(1)),
}


_OUT = threading.Lock()


def report(*words: object) -> None:
    """Print one whole line: lines that threads print by themselves would mix."""
    with _OUT:
        sys.stdout.write(" ".join(map(str, words)) + "\n")
        sys.stdout.flush()


def published(name: str) -> bytes:
    return CONTENT[name].to(torch.uint8).numpy().tobytes()


def source(place: str) -> Mirrors:
    images, labels = (
        RemoteFile(name, 10_000_000, hashlib.sha256(published(name)).hexdigest())
        for name in ("images", "labels")
    )
    return Mirrors((place,), {"train": (images, labels)})


def open_workspace(folder: Path) -> Workspace:
    return Workspace(
        folder / "data",
        folder / "outputs",
        folder / "checkpoints",
        folder / "feedback.sqlite3",
        "cpu",
    )


def train(workspace: Workspace, stamp: str) -> None:
    """Resume every run that was interrupted, then train new ones."""
    config = TrainingConfig(digits="small", epochs=2, train_images=64, batch_size=16)
    left = [record.name for record in workspace.runs.records() if record.state != FINISHED]
    for number in range(1000):
        name = left.pop() if left else f"{stamp}-{number}"
        if name.startswith(stamp):
            workspace.job.start(config, name)
        else:
            workspace.job.resume(name)
        seen = 0
        while (view := workspace.job.view()).state == RUNNING:
            if len(view.history) > seen:
                seen = len(view.history)
                report("seen", name, seen)
            time.sleep(0.002)
        if view.state == FINISHED:
            report("finished", name)
        else:
            report("trouble", name, view.state, view.message)


def give_feedback(workspace: Workspace, stamp: str) -> None:
    image = synthetic.draw("synthetic", "test", images=10).images[0]
    for number in range(1_000_000):
        workspace.feedback.record(
            sample(visitor="visitor", sketch_id=f"{stamp}-{number}", image=image)
        )
        report("saved", f"{stamp}-{number}")


def fetch(folder: Path, place: str) -> None:
    for number in range(1_000_000):
        # The same folders again and again, as by pressing the button again.
        target = folder / "data" / f"fetched-{number % 3}"
        target.mkdir(parents=True, exist_ok=True)
        for _ in source(place).fetch("train", target, 5.0):
            pass
        report("fetched", target.name)
        for file in target.iterdir():
            file.unlink()


def main(folder: Path, place: str, stamp: str) -> None:
    torch.set_num_threads(1)
    workspace = open_workspace(folder)
    threading.Thread(target=give_feedback, args=(workspace, stamp), daemon=True).start()
    threading.Thread(target=fetch, args=(folder, place), daemon=True).start()
    train(workspace, stamp)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
