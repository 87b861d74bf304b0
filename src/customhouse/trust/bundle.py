"""The trust bundle: what a consumer pins, as one JSON document that a person can hand out.

1. It holds no secret, and decides whom its reader believes: the hub's root certificates above all. What it says about
   a certificate (key ids, fingerprint, end) is computed from it; a bundle that contradicts itself is refused.
2. A root key has two names: `key_id` is that of the bare key (key files, enrolments, `verify`), `certificate_id` that
   of its certificate (`docker trust inspect`, notary's `trust_pinning`).
3. Official repositories come with their current root, and, for machines without a network, with all current files,
   which are judged by verify.py at the time of use: a bundle believes nothing of them.
4. Everything is bounded, and names are checked before they become paths.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256

from customhouse.errors import Invalid
from customhouse.keys import InvalidKey, PublicKey
from customhouse.trust.metadata import format_expires, parse_file
from customhouse.trust.names import ROOT, Gun, RoleName

VERSION = 2
LARGEST_BUNDLE = 512 * 1024 * 1024
MOST_ROOTS = 64
MOST_REPOSITORIES = 100_000
MOST_ROLES = 1024


class InvalidBundle(Invalid):
    """Not a trust bundle, or one that contradicts itself."""

    def __init__(self, why: str = "") -> None:
        super().__init__(
            f"this is not a trust bundle{': ' if why else ''}{why}", hint="Get one with customhouse trust export."
        )


@dataclass(frozen=True)
class BundledRoot:
    """A root certificate of the hub, PEM, by whose key the roots of official repositories are signed."""

    certificate: str

    @cached_property
    def key(self) -> PublicKey:
        """The key with its certificate. Raises InvalidKey."""
        return PublicKey.of_certificate(self.certificate.encode())

    def document(self) -> dict[str, str]:
        """As it stands in a bundle."""
        leaf = self.key.certificates[0]
        return {
            "certificate": self.certificate,
            "key_id": self.key.canonical_id,
            "certificate_id": self.key.key_id,
            "sha256": leaf.fingerprint(SHA256()).hex(),
            "not_after": format_expires(leaf.not_valid_after_utc),
        }


@dataclass(frozen=True)
class BundledRepository:
    """An official repository: its current root, and with metadata all current files (the root among them).

    `earlier` are the roots before it, oldest first: who pinned one of them can follow.
    """

    gun: Gun
    root: bytes
    files: Mapping[RoleName, bytes] = field(default_factory=dict)
    earlier: tuple[bytes, ...] = ()

    def document(self) -> dict[str, Any]:
        """As it stands in a bundle; the expiry of each file is told for people, and never believed."""
        found: dict[str, Any] = {"gun": str(self.gun), "root": _text(self.root)}
        if self.earlier:
            found["earlier_roots"] = [_text(raw) for raw in self.earlier]
        if self.files:
            found["metadata"] = {
                str(role): {"content": _text(raw), "expires": format_expires(parse_file(role, raw).expires)}
                for role, raw in sorted(self.files.items())
            }
        return found

    @property
    def chain(self) -> tuple[bytes, ...]:
        """All roots, oldest first."""
        return (*self.earlier, self.root)

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(map(len, (self.root, *self.earlier, *self.files.values())))


@dataclass(frozen=True)
class Bundle:
    """What a consumer pins. `made` is when the hub wrote it; `signer_pem` is the key under `targets/<hub_name>`."""

    host: str
    url: str
    hub_name: str
    made: datetime
    roots: tuple[BundledRoot, ...]
    ca_pem: str = ""
    repositories: tuple[BundledRepository, ...] = ()
    signer_pem: str = ""

    @classmethod
    def parse(cls, raw: bytes) -> "Bundle":
        """Raises InvalidBundle."""
        if len(raw) > LARGEST_BUNDLE:
            raise InvalidBundle(f"it is larger than {LARGEST_BUNDLE} bytes")
        try:
            wire = msgspec.json.decode(raw, type=_Bundle)
        except msgspec.ValidationError as error:
            raise InvalidBundle(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidBundle from None
        if wire.version != VERSION:
            raise InvalidBundle(f"it is of version {wire.version}, and {VERSION} is read here")
        if not wire.roots or len(wire.roots) > MOST_ROOTS:
            raise InvalidBundle(f"it names {len(wire.roots)} roots")
        made = wire.made.astimezone(UTC) if wire.made.tzinfo else wire.made.replace(tzinfo=UTC)
        roots = tuple(_root(entry) for entry in wire.roots)
        listed = repositories(wire.repositories, wire.host)
        signer = wire.signer or ""
        try:
            RoleName.parse(f"targets/{wire.hub_name}")
            if signer:
                PublicKey.of_pem(signer.encode())
        except Invalid as error:
            raise InvalidBundle(error.message) from None
        return cls(wire.host, wire.url, wire.hub_name, made, roots, wire.ca or "", listed, signer)

    @property
    def root_keys(self) -> frozenset[str]:
        """Canonical ids of the root keys."""
        return frozenset(root.key.canonical_id for root in self.roots)

    def repository(self, gun: Gun) -> BundledRepository | None:
        """What it holds of a repository."""
        return next((each for each in self.repositories if each.gun == gun), None)

    def document(self) -> dict[str, Any]:
        """The JSON document."""
        return {
            "version": VERSION,
            "host": self.host,
            "url": self.url,
            "hub_name": self.hub_name,
            "made": format_expires(self.made),
            "roots": [root.document() for root in self.roots],
            "ca": self.ca_pem or None,
            "signer": self.signer_pem or None,
            "repositories": [each.document() for each in self.repositories],
        }


class _File(msgspec.Struct):
    content: str


class _Root(msgspec.Struct):
    certificate: str
    key_id: str
    certificate_id: str
    sha256: str
    not_after: str


class Listed(msgspec.Struct):
    """An official repository in a bundle, or in a page of the API; as it was sent."""

    gun: str
    root: str
    earlier_roots: list[str] = []
    metadata: dict[str, _File] = {}


class _Bundle(msgspec.Struct):
    version: int
    host: str
    url: str
    hub_name: str
    made: datetime
    roots: list[_Root]
    ca: str | None = None
    signer: str | None = None
    repositories: list[Listed] = []


def repositories(listed: Sequence[Listed], host: str) -> tuple[BundledRepository, ...]:
    """The repositories of this host, each once. Raises InvalidBundle."""
    if len(listed) > MOST_REPOSITORIES or len({entry.gun for entry in listed}) != len(listed):
        raise InvalidBundle("it lists too many repositories, or one twice")
    return tuple(_repository(entry, host) for entry in listed)


def _repository(entry: Listed, host: str) -> BundledRepository:
    try:
        gun = Gun.parse(entry.gun, host)
        files = {RoleName.parse(role): _bytes(file.content) for role, file in entry.metadata.items()}
        root, earlier = _bytes(entry.root), tuple(map(_bytes, entry.earlier_roots))
    except Invalid as error:
        raise InvalidBundle(error.message) from None
    if files and files.get(ROOT) != root:
        raise InvalidBundle(f"the root of {gun} is not that of its metadata")
    if len(files) > MOST_ROLES or len(earlier) > MOST_ROLES:
        raise InvalidBundle(f"{gun} has more than {MOST_ROLES} roles or earlier roots")
    return BundledRepository(gun, root, files, earlier)


def _root(entry: _Root) -> BundledRoot:
    root = BundledRoot(entry.certificate)
    try:
        said = root.document()
    except InvalidKey as error:
        raise InvalidBundle(error.message) from None
    wrong = [name for name, value in said.items() if getattr(entry, name) != value]
    if wrong:
        raise InvalidBundle(f"the {wrong[0]} of a root is not that of its certificate")
    return root


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise InvalidBundle("a file in it is not base64") from None
