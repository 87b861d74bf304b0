"""How much of an image's layers is still there at the end: the figures of the tool dive, computed the same way.

For every leaf path p (file, link, empty folder, whiteout) over the layers: cum(p) is the sum of its sizes, min(p) the
smallest. A whiteout of a file counts 0, one of a folder the bytes that lay below it. Then
    efficiency = sum of min / sum of cum (1.0 when there is nothing), wasted bytes = sum of cum over paths seen twice,
    wasted user percent = wasted bytes / bytes of all layers but the first.
Opaque markers are not counted, as in dive. (wagoodman/dive filetree/efficiency.go, image/analysis.go.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from customhouse.oci.filesystem import Overlay
from customhouse.oci.layer import LayerScan


@dataclass(frozen=True)
class Waste:
    """One path that more than one layer writes; `size` is the sum of all its copies in bytes."""

    path: str
    size: int
    times: int


@dataclass(frozen=True)
class Efficiency:
    """`user_bytes` are those of all layers but the first; `waste` is ordered, the largest first."""

    efficiency: float
    wasted_bytes: int
    user_bytes: int
    waste: tuple[Waste, ...]

    @property
    def wasted_percent(self) -> float | None:
        """Share of the user's bytes, 1.0 is all; None when there are none (dive's 0/0, which passes)."""
        return self.wasted_bytes / self.user_bytes if self.user_bytes else None


def efficiency(layers: Sequence[LayerScan]) -> Efficiency:
    """The figures of these layers, lowest first."""
    total: dict[str, int] = {}
    least: dict[str, int] = {}
    times: dict[str, int] = {}
    user_bytes = 0
    overlay = Overlay()
    last = max((position for position, scan in enumerate(layers) if scan.whiteouts), default=0)
    for position, scan in enumerate(layers):
        leaves = _leaves(scan)
        if position:
            user_bytes += sum(leaves.values())
        for path in scan.whiteouts:
            standing = overlay.entries.get(path)
            leaves[path] = overlay.size_below(path) if standing is not None and standing.kind == "dir" else 0
        for path, size in leaves.items():
            total[path] = total.get(path, 0) + size
            least[path] = min(least.get(path, size), size)
            times[path] = times.get(path, 0) + 1
        if position < last:  # only whiteouts ask what lies below
            overlay.apply(scan)
    waste = [Waste(path, total[path], count) for path, count in times.items() if count > 1]
    waste.sort(key=lambda item: (-item.size, item.path))
    everything = sum(total.values())
    return Efficiency(
        efficiency=sum(least.values()) / everything if everything else 1.0,
        wasted_bytes=sum(item.size for item in waste),
        user_bytes=user_bytes,
        waste=tuple(waste),
    )


def _leaves(scan: LayerScan) -> dict[str, int]:
    """Size of each leaf as its tar header says it (links have none); the last of two equal names counts."""
    inner = {entry.path.rpartition("/")[0] for entry in scan.entries}
    inner |= {path.rpartition("/")[0] for path in scan.whiteouts}
    found = {}
    for entry in scan.entries:
        if entry.path and entry.path not in inner:
            found[entry.path] = entry.size if entry.kind == "file" else 0
    return found
