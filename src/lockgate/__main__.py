"""``python -m lockgate``: the same as the console script."""

import sys

from lockgate.cli import main

if __name__ == "__main__":
    sys.exit(main())
