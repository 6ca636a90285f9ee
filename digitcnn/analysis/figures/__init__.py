"""Results in, matplotlib figures out: the nine of an evaluation, and those that the tabs need.

Each figure is a function of results and computes no metric of its own; one module per subject:
``training`` (1), ``samples`` (2, 3), ``evaluation`` (4, 7, the gap's waterfall), ``network`` (5,
6), ``confidence`` (8), ``stability`` (9), ``robustness``. Colours and text sizes are in ``style``.
``draw`` makes one of the nine from ``findings.Findings``.

Matplotlib takes half a second to import, so the app and the commands import this package only when
they draw.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from digitcnn.analysis.figures.confidence import confidence_analysis
from digitcnn.analysis.figures.evaluation import confusion_matrices, cross_dataset_evaluation
from digitcnn.analysis.figures.evaluation import gap_waterfall as gap_waterfall
from digitcnn.analysis.figures.network import conv_filters, feature_maps
from digitcnn.analysis.figures.robustness import robustness_curves as robustness_curves
from digitcnn.analysis.figures.samples import predictions_sample, sample_data
from digitcnn.analysis.figures.stability import stability_test
from digitcnn.analysis.figures.training import training_history
from digitcnn.analysis.findings import Findings
from digitcnn.files import atomic_write
from digitcnn.options import FileType

_FIGURES: Mapping[str, Callable[[Findings], Figure]] = {
    "01_training_history": training_history,
    "02_sample_data": sample_data,
    "03_predictions": predictions_sample,
    "04_cross_dataset_evaluation": cross_dataset_evaluation,
    "05_conv_filters": conv_filters,
    "06_feature_maps": feature_maps,
    "07_confusion_matrix": confusion_matrices,
    "08_confidence_analysis": confidence_analysis,
    "09_stability_test": stability_test,
}


def draw(name: str, findings: Findings) -> Figure:
    """Return the figure of that name, one of FIGURES."""
    return _FIGURES[name](findings)


def rendered(figure: Figure, file_type: FileType = "png") -> bytes:
    """Return a figure as a file of that type; the same figure always gives the same bytes."""
    file = io.BytesIO()
    # Without ``savefig``, which would draw the figure twice.
    if file_type == "png":
        FigureCanvasAgg(figure).print_png(file)
    elif file_type == "svg":
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    else:
        FigureCanvasPdf(figure).print_pdf(file, metadata={"CreationDate": None})
    return file.getvalue()


def save(name: str, findings: Findings, folder: Path) -> Path:
    """Draw one of the nine and write it with ``write``. Raises OSError."""
    return write(name, rendered(draw(name, findings)), folder)


def write(name: str, content: bytes, folder: Path, file_type: FileType = "png") -> Path:
    """Write a figure's file into ``folder``, atomically. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.{file_type}"
    with atomic_write(path) as file:
        file.write(content)
    return path
