"""Every benchmark is a command with a --help; no test asserts what it measures."""

from __future__ import annotations

import importlib

import pytest
from running_app import ROOT

# Modules that the others share.
NO_COMMANDS = {"measuring", "number_kinds", "picture_kinds", "random_networks", "running_app"}
BENCHMARKS = sorted({path.stem for path in (ROOT / "benchmarks").glob("*.py")} - NO_COMMANDS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_help_says_what_a_benchmark_measures(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    assert f"python -m benchmarks.{name}" in module.__doc__
    with pytest.raises(SystemExit) as leaving:
        module.main(["--help"])
    assert leaving.value.code == 0
    title = module.__doc__.splitlines()[0]
    assert title in " ".join(capsys.readouterr().out.split())
