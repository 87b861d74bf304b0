"""One streaming pass over a layer: both digests, every entry, the wanted contents, and all that is wrong with it.

1. A layer is never unpacked to disk; memory grows with the entries within the budget, not with the bytes.
2. Nothing a layer holds raises: what a publisher must not ship becomes a `Violation`, bytes that are not a
   well-formed layer become `damage`. Only a failing stream raises (OSError).
3. `complete` is false when the pass stopped early (budget, damage, unknown compression); what was not seen then must
   not be judged as absent.
4. Budgets: bytes, entries, length of names, size of extension headers, ratio of decompression, kept contents.
(OCI image-spec layer.md. The walk over the tar itself is in tar.py, decompression in compression.py.)
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import BinaryIO

from customhouse.oci.compression import Compression, Damaged, Decompressed, Overrun
from customhouse.oci.digest import Digest
from customhouse.oci.entry import FileEntry, Kind, Violation
from customhouse.oci.manifest import Descriptor
from customhouse.oci.reader import Facts
from customhouse.oci.tar import TarWalk, Turn
from customhouse.oci.wants import Budget, Wants

__all__ = ["PASS_VERSION", "Budget", "FileEntry", "Kind", "LayerScan", "Violation", "Wants", "scan_layer"]

PASS_VERSION = 1
"""Raised whenever the same layer may give another scan; readers have versions of their own."""


@dataclass(frozen=True)
class LayerScan:
    """What one pass learnt. `computed` and `diff_id` are the digests of the bytes read, as stored and decompressed;
    `entries` are in the order of the tar, without whiteouts; `whiteouts` and `opaque` are the paths they hide;
    `contents` holds wanted files, `unread` wanted files that were larger than the budget; `facts` is what each reader
    learnt."""

    descriptor: Descriptor
    computed: Digest | None
    diff_id: Digest | None
    compressed_size: int
    size: int
    compression: Compression = "unknown"
    entries: tuple[FileEntry, ...] = ()
    whiteouts: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    contents: Mapping[str, bytes] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    facts: Facts = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    damage: str | None = None
    complete: bool = True

    @property
    def digest(self) -> Digest:
        """The digest that the manifest names."""
        return self.descriptor.digest


def scan_layer(
    stream: BinaryIO, descriptor: Descriptor, wants: Wants, budget: Budget, *, layer: int = 0, turn: Turn = nullcontext
) -> LayerScan:
    """Read a layer blob to its end. `layer` is the position that its entries will carry; `turn` is entered while a
    large file is held, so that passes beside each other can hold one at a time."""
    source = Decompressed(stream, descriptor.digest, descriptor.size, budget)
    walk = TarWalk(source, wants, budget, layer, turn)
    damage: str | None = None
    diff_id: Digest | None = None
    try:
        walk.run()
        diff_id = source.finish()
    except Damaged as error:
        damage = str(error)
    except Overrun as error:
        walk.stop(error.kind, "", error.value, str(error))
    compressed_size = source.drain()
    return LayerScan(
        descriptor=descriptor,
        computed=source.computed(),
        diff_id=diff_id,
        compressed_size=compressed_size,
        size=source.produced,
        compression=source.compression,
        entries=tuple(walk.entries),
        whiteouts=tuple(walk.whiteouts),
        opaque=tuple(walk.opaque),
        contents=walk.contents,
        unread=frozenset(walk.unread),
        facts=walk.facts,
        violations=tuple(walk.violations),
        damage=damage,
        complete=damage is None and not walk.stopped,
    )
