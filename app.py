"""digitcnn's page: ``python app.py``, then open the printed address."""

import sys

from digitcnn.ui.launcher import main

if __name__ == "__main__":
    sys.exit(main())
