"""Copy the shipped models from checkpoints/ into the wheel, which pyproject.toml cannot express."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = ["digitcnn-hands.pt", "digitcnn-mnist.pt"]


class BuildWithModels(build_py):
    """Copy the models into the package; an editable installation reads them where they are."""

    def run(self) -> None:
        """Build the package, then copy the models."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, "digitcnn", "shipped")
        target.mkdir(parents=True, exist_ok=True)
        for name in SHIPPED:
            shutil.copy(ROOT / "checkpoints" / name, target)


setup(cmdclass={"build_py": BuildWithModels})
