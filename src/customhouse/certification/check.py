"""The check as an object: what a rule of certification declares, sees and answers.

1. One file in checks/ holds one check as the constant `CHECK`; the tree is the rule book.
2. A check yields a `Failure` per fact, each with evidence a publisher can act on. No failure means pass.
3. It raises `NotApplicable` when the question has no meaning for this image and `NotEvaluable` when it has one and the
   answer cannot be known (unread layer, no advisories, no engine). Any other exception is the outcome `error`.
4. Whether a failure blocks is policy, never the check's affair; a Failure may carry its own severity where the
   table of checks grades one check's facts differently.
5. Nothing registers itself: `discover()` reads the folder and the entry point group `customhouse.checks`, and a
   repeated id or an empty text stops the start.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from importlib.metadata import entry_points

from customhouse.advisories import identity as identities
from customhouse.advisories.matching import AdvisoryReport
from customhouse.catalogue.package import Package
from customhouse.catalogue.packages import Catalogue
from customhouse.certification.efficiency import Efficiency, efficiency
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.history import shown
from customhouse.certification.structure_tests import InvalidStructureTests, StructureTests
from customhouse.errors import CustomhouseError
from customhouse.oci.image import Filesystem, Image
from customhouse.oci.layer import Wants
from customhouse.oci.manifest import Manifest
from customhouse.oci.reader import ContentReader
from customhouse.sandbox.runner import RunRecord

ENTRY_POINT_GROUP = "customhouse.checks"
_ID = re.compile(r"[A-Z]{2,4}(-[A-Z0-9]+)+")


class NotApplicable(Exception):
    """The question has no meaning for this image; the reason says why."""


class NotEvaluable(Exception):
    """The question has a meaning and its answer is not known; the reason says what was missing."""


class InvalidCheck(CustomhouseError):
    """A check that must not be started with: repeated id, missing text, no CHECK constant."""


@dataclass(frozen=True)
class Subject:
    """All that a check may look at. One platform of one image; `index` is the list it belongs to, if any; `tests` are
    the publisher's own, or what is wrong with their document."""

    image: Image
    tag: str
    index: Manifest | None
    catalogue: Catalogue
    advisories: AdvisoryReport
    run: RunRecord | None
    now: datetime
    tests: StructureTests | InvalidStructureTests | None = None

    @cached_property
    def efficiency(self) -> Efficiency:
        """How much of the layers is still there, for all that ask."""
        return efficiency(self.image.layers)


@dataclass(frozen=True)
class Failure:
    """One fact against the image. Evidence names it by `purl`, `path` or `key` so that a waiver can hold on to it."""

    message: str
    evidence: Mapping[str, JSON] = field(default_factory=dict)
    severity: Severity | None = None


Evaluate = Callable[[Subject, Mapping[str, JSON]], Iterator[Failure]]


@dataclass(frozen=True)
class Check:
    """`needs` are path patterns (oci.layer.Wants) whose contents the check reads, `readers` look at contents that are
    not kept; `params` are its settings with their defaults, which a policy may change and whose types it must keep.
    `sources` are the rules of other lists that ask the same ("CIS 4.6", "DS-0026"); `not_applicable` and
    `not_evaluable` say for people when the check ends so."""

    id: str
    title: str
    why: str
    remedy: str
    severity: Severity
    evaluate: Evaluate
    needs: tuple[str, ...] = ()
    readers: tuple[ContentReader, ...] = ()
    params: Mapping[str, JSON] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    not_applicable: str = ""
    not_evaluable: str = ""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise InvalidCheck(f"{self.id!r} is no id of a check; ids look like MAN-DIGEST")
        for name in ("title", "why", "remedy"):
            if not getattr(self, name).strip():
                raise InvalidCheck(f"check {self.id} has no {name}")


