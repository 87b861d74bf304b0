"""Scanning the layers of one image: in order, within the budget of the whole, wherever it is done.

1. A layer begins with what the layers before it left of bytes and entries; how many are read at once, and whether a
   scan comes from a cache, makes no difference to what is admitted.
2. What goes beyond the budget is admitted as incomplete and empty: nothing in it may be judged as absent.
3. `read_here` reads in this process; customhouse.scanning reads in others, which can be lost.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO, Protocol, TypeAlias

from msgspec.structs import replace as changed

from customhouse.oci.digest import Digest
from customhouse.oci.entry import Violation
from customhouse.oci.layer import LayerScan, scan_layer
from customhouse.oci.manifest import Descriptor
from customhouse.oci.wants import Budget, Wants

Content: TypeAlias = Callable[[Digest], BinaryIO]
"""Opens a blob or manifest by digest; raises what its owner raises for absent content."""

Layers: TypeAlias = Sequence[tuple[int, Descriptor]]
"""Layers with their positions in the image."""

_SHARED = ("bytes", "entries")


class Account:
    """What is left of the budget of one image. Scans are admitted in the order of their layers."""

    def __init__(self, budget: Budget) -> None:
        self._budget = self._left = budget
        self._first = True

    def admit(self, scan: LayerScan) -> LayerScan:
        """The scan as it counts for the image."""
        spent = len(scan.entries) + len(scan.whiteouts)
        stopped = any(violation.kind in _SHARED for violation in scan.violations) and not scan.complete
        over = scan.size > self._left.unpacked or spent > self._left.entries or stopped
        if over and not self._first:
            self._left = replace(self._left, unpacked=0, entries=0)
            return _beyond(scan)
        self._first = False
        scan = self._contents(scan)
        heads = sum(len(entry.head) for entry in scan.entries)
        if heads > self._left.heads:
            scan = replace(scan, entries=tuple(changed(entry, head=b"") for entry in scan.entries))
            heads = 0
        self._left = replace(
            self._left,
            unpacked=max(0, self._left.unpacked - scan.size),
            entries=max(0, self._left.entries - spent),
            contents=self._left.contents - sum(map(len, scan.contents.values())),
            heads=self._left.heads - heads,
        )
        return scan

    def allowance(self) -> Budget:
        """The budget that the next layer is read with: the image's bytes and entries, the rest its own."""
        return replace(self._budget, unpacked=self._left.unpacked, entries=self._left.entries)

    def _contents(self, scan: LayerScan) -> LayerScan:
        if sum(map(len, scan.contents.values())) <= self._left.contents:
            return scan
        return replace(scan, contents={}, unread=scan.unread | scan.contents.keys())


class Scanner(Protocol):
    """Reads layers. Raises OSError when the content fails, and what `content` raises."""

    def __call__(self, content: Content, layers: Layers, wants: Wants, account: Account) -> Iterator[LayerScan]:
        """The scan of each layer in their order, as the account admits it."""
        ...


def read_here(content: Content, layers: Layers, wants: Wants, account: Account) -> Iterator[LayerScan]:
    """Read in this process, one layer after the other."""
    for position, descriptor in layers:
        with content(descriptor.digest) as stream:
            yield account.admit(scan_layer(stream, descriptor, wants, account.allowance(), layer=position))


def _beyond(scan: LayerScan) -> LayerScan:
    what = Violation("budget", "", "goes, with the layers below it, beyond what is read of one image")
    return LayerScan(
        scan.descriptor, scan.computed, None, scan.compressed_size, 0, scan.compression, violations=(what,),
        complete=False,
    )  # fmt: skip
