"""The sandbox's tests share one private engine."""

from tests.peers.dockerd import dockerd

__all__ = ["dockerd"]
