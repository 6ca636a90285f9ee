"""What a process of the tests has imported before it is forked off: see warm_process.py."""

import app
import digitcnn.cli
import digitcnn.ui.page

__all__ = ["app", "digitcnn"]
