"""Give checkpoints the OOD detector that ships, its threshold fitted to their held-out images.

    python -m benchmarks.refit_detector CHECKPOINT ... [--data-dir DIR]

For models that were trained before the detector changed; ``benchmarks.detector`` does it for those
that ship. Weights, details and digest stay the same. The files are replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import options
from digitcnn.digits.catalog import Catalog
from digitcnn.folders import data_folder
from digitcnn.network.checkpoint import load, save
from digitcnn.network.ood import OODDetector, shipped_detector
from digitcnn.network.original_images import original_images

SHIPPED = (Path("checkpoints/digitcnn-mnist.pt"), Path("checkpoints/digitcnn-hands.pt"))


def refit(path: Path, catalog: Catalog, detector: OODDetector) -> None:
    """Replace the file by one with this detector, fitted to the model's held-out images."""
    checkpoint = load(path)
    detector = detector.fitted(original_images(checkpoint, catalog).held_out.images)
    new = path.with_name(f"{path.stem}-refitted.pt")
    save(new, checkpoint.network, checkpoint.details, detector)
    new.replace(path)
    print(f"{path.stem}: threshold {detector.threshold:.3f}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    args = parser.parse_args(arguments)
    for path in args.checkpoints:
        refit(path, Catalog(data_folder(args.data_dir)), shipped_detector())


if __name__ == "__main__":
    main()
