"""The ``figures`` command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from digitcnn.cli import main
from digitcnn.folders import SHIPPED_FILE
from digitcnn.options import FIGURES

CHECKPOINT = str(SHIPPED_FILE)


@pytest.mark.parametrize(
    ("chosen", "ending", "signature"),
    [
        ([], "png", b"\x89PNG\r\n"),
        pytest.param(["--file-type", "pdf"], "pdf", b"%PDF", marks=pytest.mark.long),
    ],
)
def test_nine_files_of_the_requested_type_are_written(
    tmp_path: Path,
    data_dir: Path,
    capsys: pytest.CaptureFixture[str],
    chosen: list[str],
    ending: str,
    signature: bytes,
) -> None:
    folder = tmp_path / "made"
    status = main(
        [
            *("figures", "--checkpoint", CHECKPOINT, "--digits", "small", "--passes", "2"),
            *("--data-dir", str(data_dir), "--output-dir", str(folder), "--device", "cpu"),
            *("--json", *chosen),
        ]
    )
    assert status == 0
    paths = json.loads(capsys.readouterr().out)["figures"]
    assert paths == [str(folder / f"{name}.{ending}") for name in FIGURES]
    assert all(Path(path).read_bytes().startswith(signature) for path in paths)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--passes", "0"], "0 passes"),
        (["--example", "100"], "images 0 to 99"),
        (["--digits", "nonsense"], "nonsense"),
    ],
)
def test_invalid_arguments_are_refused_in_one_sentence(
    tmp_path: Path,
    data_dir: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    named: str,
) -> None:
    status = main(
        [
            *("figures", "--checkpoint", CHECKPOINT, "--digits", "small", *arguments),
            *("--data-dir", str(data_dir), "--output-dir", str(tmp_path / "made")),
        ]
    )
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert named in err
    assert not (tmp_path / "made").exists()
