"""Give checkpoints the OOD detector that ships, its threshold fitted to their held-out images.

    python -m benchmarks.refit_ood CHECKPOINT ... [--data-dir DIR]

A training ends with the same; this is for models that were trained before. A file is replaced by
one with the same network and details, so its digest stays.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from digitcnn.digits.catalog import Catalog
from digitcnn.digits.training_images import open_training_images
from digitcnn.folders import data_folder
from digitcnn.network.checkpoint import load, save
from digitcnn.network.ood import shipped_detector


def refit(path: Path, catalog: Catalog) -> float:
    """Replace a checkpoint's detector; returns its threshold."""
    checkpoint = load(path)
    if checkpoint.details.digits is None:
        raise SystemExit(f"{path} does not say which digits it was trained on.")
    held_out = open_training_images(catalog, checkpoint.details.digits).held_out
    detector = shipped_detector().fitted(held_out.images)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        written = Path(folder) / path.name
        save(written, checkpoint.network, checkpoint.details, detector)
        written.replace(path)
    return detector.threshold


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT")
    parser.add_argument("--data-dir", type=Path)
    args = parser.parse_args(arguments)
    catalog = Catalog(data_folder(args.data_dir))
    for path in args.checkpoints:
        print(f"{path.name}: threshold {refit(path, catalog):.4f}")


if __name__ == "__main__":
    main()
