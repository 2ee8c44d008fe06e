"""`python -m opsctl`: the same as the console script."""

from opsctl.cli.main import entry

entry()
