"""Entry point of ``python -m crossmodal``."""

import sys

from crossmodal.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