def discover() -> tuple[Check, ...]:
    """Every check of the product and of installed extensions, ordered by id. Raises InvalidCheck."""
    from customhouse.certification import checks

    found = []
    for module in pkgutil.iter_modules(checks.__path__):
        if module.name.startswith("_"):
            continue
        loaded = importlib.import_module(f"{checks.__name__}.{module.name}")
        found.append(_constant(loaded, f"{checks.__name__}.{module.name}"))
    for point in entry_points(group=ENTRY_POINT_GROUP):
        loaded = point.load()
        found.append(loaded if isinstance(loaded, Check) else _constant(loaded, point.value))
    return ordered(found)


def ordered(checks: Iterable[Check]) -> tuple[Check, ...]:
    """The checks by id. Raises InvalidCheck when two share one."""
    by_id: dict[str, Check] = {}
    for check in checks:
        if check.id in by_id:
            raise InvalidCheck(f"two checks are called {check.id}")
        by_id[check.id] = check
    return tuple(by_id[name] for name in sorted(by_id))


def wants(checks: Iterable[Check], *more: str, readers: Iterable[ContentReader] = ()) -> Wants:
    """What these checks, and the patterns and readers named besides, need from the layers. Readers that several
    checks share are named once. Raises InvalidCheck when two different readers have one name."""
    chosen = tuple(checks)
    by_name: dict[str, ContentReader] = {}
    for reader in (*readers, *(reader for check in chosen for reader in check.readers)):
        if by_name.setdefault(reader.name, reader) != reader:
            raise InvalidCheck(f"two readers are called {reader.name}")
    patterns = frozenset(pattern for check in chosen for pattern in check.needs) | frozenset(more)
    return Wants(patterns, tuple(by_name[name] for name in sorted(by_name)))


def at_layer(subject: Subject, position: int) -> dict[str, JSON]:
    """Evidence of which layer is at fault: its digest and the line of the build history that made it."""
    scan = subject.image.layers[position]
    evidence: dict[str, JSON] = {"layer": str(scan.digest)}
    made = [line for line in subject.image.config.history if not line.empty_layer]
    if len(made) == len(subject.image.layers):  # else nobody can say which line made which layer
        evidence["history"] = shown(made[position].created_by)
    return evidence


def identity(package: identities.Package) -> str:
    """What a finding calls a package: its package URL, or what stands for one where it has none."""
    return package.purl or f"{package.ecosystem}/{package.name}@{package.version}"


def of_package(subject: Subject, package: Package) -> dict[str, JSON]:
    """Evidence about a package: its name, what told of it, and the layer it came with."""
    return {"purl": identity(package), "path": package.path, **at_layer(subject, package.layer)}


def whole_catalogue(subject: Subject) -> None:
    """Raises NotEvaluable where the list of packages has gaps: what stands in none of them cannot be judged."""
    if subject.catalogue.problems:
        raise NotEvaluable(f"the list of packages is not complete: {subject.catalogue.problems[0]}")


def whole_filesystem(subject: Subject) -> Filesystem:
    """The merged filesystem, when every layer was read to its end. Raises NotEvaluable otherwise:
    what a hidden part of a layer may hold cannot be judged."""
    for scan in subject.image.layers:
        if not scan.complete:
            raise NotEvaluable(f"layer {scan.digest} could not be read to its end")
    return subject.image.fs


def content(subject: Subject, path: str) -> bytes | None:
    """The bytes of a file that the check declared in `needs`, or None if the image has no such file.
    Raises NotEvaluable when the file exists and was not kept (larger than the budget)."""
    fs = whole_filesystem(subject)
    entry = fs.entry(path)
    if entry is None or entry.kind == "dir":
        return None
    read = fs.read(path)
    if read is None:
        raise NotEvaluable(f"/{path} exists but could not be read ({entry.kind}, {entry.size} bytes)")
    return read


def _constant(module: object, name: str) -> Check:
    check = getattr(module, "CHECK", None)
    if not isinstance(check, Check):
        raise InvalidCheck(f"{name} holds no constant CHECK")
    return check
