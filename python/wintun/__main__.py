"""python -m wintun: see _cli.py."""

import sys

from wintun._cli import main

if __name__ == "__main__":
    sys.exit(main())
