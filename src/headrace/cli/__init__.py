"""The command line: one file per verb, loaded only when it is called."""

from headrace.cli.main import command, main

__all__ = ["command", "main"]
