"""What a process of the tests has imported before it is forked off: see warm_process.py."""

import digitcnn.cli
import digitcnn.ui.launcher
import digitcnn.ui.serve

__all__ = ["digitcnn"]
