"""`python -m customhouse` is the same as `customhouse`."""

from customhouse.cli import main

main()
