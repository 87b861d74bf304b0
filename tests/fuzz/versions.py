"""Fuzzed besides: versions of packages, which a stranger's image and a stranger's advisory name as they like."""

from collections.abc import Iterator

from customhouse.advisories.versions import VersionOrder

ECOSYSTEMS = (
    "Debian:12", "Alpine:v3.20", "AlmaLinux:9", "PyPI", "npm", "Go", "Maven", "NuGet", "RubyGems", "Packagist", "Pub",
    "Bitnami", "CRAN", "Hackage", "ConanCenter",
)  # fmt: skip


def compared(data: bytes) -> bool:
    """The first byte says whose versions the two texts are; a zero byte parts them."""
    if not data:
        return False
    order = VersionOrder(ECOSYSTEMS[data[0] % len(ECOSYSTEMS)])
    one, _, other = data[1:].decode("utf-8", "replace").partition("\0")
    assert order.compare(one, one) == 0
    assert order.compare(one, other) == -order.compare(other, one)
    return True


def seeds() -> Iterator[bytes]:
    for number in range(len(ECOSYSTEMS)):
        for pair in ("1.0\0001.0.0", "1:1.0~rc1-1\0002.0-1+deb12u1", "1.0_p1-r0\0001.0a", "v1.0.0-beta.1+b\0001.x-dev"):
            yield bytes([number]) + pair.encode()
