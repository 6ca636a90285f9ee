"""``experiment``: list the experiments, or run one and print its verdict."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from digitcnn.commands.base import Result, catalog_of
from digitcnn.experiments import catalogue
from digitcnn.experiments.experiment import Experiment
from digitcnn.folders import checkpoint_folder, output_folder
from digitcnn.terminal import log

if TYPE_CHECKING:
    from digitcnn.training.events import TrainingEvent


def run(args: argparse.Namespace) -> Result:
    """List the experiments, or run the named one."""
    if args.name == "list":
        known = [catalogue.find(name) for name in catalogue.names()]
        listed = [{"name": one.name, "question": one.question} for one in known]
        width = max(len(one.name) for one in known)
        text = "\n".join(f"{one.name:{width}}  {one.question}" for one in known)
        return {"experiments": listed}, text, 0
    return run_one(catalogue.find(args.name), args)


def run_one(experiment: Experiment, args: argparse.Namespace) -> Result:
    """Run an experiment. Raises a DigitCNNError for unusable arguments before any training."""
    # Imported here, because PyTorch takes seconds and ``experiment list`` does without.
    from digitcnn.commands.progress import watched
    from digitcnn.experiments.groups import GroupStore
    from digitcnn.experiments.running import ExperimentEnd, ExperimentRunner, available_digits
    from digitcnn.network import device as devices
    from digitcnn.training.background import StopSignal
    from digitcnn.training.runs import RunStore

    outputs = output_folder(args.output_dir)
    checkpoints = checkpoint_folder(args.checkpoint_dir)
    catalog, runs = catalog_of(args), RunStore(outputs)
    for arm, seed in experiment.trainings(args.seed):
        experiment.config(arm, "mnist", seed)  # raises for a seed out of range, before any run
    compute = devices.choose(args.device)
    digits = available_digits(catalog)
    if digits != "mnist":
        log(f"mnist is not downloaded; using {digits}.")
    groups = GroupStore(outputs / ".experiments", runs, checkpoints)
    runner = ExperimentRunner(
        catalog=catalog, runs=runs, groups=groups, checkpoints=checkpoints, compute=compute
    )
    log(f"{experiment.question} {experiment.procedure}")
    log(f"Training on {compute}.")
    end = ExperimentEnd("", "")
    stop = StopSignal()

    def trainings() -> Iterator[TrainingEvent]:
        nonlocal end
        group = groups.create(experiment.name, digits, args.seed)
        for event in runner.events(experiment, group, stop):
            if isinstance(event, ExperimentEnd):
                end = event
            else:
                yield event

    for _ in watched(trainings(), stop):
        pass
    if end.outcome is None:
        log(end.message)
        raise KeyboardInterrupt
    outcome = end.outcome
    result: dict[str, Any] = {
        "experiment": experiment.name,
        "digits": digits,
        "seed": args.seed,
        **{key: outcome[key] for key in ("runs", "verdict", "difference", "low", "high")},
        "arms": [
            {
                "arm": arm["label"],
                "accuracies": dict(zip(outcome["tests"], arm["means"], strict=True)),
            }
            for arm in outcome["arms"]
        ],
        "findings": outcome["findings"],
    }
    lines = [experiment.question, ""]
    for one in outcome["arms"]:
        pairs = zip(one["accuracies"], outcome["tests"], strict=True)
        lines.append(f"{one['label']}: " + ", ".join(f"{text} on {test}" for text, test in pairs))
    lines += ["", outcome["verdict"], *outcome["findings"], "", experiment.why, ""]
    lines.append(f"Next: {experiment.next_steps}")
    return result, "\n".join(lines), 0
