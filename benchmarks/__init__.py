"""Measurements beside Debian's docker-registry and notary-server: `make bench`. Never part of the tests."""
