"""What databases say beyond the OSV schema, as far as matching needs it.

1. Debian: `ecosystem_specific.urgency`; Ubuntu: `availability` of the fix; Go: `imports` with symbols and systems;
   RustSec: `affects` and `informational`. What has not the form that is known is passed over: it only describes.
2. Lists are cut at MOST_SPECIFICS, texts longer than LONGEST_TEXT are none.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeGuard

LONGEST_TEXT = 512
MOST_SPECIFICS = 32
_NEVER_FIXED = frozenset({"end-of-life", "ignored", "wont-fix", "won't fix", "will not fix"})


class FixState(StrEnum):
    """Is there a version without the flaw, and if not, will there be one?"""

    FIXED = "fixed"
    NOT_FIXED = "not-fixed"
    WONT_FIX = "wont-fix"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Specifics:
    """What one database says beyond the schema about one package.

    `urgency` is Debian's word (unimportant, end-of-life, not yet assigned, or what its tracker says of a suite such as
    no-dsa); `informational` RustSec's (unmaintained, unsound, notice: no flaw); `availability` Ubuntu's, of the fix
    (who may have it); `platforms` and `architectures` those that are affected alone, as Go and Rust name them;
    `imports` the Go packages that are affected alone, `symbols` whether functions are named too.
    """

    urgency: str = ""
    informational: str = ""
    availability: str = ""
    platforms: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    symbols: bool = False

    @property
    def never_fixed(self) -> bool:
        return self.urgency in _NEVER_FIXED


NOTHING_SPECIFIC = Specifics()


def specifics_of(item: dict[str, Any]) -> Specifics:
    """What an entry of `affected` says beyond the schema."""
    eco, database = item.get("ecosystem_specific"), item.get("database_specific")
    eco = eco if isinstance(eco, dict) else {}
    database = database if isinstance(database, dict) else {}
    informational = _word(database.get("informational")) or _word(eco.get("informational"))
    urgency, availability = _word(eco.get("urgency")), _word(eco.get("availability"))
    affects = eco.get("affects")
    imports = eco.get("imports")
    platforms: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    symbols = False
    if isinstance(affects, dict):
        platforms, architectures = _few(affects.get("os")), _few(affects.get("arch"))
    if isinstance(imports, list) and imports:
        entries = [each for each in imports[:MOST_SPECIFICS] if isinstance(each, dict)]
        paths = _few([each.get("path") for each in entries])
        symbols = any(_few(each.get("symbols")) for each in entries)
        systems = [_few(each.get("goos")) for each in entries]
        if len(imports) <= MOST_SPECIFICS and all(systems):  # an import without `goos` is affected everywhere
            platforms = tuple(dict.fromkeys(system for each in systems for system in each))
    if not (urgency or informational or availability or platforms or architectures or paths):
        return NOTHING_SPECIFIC
    return Specifics(urgency, informational, availability, platforms, architectures, paths, symbols)


def _word(value: object) -> str:
    return value if is_text(value) else ""


def _few(values: object) -> tuple[str, ...]:
    kept = values[:MOST_SPECIFICS] if isinstance(values, list) else []
    return tuple(dict.fromkeys(value for value in kept if is_text(value)))


def is_text(value: object) -> TypeGuard[str]:
    """A text that is neither empty, nor too long, nor holds a NUL."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and "\0" not in value
