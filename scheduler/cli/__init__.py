"""The command line: each module parses, calls one verb, renders."""

from scheduler.cli.app import main

__all__ = ["main"]
