"""What a file or a manifest must be: length and digests; and lists of 100,000 of them.

Notary v1 wire: TUF JSON.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256, sha512

from customhouse.trust import plain
from customhouse.trust.canonical import JSON

HASHES = {"sha256": sha256, "sha512": sha512}


@dataclass(frozen=True)
class FileMeta:
    """What a file or a manifest must be: its length in bytes, and raw digests by algorithm."""

    length: int
    hashes: Mapping[str, bytes]
    custom: JSON = None

    @classmethod
    def of(cls, raw: bytes) -> "FileMeta":
        """The entry for these bytes."""
        return cls(len(raw), {"sha256": sha256(raw).digest(), "sha512": sha512(raw).digest()})

    def fits(self, raw: bytes) -> bool:
        """Are these bytes meant? All hashes are compared; at least one is always there."""
        return all(HASHES[name](raw).digest() == value for name, value in self.hashes.items())

    @property
    def sha256(self) -> str:
        """Hexadecimal; empty when only sha512 is given."""
        return self.hashes.get("sha256", b"").hex()

    def document(self) -> dict[str, JSON]:
        """The JSON object."""
        hashes: dict[str, JSON] = {name: base64.b64encode(value).decode() for name, value in self.hashes.items()}
        found: dict[str, JSON] = {"hashes": hashes, "length": self.length}
        return found if self.custom is None else {"custom": self.custom, **found}


class Listed(Mapping[str, FileMeta]):
    """The targets of a plain file, each made when it is asked for."""

    __slots__ = ("entries",)

    def __init__(self, entries: dict[str, plain.Entry]) -> None:
        self.entries = entries

    def __getitem__(self, name: str) -> FileMeta:
        entry = self.entries[name]
        return FileMeta(entry.length, entry.hashes.raw())

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def differing(one: Mapping[str, FileMeta], other: Mapping[str, FileMeta]) -> set[str]:
    """Names that are in one of the two only, or are not the same in both."""
    if one is other:
        return set()
    if isinstance(one, Listed) and isinstance(other, Listed):
        return _differing(one.entries, other.entries)
    return _differing(one, other)


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> set[str]:
    return {name for name, entry in one.items() if other.get(name) != entry} | (other.keys() - one.keys())
