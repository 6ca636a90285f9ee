"""Train one run, or one for each of several seeds, for the command line and the page's job."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from digitcnn.digits.catalog import Catalog
from digitcnn.errors import ConfigError
from digitcnn.network.device import Compute
from digitcnn.options import MOST_SEEDS
from digitcnn.training.background import StopSignal
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.distributed import ALONE, Processes
from digitcnn.training.events import RunEnd, RunStart, TrainingEvent
from digitcnn.training.run import Run
from digitcnn.training.run_record import FINISHED, default_run_name
from digitcnn.training.runs import RunStore
from digitcnn.training.session import run_training

# Of these metrics, a summary over seeds gives mean and standard deviation.
SUMMARISED = ("accuracy", "nll", "ece", "brier", "macro_f1")


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """What to train.

    name: of the run; of several runs, the part before ``-seed0``. None: digit set and time.
    seeds: number of runs, 1 to MOST_SEEDS, whose seeds count up from ``config.seed``.
    saves: whether to write checkpoints and resume states.

    Raises ConfigError for another number of seeds.
    """

    config: TrainingConfig
    post_training: PostTrainingConfig = field(default_factory=PostTrainingConfig)
    name: str | None = None
    seeds: int = 1
    saves: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= MOST_SEEDS:
            raise ConfigError(
                f"--seeds is {self.seeds}; choose a number of runs from 1 to {MOST_SEEDS}."
            )


# Creates or opens a run's folder when it is called.
PlannedRun = Callable[[], Run]


def plan_runs(request: TrainingRequest, store: RunStore) -> list[PlannedRun]:
    """Check all runs of a request before the first one starts.

    A single run's folder is created at once; of several, each when its turn comes.
    Raises ConfigError or RunError.
    """
    create = partial(store.create, saves=request.saves, post_training=request.post_training)
    config = request.config
    if request.seeds == 1:
        run = create(config, request.name)
        return [lambda: run]
    configs = [
        dataclasses.replace(config, seed=config.seed + index) for index in range(request.seeds)
    ]
    endings = [f"-seed{config.seed}" for config in configs]
    base = request.name or store.free_name(
        default_run_name(config.digits, datetime.now(timezone.utc)), endings
    )
    names = [f"{base}{ending}" for ending in endings]
    for name in names:
        store.check_new(name)
    return [partial(create, *pair) for pair in zip(configs, names, strict=True)]


def train(
    runs: Sequence[PlannedRun],
    *,
    catalog: Catalog,
    checkpoints: Path,
    compute: Compute,
    stop: StopSignal,
    processes: Processes = ALONE,
) -> Iterator[TrainingEvent]:
    """Train the runs one after another; each gives a RunStart first and a RunEnd last.

    A stop ends the current run, and no other is started. Raises what ``run_training`` raises.
    """
    for number, open_run in enumerate(runs, 1):
        run = open_run()
        yield RunStart(run.name, number, len(runs))
        yield from run_training(
            run,
            catalog=catalog,
            checkpoints=checkpoints,
            compute=compute,
            stop=stop,
            processes=processes,
        )
        if stop.is_set():
            return


@dataclass(frozen=True)
class SeedSummary:
    """Metrics over the finished runs of several seeds, by digit set and name of the metric.

    finished: number of runs. mean, std: sample standard deviation; NaN where undefined. Digit sets
    that some of the runs were not tested on are left out.
    """

    finished: int
    mean: dict[str, dict[str, float]]
    std: dict[str, dict[str, float]]


def summarise_seeds(ends: Sequence[RunEnd]) -> SeedSummary:
    """Summarise the final metrics of the runs that finished, by digit set."""
    finished = [end.metrics for end in ends if end.state == FINISHED]
    columns = {
        digits: {
            # Undefined is None in these metrics.
            key: [math.nan if m[digits].get(key) is None else m[digits][key] for m in finished]
            for key in SUMMARISED
        }
        for digits in (finished[0] if finished else ())
        if all(digits in metrics for metrics in finished)
    }

    def over_runs(statistic: Callable[[list[float]], float]) -> dict[str, dict[str, float]]:
        return {
            digits: {key: statistic(values) for key, values in by_key.items()}
            for digits, by_key in columns.items()
        }

    return SeedSummary(
        len(finished),
        mean=over_runs(statistics.fmean),
        std=over_runs(lambda values: statistics.stdev(values) if len(values) > 1 else math.nan),
    )
