"""``python -m digitcnn``: see ``cli``."""

import os
import sys

# Read by OpenMP when PyTorch is imported: threads that wait for each other soon sleep. By default
# they spin for milliseconds, and beside another busy program a training took ten times as long.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

from digitcnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
