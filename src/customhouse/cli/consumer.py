"""A consumer's verification of an official reference: bundle, memory of what was seen, and the verdict.

1. The roots come from a bundle; without one, from what was trusted before, and at first sight from the hub itself,
   which is said loudly: that first time is only as safe as the TLS connection.
2. What was seen (versions, root) is kept under `$XDG_STATE_HOME/customhouse/trust`, so that a rollback is noticed.
3. The tag must be signed, the manifest must have the signed digest and length, and the registry's tag must say the
   same, because many clients ask it only.
"""

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from customhouse.cli.logins import write_private
from customhouse.errors import Denied, Invalid, NotFound, Undetermined
from customhouse.keys import PublicKey
from customhouse.oci.digest import Digest
from customhouse.oci.reference import Reference
from customhouse.registry.client import RegistryClient
from customhouse.transport import Transport
from customhouse.trust.client import Anchor, TrustClient
from customhouse.trust.metadata import AnyBody, Signed
from customhouse.trust.names import Gun, RoleName
from customhouse.trust.verify import SignedTag, TrustedRepository


@dataclass(frozen=True)
class Bundle:
    """What a consumer pins: the hub's host, canonical ids of its root keys, and its CA if it has one of its own."""

    host: str
    roots: frozenset[str]
    ca_pem: str
    hub_name: str

    @classmethod
    def parse(cls, raw: bytes) -> "Bundle":
        """Raises Invalid."""
        try:
            document = json.loads(raw)
            if document["version"] != 1:
                raise Invalid(f"the bundle is of version {document['version']}, which is not known here")
            keys = frozenset(PublicKey.of_pem(_pem(entry["certificate"])).canonical_id for entry in document["roots"])
            if not keys:
                raise Invalid("the bundle names no root")
            return cls(str(document["host"]), keys, str(document.get("ca") or ""), str(document.get("hub_name") or ""))
        except (ValueError, KeyError, TypeError) as error:
            raise Invalid("this is not a trust bundle", hint="Get one with customhouse trust export.") from error


@dataclass(frozen=True)
class Answer:
    """The verdict on one reference."""

    reference: str
    digest: Digest | None
    verdict: Literal["certified", "not_certified"]
    signers: tuple[str, ...]
    expires: datetime | None
    reason: str

    def document(self) -> dict[str, Any]:
        """As --json prints it."""
        return {
            "reference": self.reference,
            "digest": str(self.digest) if self.digest else None,
            "verdict": self.verdict,
            "signers": list(self.signers),
            "expires": self.expires.isoformat() if self.expires else None,
            "reason": self.reason,
        }


class Memory:
    """What was seen of a GUN before."""

    def __init__(self, state: Path, gun: Gun) -> None:
        self._path = state / "trust" / f"{sha256(gun.encode()).hexdigest()}.json"
        self.gun = gun
        self.versions: dict[RoleName, int] = {}
        self.root: bytes | None = None
        try:
            document = json.loads(self._path.read_bytes())
            self.versions = {RoleName.parse(role): int(number) for role, number in document["versions"].items()}
            self.root = base64.b64decode(document["root"], validate=True)
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError, Invalid) as error:
            raise Undetermined(f"{self._path} is damaged", hint="Delete it to begin anew.") from error

    def keep(self, repository: TrustedRepository) -> None:
        """After a verification, which saw that no version went down. A delegation that is gone is forgotten."""
        document = {
            "gun": str(self.gun),
            "versions": {str(role): number for role, number in repository.versions.items()},
            "root": base64.b64encode(repository.root.raw).decode(),
        }
        write_private(self._path, json.dumps(document).encode())


def verify(
    reference: Reference, transport: Transport, roots: frozenset[str] | None, state: Path, now: datetime
) -> Answer:
    """The verdict. Raises TrustError and its like where the metadata must not be trusted, Unavailable for no answer."""
    gun = Gun.parse(reference.name)
    memory = Memory(state, gun)
    anchor = Anchor(enrolled=roots, known_root=None if roots else memory.root, seen=memory.versions)
    repository = TrustClient(transport).fetch(gun, anchor, now)
    memory.keep(repository)
    signed = _signed(repository, reference)
    if signed is None:
        what = f"tag {reference.tag}" if reference.tag else f"digest {reference.digest}"
        return Answer(str(reference), reference.digest, "not_certified", (), None, f"{what} is not signed by the hub")

    def answer(verdict: Literal["certified", "not_certified"], reason: str) -> Answer:
        signers = tuple(repository.signers(signed.tag)) or (str(signed.role),)
        return Answer(str(reference), signed.digest, verdict, signers, _expires(repository, signed), reason)

    if reference.digest and reference.digest != signed.digest:
        return answer("not_certified", f"the hub signed {signed.digest} under this tag, not {reference.digest}")
    registry = RegistryClient(transport)
    try:
        manifest = registry.manifest(reference.repository, signed.digest)
        tagged = registry.manifest(reference.repository, signed.tag)
    except (NotFound, Denied, Invalid) as error:
        return answer("not_certified", f"the registry does not give the signed image: {error.message}")
    if manifest.size != signed.length:
        return answer("not_certified", f"the manifest has {manifest.size} bytes, signed were {signed.length}")
    if tagged.digest != signed.digest:
        return answer("not_certified", f"the registry's tag is {tagged.digest}, the hub signed {signed.digest}")
    return answer("certified", "signed by the hub, and the registry has exactly these bytes")


def _signed(repository: TrustedRepository, reference: Reference) -> SignedTag | None:
    if reference.tag:
        return repository.tag(reference.tag)
    return next((tag for tag in repository.tags.values() if tag.digest == reference.digest), None)


def _expires(repository: TrustedRepository, signed: SignedTag) -> datetime:
    """When this must have been signed again."""
    used: list[Signed[AnyBody]] = [repository.root, repository.timestamp, repository.snapshot]
    return min(file.expires for file in [*used, repository.targets[signed.role]])


def _pem(text: str) -> bytes:
    """A certificate in PEM form, or that in base64 as TUF metadata holds it."""
    return text.encode() if "-----BEGIN" in text else base64.b64decode(text, validate=True)
