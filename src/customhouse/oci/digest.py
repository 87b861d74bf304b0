"""Content digests, as OCI image-spec `descriptor.md` §Digests writes them.

1. Only sha256 and sha512 are known, each in lower-case hexadecimal of its full length; anything else is refused.
2. A `Digest` is a `str`, so it can be a key, a column and a path part; a wrong one cannot be built.
"""

import hashlib
import re
from typing import Protocol, Self

from customhouse.errors import Invalid

_FORM = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


class Hasher(Protocol):
    """A running hash, such as hashlib gives."""

    def update(self, data: bytes | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


class InvalidDigest(Invalid):
    """A text that should be a digest and is not one we know."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text[:160]!r} is not a digest",
            hint="Write sha256: or sha512: and the full hash in lower-case hexadecimal.",
        )
        self.text = text


class Digest(str):
    """`algorithm:hex`, checked when it is made."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if not cls.well_formed(text):
            raise InvalidDigest(str(text))
        return super().__new__(cls, text)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises InvalidDigest."""
        return cls(text)

    @staticmethod
    def well_formed(text: object) -> bool:
        """Would `parse` take this?"""
        return isinstance(text, str) and _FORM.fullmatch(text) is not None

    @classmethod
    def of(cls, content: bytes | memoryview, algorithm: str = "sha256") -> Self:
        """The digest of these bytes."""
        return cls(f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    def hasher(self) -> Hasher:
        """An empty hash of this digest's algorithm."""
        return hashlib.new(self.algorithm)
