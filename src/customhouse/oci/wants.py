"""What a pass over a layer is to keep, and how far it may go."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from customhouse.oci.reader import ContentReader

MIB = 1024 * 1024


@dataclass(frozen=True)
class Budget:
    """How much a layer may be before the pass stops; sizes in bytes. load_image hands on what is left, so that it is
    the budget of a whole image. `entries` counts headers and folders that only occur in longer names, `names` their
    bytes; `name` and `depth` bound one name, in bytes and folders; `ratio` holds once more than `ratio_floor` bytes
    came out; `file` and `contents` bound what is kept of wanted files, one and all; `heads` bounds heads and extended
    attributes; `facts` bounds what readers say."""

    unpacked: int = 32 * 1024 * MIB
    entries: int = 500_000
    name: int = 4096
    depth: int = 128
    names: int = 256 * MIB
    extension: int = MIB
    ratio: int = 200
    ratio_floor: int = 128 * MIB
    file: int = 32 * MIB
    contents: int = 96 * MIB
    heads: int = 64 * MIB
    facts: int = 64 * MIB
    violations: int = 100


@dataclass(frozen=True)
class Wants:
    """Path patterns whose file contents are to be kept: `*` and `?` within a component, `**/` any number of them.
    Patterns are relative to the root of the image, without leading slash. `readers` look at contents that are not
    kept."""

    patterns: frozenset[str] = frozenset()
    readers: Sequence[ContentReader] = ()

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            if not pattern or pattern.startswith("/") or pattern.endswith("/"):
                raise ValueError(f"{pattern!r} is no pattern for a file relative to the root")

    def __contains__(self, path: str) -> bool:
        exact, by_name, by_suffix, other = self._index
        if path in exact:
            return True
        name = path.rpartition("/")[2]
        candidates = by_name.get(name, ())
        if any(pattern.fullmatch(path) for pattern in candidates):
            return True
        suffix = name.rpartition(".")[2]
        if any(pattern.fullmatch(path) for pattern in by_suffix.get(suffix, ())):
            return True
        return any(pattern.fullmatch(path) for pattern in other)

    @property
    def literal(self) -> frozenset[str]:
        """The patterns that name one path."""
        return self._index[0]

    @cached_property
    def _index(self) -> "_Index":
        # A layer has tens of thousands of files and a policy dozens of patterns: the last component sorts out nearly
        # all files by one look-up.
        exact: set[str] = set()
        by_name: dict[str, list[re.Pattern[str]]] = {}
        by_suffix: dict[str, list[re.Pattern[str]]] = {}
        other: list[re.Pattern[str]] = []
        for pattern in sorted(self.patterns):
            if not set("*?") & set(pattern):
                exact.add(pattern)
                continue
            compiled = re.compile(path_pattern(pattern))
            name = pattern.rpartition("/")[2]
            suffix = name.rpartition(".")[2] if "." in name else "*"
            if not set("*?") & set(name):
                by_name.setdefault(name, []).append(compiled)
            elif not set("*?") & set(suffix):
                by_suffix.setdefault(suffix, []).append(compiled)
            else:
                other.append(compiled)
        return frozenset(exact), by_name, by_suffix, other


_Patterns = dict[str, list[re.Pattern[str]]]
_Index = tuple[frozenset[str], _Patterns, _Patterns, list[re.Pattern[str]]]


def path_pattern(pattern: str) -> str:
    """The regular expression of a path pattern, for fullmatch."""
    out = []
    for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern):
        out.append({"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part) or re.escape(part))
    return "(?s:" + "".join(out) + ")"
