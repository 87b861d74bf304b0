"""Customhouse: a self-hosted hub through which container images become official."""

__version__ = "0.1.0"
