"""What several tests share: small digit sets drawn by the program, and real ones where given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from postgres_server import NotInstalledError, PostgresServer

from digitcnn.digits import synthetic
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.idx import write_idx
from digitcnn.network.device import Compute

# Workers run the files side by side; more threads would only keep each other waiting. In this
# process and in those that the tests start.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the files with a browser among the others: where one waits, the others compute."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    others = iter([file for file in files if file.parent.name != "browser"])
    order: list[Path] = []
    for file in files:
        if file.parent.name == "browser":
            order += [file, *islice(others, 4)]
    items[:] = [item for file in (*order, *others) for item in files[file]]


@pytest.fixture(scope="session")
def drawn() -> DigitSet:
    """480 training digits drawn by the program: 440 to learn from, 40 held out."""
    return synthetic.draw("synthetic", "train", images=480)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory, drawn: DigitSet) -> Path:
    """A data folder with one small set called ``small``, as a person would lay it there."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "small").mkdir()
    test = synthetic.draw("synthetic", "test", images=100)
    for split, digits in (("train", drawn), ("test", test)):
        write_idx(folder / "small" / f"{split}-images-idx3-ubyte.gz", digits.images)
        write_idx(folder / "small" / f"{split}-labels-idx1-ubyte.gz", digits.labels)
    return folder


@pytest.fixture(scope="session")
def cpu() -> Compute:
    """The CPU in float32, so that results do not depend on the machine's instructions."""
    return Compute(torch.device("cpu"), None, "CPU")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of the tests' own; skips where none is installed."""
    try:
        server = PostgresServer()
    except NotInstalledError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    yield server
    server.end()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real digit sets that DIGITCNN_DATA names; skips without it."""
    folder = os.environ.get("DIGITCNN_DATA")
    if not folder or not (Path(folder) / "mnist").is_dir():
        pytest.skip("DIGITCNN_DATA names no folder with real digit sets")
    return Path(folder)
