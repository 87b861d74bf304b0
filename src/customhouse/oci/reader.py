"""Readers: what is learnt from the content of single files while a layer goes by.

1. A reader sees one file of one layer at a time and keeps facts, small JSON values; the bytes are gone afterwards.
   Nothing of the merged image is known to it, so what it says depends on path and bytes alone and can be kept by the
   layer's digest.
2. `version` is raised whenever the facts for the same file may differ.
3. Facts never hold a secret's value.
4. A file that a reader wanted and could not have is told in `unread`: nothing is decided by absence.
5. Facts are bounded: by number and bytes for a file, by bytes for a layer. What is no JSON is no fact.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

import msgspec

from customhouse.oci.entry import FileEntry

JSON: TypeAlias = "None | bool | int | float | str | list[JSON] | dict[str, JSON]"

MOST_FACTS = 10_000
LARGEST_FACTS = 8 * 1024 * 1024  # of one file

class ContentReader(Protocol):
    """`name` is the key of its facts, `limit` the bytes of the largest file it takes."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def limit(self) -> int: ...

    def wants(self, file: FileEntry) -> bool:
        """Is this regular file worth its content? Asked for each file: by path, size, mode and head, and quickly."""
        ...

    def read(self, path: str, body: bytes) -> Iterable[JSON]:
        """The facts of one file. What it raises makes the file unread; it must not run away."""
        ...


@runtime_checkable
class Prepared(Protocol):
    """A reader that makes something before it reads (automata, compiled rules), once for many layers."""

    def prepare(self) -> None: ...


@dataclass
class Learnt:
    """What one reader learnt of one layer, by path within it; `unread` says why a wanted file gave nothing."""

    facts: dict[str, tuple[JSON, ...]] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)


Facts: TypeAlias = Mapping[str, Learnt]
"""By the name of the reader."""


def learn(reader: ContentReader, path: str, body: bytes, into: Learnt, left: int) -> int:
    """Let a reader look at one file; a later entry of the same path replaces what was learnt before. `left` is what
    facts may still take; answers how many bytes these took."""
    forget(path, into)
    taken = 0
    try:
        found: list[JSON] = []
        for fact in reader.read(path, body):
            taken += len(_wire.encode(fact))
            if len(found) == MOST_FACTS or taken > LARGEST_FACTS or taken > left:
                into.unread[path] = "has more facts than are kept"
                break
            found.append(fact)
        if found:
            into.facts[path] = tuple(found)
    except Exception as error:  # the boundary of a reader, its own or an extension's; its text may quote content
        into.unread[path] = f"could not be read ({type(error).__name__})"
    return min(taken, left)


def forget(path: str, into: Learnt) -> None:
    """Nothing is known of this path any more."""
    into.facts.pop(path, None)
    into.unread.pop(path, None)


_wire = msgspec.msgpack.Encoder()
