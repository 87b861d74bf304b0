"""What makers say about flaws in what they ship (VEX), and which of the flaws found in an image that covers.

1. A statement covers a flaw when one of its names is one of the flaw's, and one of its products is the image (by
   digest, or as `pkg:oci/…`) or the flawed package itself (by purl). With subcomponents, the product is what holds
   them, and one of them has to be the flawed package.
2. A purl without version is every version; qualifiers that a statement gives must be the package's as well (purl-spec,
   OpenVEX "Product matching"). A statement bound to a platform (CPE) covers only images of that platform: unknown
   is no match.
3. Of several statements that cover one flaw the latest rules; of two of one moment, the one that says worse.
4. `not_affected` counts (`acceptable`) only with a justification of the five that CISA named. Who may state what, and
   who signs it off, is policy's.
5. Statements that cover nothing are given back with the reason.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

from packageurl import PackageURL

JUSTIFICATIONS = frozenset({
    "component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist",
})  # fmt: skip


class InvalidVex(ValueError):
    """A VEX document that cannot be used; the text says why."""


class Status(StrEnum):
    """What a maker says of a product and a flaw, in the words of OpenVEX."""

    NOT_AFFECTED = "not_affected"
    AFFECTED = "affected"
    FIXED = "fixed"
    UNDER_INVESTIGATION = "under_investigation"


_WORSE = (Status.NOT_AFFECTED, Status.FIXED, Status.UNDER_INVESTIGATION, Status.AFFECTED)


@dataclass(frozen=True)
class Component:
    """What a statement is about: by purl, by digests (`sha256:…`), or as part of a platform (`cpe`)."""

    purl: str = ""
    digests: tuple[str, ...] = ()
    cpe: str = ""


@dataclass(frozen=True)
class Product(Component):
    """A product, or with `subcomponents` parts of one."""

    subcomponents: tuple[Component, ...] = ()


@dataclass(frozen=True)
class VexStatement:
    """One statement. `names` are the flaw's id and aliases; `will_not_fix`: affected, and so it stays."""

    names: tuple[str, ...]
    products: tuple[Product, ...]
    status: Status
    at: datetime
    justification: str = ""
    impact: str = ""
    action: str = ""
    will_not_fix: bool = False

    @property
    def acceptable(self) -> bool:
        """Rule 4; other statuses excuse nothing by themselves, or are facts (`fixed`)."""
        return self.status is not Status.NOT_AFFECTED or self.justification in JUSTIFICATIONS


@dataclass(frozen=True)
class VexDocument:
    """One document. A later one of the same author and identifier takes its place."""

    identifier: str
    author: str
    form: str
    version: str
    issued: datetime
    statements: tuple[VexStatement, ...]


@dataclass(frozen=True)
class Stated:
    """A statement with where it comes from: `document` is the digest of its bytes, `publisher` empty if it was not a
    publisher of this hub who brought it."""

    statement: VexStatement
    document: str = ""
    position: int = 0
    identifier: str = ""
    author: str = ""
    publisher: str = ""


@dataclass(frozen=True)
class Flaw:
    """A flaw found in an image: all its names, the purls of the packages that have it, and of what holds those."""

    names: frozenset[str]
    purls: frozenset[str]
    within: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Subject:
    """The image: digests of manifest, index and config, its own purls (`pkg:oci/…`), and the CPE of its system."""

    digests: frozenset[str] = frozenset()
    purls: frozenset[str] = frozenset()
    cpe: str = ""


@dataclass(frozen=True)
class Unmatched:
    """A statement that covers nothing here, and why."""

    stated: Stated
    reason: str


@dataclass(frozen=True)
class Applied:
    """By the position of a flaw, the statement that rules; all that cover it; and those that cover nothing."""

    ruling: dict[int, Stated] = field(default_factory=dict)
    covering: dict[int, tuple[Stated, ...]] = field(default_factory=dict)
    unmatched: tuple[Unmatched, ...] = ()


def apply(statements: Iterable[Stated], flaws: Sequence[Flaw], subject: Subject) -> Applied:
    """Which statement rules which flaw."""
    by_name: dict[str, list[int]] = {}
    for number, flaw in enumerate(flaws):
        for name in flaw.names:
            by_name.setdefault(name, []).append(number)
    covering: dict[int, list[Stated]] = {}
    unmatched: list[Unmatched] = []
    for stated in statements:
        named = sorted({number for name in stated.statement.names for number in by_name.get(name, ())})
        covered = [number for number in named if covers(stated.statement, flaws[number], subject)]
        for number in covered:
            covering.setdefault(number, []).append(stated)
        if not named:
            unmatched.append(Unmatched(stated, "the image has no flaw of this name"))
        elif not covered:
            unmatched.append(Unmatched(stated, "none of its products is this image or the package with the flaw"))
    return Applied(
        ruling={number: max(found, key=_order) for number, found in covering.items()},
        covering={number: tuple(sorted(found, key=_order)) for number, found in covering.items()},
        unmatched=tuple(unmatched),
    )


def covers(statement: VexStatement, flaw: Flaw, subject: Subject) -> bool:
    """Rules 1 and 2."""
    if flaw.names.isdisjoint(statement.names):
        return False
    for product in statement.products:
        if product.cpe and not same_platform(product.cpe, subject.cpe):
            continue
        if product.subcomponents:
            holds = _is_image(product, subject) or _any(product.purl, flaw.within)
            if holds and any(_any(part.purl, flaw.purls) for part in product.subcomponents):
                return True
        elif _is_image(product, subject) or _any(product.purl, flaw.purls):
            return True
    return False


def same_purl(said: str, found: str) -> bool:
    """Does the package `found` fall under what a statement says? Rule 2."""
    one, other = _parsed(said), _parsed(found)
    if one is None or other is None:
        return False
    if (one.type, one.namespace, one.name) != (other.type, other.namespace, other.name):
        return False
    if one.version and one.version != other.version:
        return False
    found_with = dict(other.qualifiers)
    return all(found_with.get(key) == value for key, value in dict(one.qualifiers).items()) and (
        not one.subpath or one.subpath == other.subpath
    )


def same_platform(said: str, found: str) -> bool:
    """CPE names (2.2): part, vendor and product are equal, and the version is that one or below it (9 for 9.4)."""
    one, other = _cpe(said), _cpe(found)
    if len(one) < 3 or len(other) < 3 or one[:3] != other[:3]:
        return False
    wanted, version = (one[3:4] or [""])[0], (other[3:4] or [""])[0]
    return not wanted or wanted == version or version.startswith(f"{wanted}.")


def _order(stated: Stated) -> tuple[datetime, int, str, int]:
    statement = stated.statement
    return statement.at, _WORSE.index(statement.status), stated.document, stated.position


def _is_image(product: Component, subject: Subject) -> bool:
    if not subject.digests.isdisjoint(product.digests):
        return True
    parsed = _parsed(product.purl)
    if parsed is None or parsed.type not in ("oci", "docker"):
        return False
    if parsed.version and ":" in parsed.version:
        return parsed.version in subject.digests
    return _any(product.purl, subject.purls)


def _any(said: str, purls: Iterable[str]) -> bool:
    return bool(said) and any(same_purl(said, each) for each in purls)


@lru_cache(maxsize=16384)
def _parsed(purl: str) -> PackageURL | None:
    try:
        return PackageURL.from_string(purl)
    except ValueError:
        return None


def _cpe(name: str) -> list[str]:
    if name.startswith("cpe:/"):
        return name[5:].lower().split(":")
    if name.startswith("cpe:2.3:"):
        return ["" if part in ("*", "-") else part for part in name[8:].lower().split(":")]
    return []
