"""``python -m headrace.cli`` is the command line, for processes that start others of their kind."""

import sys

from headrace.cli.main import command

if __name__ == "__main__":
    sys.exit(command())
