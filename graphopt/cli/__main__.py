"""`python -m graphopt.cli` is `graphopt-opt`, for where the scripts are not on the path."""

import sys

from graphopt.cli import opt

if __name__ == "__main__":
    sys.exit(opt())
