"""The command line: `customhouse NOUN VERB`. Nothing but the command that runs is imported."""

import sys


def main() -> None:
    """The entry point."""
    from customhouse.cli.program import run

    sys.exit(run(sys.argv[1:]))
