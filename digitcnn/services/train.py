"""Train one run, or one for each of several seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

from digitcnn.digits.catalog import Catalog
from digitcnn.network.device import Compute
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

# By digit set and name.
Metrics = dict[str, dict[str, float]]


def plan_runs(
    store: RunStore,
    config: TrainingConfig,
    name: str | None,
    seeds: int,
    *,
    saves: bool,
    post_training: PostTrainingConfig,
) -> Iterable[Run]:
    """Check all runs before the first one starts, and return them.

    name: of the run; of several runs, the part before ``-seed0``. None: digit set and time.
    seeds: number of runs, whose seeds count up from ``config.seed``. saves: whether to write
    checkpoints and resume states.
    A single run's folder is created at once; of several, each when its turn comes.
    Raises ConfigError or RunError.
    """
    create = partial(store.create, saves=saves, post_training=post_training)
    if seeds == 1:
        return [create(config, name)]
    configs = [dataclasses.replace(config, seed=config.seed + index) for index in range(seeds)]
    endings = [f"-seed{config.seed}" for config in configs]
    base = name or store.free_name(
        default_run_name(config.digits, datetime.now(timezone.utc)), endings
    )
    names = [f"{base}{ending}" for ending in endings]
    for each in names:
        store.check_new(each)
    return map(create, configs, names)


def train(
    runs: Iterable[Run],
    count: int,
    *,
    catalog: Catalog,
    checkpoints: Path,
    compute: Compute,
    stop: StopSignal,
    processes: Processes = ALONE,
) -> Iterator[TrainingEvent]:
    """Train ``count`` runs one after another; each gives a RunStart first and a RunEnd last.

    A stop ends the current run, and no other is started. Raises what ``run_training`` raises.
    """
    for number, run in enumerate(runs, 1):
        yield RunStart(run.name, number, count)
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


def summarise_seeds(ends: Sequence[RunEnd]) -> tuple[int, Metrics, Metrics]:
    """Return how many runs finished, and the mean and sample deviation of their final metrics.

    Undefined values are NaN. Digit sets that some of the runs were not tested on are left out.
    """
    finished = [end.metrics for end in ends if end.state == FINISHED]
    mean: Metrics = {}
    std: Metrics = {}
    for digits in finished[0] if finished else ():
        if all(digits in metrics for metrics in finished):
            mean[digits], std[digits] = {}, {}
            for key in SUMMARISED:
                values = [metrics[digits].get(key) for metrics in finished]
                # Undefined is None in these metrics.
                numbers = [math.nan if value is None else value for value in values]
                mean[digits][key] = fmean(numbers)
                std[digits][key] = stdev(numbers) if len(numbers) > 1 else math.nan
    return len(finished), mean, std
