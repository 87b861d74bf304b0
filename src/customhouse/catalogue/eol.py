"""Until when a release of a distribution, or of a language's runtime, gets fixes: a table shipped with the product.

1. The date is the last day of updates that everyone gets: Debian's long-term support counts (unless it is asked not
   to), Ubuntu's and others' paid extensions do not.
2. What the table does not know is `None`, never "supported": a newer release than the table may exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from importlib.resources import files

import msgspec

from customhouse.catalogue.distro import Distro


@dataclass(frozen=True)
class Release:
    """The last day of regular fixes, and of the long-term phase where there is one for everyone."""

    ends: date
    long_term_ends: date | None = None

    def last_day(self, *, long_term: bool = True) -> date:
        return max(self.ends, self.long_term_ends or self.ends) if long_term else self.ends


@dataclass(frozen=True)
class SupportTable:
    """Releases by os-release ID and release; `as_of` is the day the dates were taken."""

    as_of: date
    rolling: frozenset[str]
    distros: Mapping[str, Mapping[str, Release]]
    runtimes: Mapping[str, Mapping[str, Release]] = field(default_factory=dict)

    @classmethod
    def shipped(cls) -> "SupportTable":
        """The table inside the product."""
        return cls.parse(files("customhouse.catalogue").joinpath("eol.json").read_bytes())

    @classmethod
    def parse(cls, raw: bytes) -> "SupportTable":
        return msgspec.json.decode(raw, type=cls)

    def knows(self, distro: Distro) -> bool:
        return distro.id in self.distros or distro.id in self.rolling

    def release(self, distro: Distro) -> Release | None:
        """The entry whose number is the distribution's own, or its first one or two parts (3.20.3 -> 3.20)."""
        return _longest(self.distros.get(distro.id, {}), distro.version_id)

    def runtime(self, name: str, version: str) -> Release | None:
        """The entry of a runtime's series: 3.12.4 of python is 3.12, 20.11.1 of node is 20."""
        return _longest(self.runtimes.get(name, {}), version)


def _longest(known: Mapping[str, Release], version: str) -> Release | None:
    parts = version.split(".")
    for length in range(len(parts), 0, -1):
        found = known.get(".".join(parts[:length]))
        if found:
            return found
    return None
