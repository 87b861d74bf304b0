"""A consumer's verification of an official reference: the verdict, and what it rests on.

1. The roots come from a bundle; without one, from what was trusted before, and at first sight from the hub itself,
   which is said loudly: that first time is only as safe as the TLS connection.
2. What was seen is kept (kept.py): a rollback is noticed, and an unchanged repository costs one request.
3. The tag must be signed, the manifest must have the signed digest and length, and the registry's tag must say the
   same, because many clients ask it only.
4. Without a network the metadata of the bundle, or what was kept, is judged by every rule at the present time. What is
   wrong is "not certified"; what was right and has expired is "undetermined", until when it was good is said. What the
   registry gives now cannot be known offline, and is not claimed.
5. A copy on this machine is certified when its manifest is the signed one and every byte below it is what it names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from customhouse.cli.kept import Kept
from customhouse.cli.local_images import LocalImage, examine_content, open_image
from customhouse.errors import CustomhouseError, Denied, Invalid, NotFound, Unauthenticated, Undetermined
from customhouse.oci.digest import Digest
from customhouse.oci.reference import Reference
from customhouse.registry.client import RegistryClient
from customhouse.transport import Transport
from customhouse.trust.bundle import Bundle
from customhouse.trust.client import Anchor, Reading, TrustClient
from customhouse.trust.metadata import AnyBody, Signed, parse_file, parse_timestamp
from customhouse.trust.names import ROOT, TIMESTAMP, Gun, RoleName
from customhouse.trust.verify import (
    NotEnoughSignatures,
    RoleExpired,
    SignedTag,
    TrustedRepository,
    TrustError,
    verify_repository,
)

Verdict = Literal["certified", "not_certified", "undetermined"]
Source = Literal["hub", "bundle", "kept"]
Anchored = Literal["bundle", "known", "first_sight"]


@dataclass(frozen=True)
class Checked:
    """What the verdict rests on: where the metadata came from, whether the registry and a copy here were compared."""

    metadata: Source | None = None
    registry: bool = False
    content: bool = False

    def document(self) -> dict[str, Any]:
        """As --json prints it."""
        return {"metadata": self.metadata, "registry": self.registry, "content": self.content}


@dataclass(frozen=True)
class Answer:
    """The verdict on one reference. `role` and `missing` name where it broke, `root` whom we believed."""

    reference: str
    digest: Digest | None
    verdict: Verdict
    reason: str
    hint: str = ""
    role: RoleName | None = None
    missing: Mapping[str, Any] | None = None
    versions: Mapping[RoleName, int] = field(default_factory=dict)
    signers: tuple[str, ...] = ()
    expires: datetime | None = None
    checked: Checked = Checked()
    root: Anchored | None = None

    def document(self) -> dict[str, Any]:
        """As --json prints it; docs/consumers.md explains every field."""
        return {
            "reference": self.reference,
            "digest": str(self.digest) if self.digest else None,
            "verdict": self.verdict,
            "reason": self.reason,
            "hint": self.hint,
            "role": str(self.role) if self.role else None,
            "missing": dict(self.missing) if self.missing else None,
            "versions": {str(role): number for role, number in self.versions.items()},
            "signers": list(self.signers),
            "expires": self.expires.isoformat() if self.expires else None,
            "checked": self.checked.document(),
            "root": self.root,
        }


@dataclass(frozen=True)
class Verification:
    """One question: is `reference` certified now, by the hub of `bundle` (or the one that is known)?

    `image` names a copy on this machine (`dir:DIR`, `oci-layout:DIR`, `docker-archive:FILE`) that is compared too.
    """

    reference: Reference
    state: Path
    now: datetime
    bundle: Bundle | None = None
    image: str = ""

    @property
    def gun(self) -> Gun:
        """The repository."""
        return Gun.parse(self.reference.name)

    def online(self, transport: Transport, root: Anchored) -> Answer:
        """Ask the hub."""
        checked = Checked("hub")
        try:
            kept = Kept(self.state, self.gun)
            enrolled = self.bundle.root_keys if self.bundle else None
            anchor = Anchor(enrolled, None if enrolled else kept.root, kept.versions, kept.roots)
            reading = TrustClient(transport, kept).read(self.gun, anchor, self.now)
            kept.keep(reading)
            found = reading.repository
            answer = replace(self._signed(found), checked=checked, root=root)
            if answer.verdict == "certified":
                answer = self._registry(answer, found, RegistryClient(transport))
        except CustomhouseError as error:
            return self.broken(error, checked, root)
        return self._compared(answer)

    def offline(self) -> Answer:
        """Ask nobody: the newer of what the bundle holds and what was kept."""
        root: Anchored = "bundle" if self.bundle else "known"
        checked = Checked()
        try:
            kept = Kept(self.state, self.gun)
            source, files = self._at_hand(kept)
            checked = Checked(source)
            enrolled = self.bundle.root_keys if self.bundle else None
            known = kept.root if enrolled is None else None
            if enrolled is None and known is None:
                raise Undetermined(f"no root of {self.gun} is known here", hint="Name a bundle with --bundle.")
            in_bundle = self.bundle.repository(self.gun) if self.bundle else None
            roots = dict.fromkeys([*kept.roots, *(in_bundle.earlier if in_bundle else ())])
            anchor = Anchor(enrolled, known, kept.versions, tuple(roots))
            found, expired = _as_of(self.gun, files, anchor, self.now)
            if expired is None:
                kept.keep(Reading(found, files, tuple(dict.fromkeys([*roots, files[ROOT]]))))
            answer = replace(self._signed(found, expired), checked=checked, root=root)
        except CustomhouseError as error:
            return self.broken(error, checked, root)
        return self._compared(answer)

    def broken(self, error: CustomhouseError, checked: Checked = Checked(), root: Anchored | None = None) -> Answer:
        """The answer that an error is: 'no' where something is wrong, 'undetermined' where nothing was learnt."""
        if isinstance(error, Unauthenticated | Denied):
            error = Undetermined(f"the hub does not let us read: {error.message}", hint=error.hint)
        verdict: Verdict = "not_certified" if isinstance(error, Invalid | NotFound) else "undetermined"
        missing = None
        if isinstance(error, NotEnoughSignatures):
            missing = {"role": str(error.role), "version": error.version, "valid": error.valid, "needed": error.needed}
        return Answer(
            str(self.reference), self.reference.digest, verdict, error.message, error.hint,
            role=error.role if isinstance(error, TrustError) else None, missing=missing, checked=checked, root=root,
        )

    # -- what is signed ---------------------------------------------------------------------------------------------

    def _signed(self, found: TrustedRepository, expired: RoleExpired | None = None) -> Answer:
        """The verdict of the metadata alone."""
        wanted, versions = self.reference, found.versions
        signed = self._tag(found)
        base = Answer(str(wanted), wanted.digest, "certified", "", versions=versions)
        if signed is not None:
            expires = _expires(found, signed)
            signers = tuple(found.signers(signed.tag)) or (str(signed.role),)
            base = replace(base, digest=signed.digest, role=signed.role, signers=signers, expires=expires)
        if expired is not None:
            until = f"{expired.expires:%Y-%m-%d %H:%M} UTC"
            what = "was signed by the hub" if signed else "was not signed by the hub"
            return replace(
                base, verdict="undetermined", role=expired.role, expires=expired.expires,
                reason=f"{expired.message}: what is at hand here was good until {until}, and it {what} then",
                hint="Verify once with a network, or bring a newer bundle: customhouse trust export --metadata.",
            )
        if signed is None:
            what = f"tag {wanted.tag}" if wanted.tag else f"digest {wanted.digest}"
            why = "".join(f"; {role} is left out: {error.message}" for role, error in found.skipped.items())
            lacking = next((e for e in found.skipped.values() if isinstance(e, NotEnoughSignatures)), None)
            answer = self.broken(lacking) if lacking else base
            return replace(
                base, verdict="not_certified", missing=answer.missing, role=answer.role,
                reason=f"{what} is not signed by the hub{why}",
            )
        if wanted.digest and wanted.digest != signed.digest:
            why = f"the hub signed {signed.digest} under this tag, not {wanted.digest}"
            return replace(base, verdict="not_certified", reason=why)
        return replace(base, reason="signed by the hub; what the registry gives was not asked")

    def _tag(self, found: TrustedRepository) -> SignedTag | None:
        if self.reference.tag:
            return found.tag(self.reference.tag)
        return next((tag for tag in found.tags.values() if tag.digest == self.reference.digest), None)

    def _at_hand(self, kept: Kept) -> tuple[Source, Mapping[RoleName, bytes]]:
        """The newest files that can be had without a network."""
        choices: list[tuple[int, Source, Mapping[RoleName, bytes]]] = []
        in_bundle = self.bundle.repository(self.gun) if self.bundle else None
        if in_bundle and TIMESTAMP in in_bundle.files:
            choices.append((parse_timestamp(in_bundle.files[TIMESTAMP]).version, "bundle", in_bundle.files))
        if kept.known:
            try:
                files = kept.files()
                choices.append((parse_timestamp(files[TIMESTAMP]).version, "kept", files))
            except Invalid as error:
                if not choices:
                    raise Undetermined(
                        f"what was kept of {self.gun} is damaged: {error.message}", hint="Verify once with a network."
                    ) from error
        if not choices:
            raise Undetermined(
                f"nothing is known of {self.gun} on this machine",
                hint="Verify it once with a network, or bring a bundle of customhouse trust export --metadata.",
            )
        _, source, found = max(choices, key=lambda choice: choice[0])
        return source, found

    # -- what the bytes are -----------------------------------------------------------------------------------------

    def _registry(self, answer: Answer, found: TrustedRepository, registry: RegistryClient) -> Answer:
        signed = self._tag(found)
        assert signed is not None  # it is certified
        try:
            manifest = registry.manifest(self.reference.repository, signed.digest)
            tagged = registry.manifest(self.reference.repository, signed.tag)
        except (NotFound, Denied, Invalid) as error:
            why = f"the registry does not give the signed image: {error.message}"
            return replace(answer, verdict="not_certified", reason=why, hint=error.hint)
        answer = replace(answer, checked=replace(answer.checked, registry=True))
        if manifest.size != signed.length:
            why = f"the manifest has {manifest.size} bytes, signed were {signed.length}"
            return replace(answer, verdict="not_certified", reason=why)
        if tagged.digest != signed.digest:
            why = f"the registry's tag is {tagged.digest}, the hub signed {signed.digest}"
            return replace(answer, verdict="not_certified", reason=why)
        return replace(answer, reason="signed by the hub, and the registry has exactly these bytes")

    def _compared(self, answer: Answer) -> Answer:
        """With the copy on this machine, when one is named: its manifest and every byte below it."""
        if not self.image or answer.digest is None or answer.verdict == "not_certified":
            return answer
        try:
            local: LocalImage = open_image(self.image)
        except (NotFound, Invalid) as error:
            return replace(answer, verdict="undetermined", reason=error.message, hint=error.hint)
        checked = replace(answer.checked, content=True)
        if local.digest != answer.digest:
            return replace(
                answer, verdict="not_certified", checked=checked,
                reason=f"the copy here is {local.digest}, the hub signed {answer.digest}",
                hint="Copy images with all platforms and unchanged, as skopeo copy --all docker://… dir:DIR does.",
            )
        try:
            blobs, size = examine_content(local)
        except (NotFound, Invalid) as error:
            why = f"the copy here is damaged: {error.message}"
            return replace(answer, verdict="not_certified", checked=checked, reason=why, hint=error.hint)
        copy = f"the copy here is exactly that: {blobs} pieces, {size} bytes, all hashed"
        if answer.verdict == "certified" and not checked.registry:
            return replace(answer, checked=checked, reason=f"signed by the hub, and {copy}")
        return replace(answer, checked=checked, reason=f"{answer.reason}; {copy}")


def _as_of(
    gun: Gun, files: Mapping[RoleName, bytes], anchor: Anchor, now: datetime
) -> tuple[TrustedRepository, RoleExpired | None]:
    """The repository as it is now; or, when all that is wrong is age, as it was last, with what has expired."""

    def judged(at: datetime) -> TrustedRepository:
        known = [anchor.known_root] if anchor.known_root else []
        seen = anchor.seen or {}
        try:
            return verify_repository(files, known, gun=gun, enrolled=anchor.enrolled, seen=seen, now=at)
        except TrustError as error:
            if error.role != ROOT or anchor.enrolled is None or not anchor.roots:
                raise
        return verify_repository(files, anchor.roots, gun=gun, enrolled=anchor.enrolled, seen=seen, now=at)

    try:
        return judged(now), None
    except RoleExpired as error:
        ends = [parsed.expires for parsed in (_parsed(role, raw) for role, raw in files.items()) if parsed is not None]
        return judged(min(ends) - timedelta(seconds=1)), error


def _parsed(role: RoleName, raw: bytes) -> Signed[AnyBody] | None:
    try:
        return parse_file(role, raw)
    except Invalid:
        return None


def _expires(repository: TrustedRepository, signed: SignedTag) -> datetime:
    """When this must have been signed again."""
    used: list[Signed[AnyBody]] = [repository.root, repository.timestamp, repository.snapshot]
    return min(file.expires for file in [*used, repository.targets[signed.role]])
