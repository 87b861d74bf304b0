"""Sending an official image to another registry, and taking it away there: every byte unchanged.

1. Blobs, then manifests from the leaves up, then what refers to them, then the tag: whoever finds the tag finds all.
2. What the registry has already is not sent again, except manifests that refer to others: they are few, and sending
   one again mends the fallback tag that a crash may have left without it.
3. A manifest is taken away by its digest, after the lists that name it, and unless a tag that stays needs it.
   A registry that lets nothing be deleted is told of, and is no failure: what counts is signed elsewhere.
OCI distribution-spec 1.1: "Pushing manifests with subject", "Referrers tag schema", "Deleting manifests".
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from customhouse import faults
from customhouse.errors import Invalid
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import parse_manifest
from customhouse.registry.client import RegistryClient
from customhouse.registry.content import StoredManifest, needs_of
from customhouse.registry.service import RegistryService
from customhouse.remote import RemoteConflict, RemoteDenied, RemoteInvalid, RemoteNotFound

MOST_MANIFESTS = 10_000  # below and beside one tag


@dataclass
class Sent:
    """What stands for one tag at the target: its manifests with the subject of each, empty where it has none."""

    size: int = 0
    manifests: dict[Digest, str] = field(default_factory=dict)


class Copier:
    """From one registry of ours to a client's; `go_on` is called between two steps, and raises to end the work."""

    def __init__(self, registry: RegistryService, client: RegistryClient, go_on: Callable[[], None]) -> None:
        self._registry, self._client, self._go_on = registry, client, go_on

    def send(self, source: str, target: str, tag: str, digest: Digest) -> Sent:
        """Make `target` hold the image of `source` with all that refers to it, under its tag."""
        sent = Sent()
        top = self._tree(source, target, digest, sent, keep_top=False)
        sent.size = top.size
        queue = list(sent.manifests)
        while queue:
            subject = queue.pop(0)
            for referrer in self._registry.referrers(source, subject):
                if referrer.digest not in sent.manifests:
                    before = set(sent.manifests)
                    found = self._tree(source, target, referrer.digest, sent, keep_top=True)
                    sent.manifests[found.digest] = str(subject)
                    queue += [each for each in sent.manifests if each not in before]
                    self._client.put_referrer(
                        target, subject, found.raw, found.media_type, referrer.artifact_type, referrer.annotations
                    )
        self._client.put_manifest(target, tag, top.raw, top.media_type)
        return sent

    def has(self, target: str, tag: str, digest: Digest) -> bool:
        """Does the tag stand there as it was sent?"""
        self._go_on()
        try:
            return self._client.manifest(target, tag).digest == digest
        except RemoteNotFound:
            return False

    def take_away(self, target: str, tag: str, manifests: Sequence[tuple[Digest, str]], stays: Iterable[Digest]) -> str:
        """Remove manifests, the topmost first; those that stay are left, with their lists. Returns why the registry
        keeps some, or an empty text."""
        staying, kept = set(stays), ""
        going = [(digest, subject) for digest, subject in manifests if digest not in staying]
        lists: dict[str, set[Digest]] = {}
        for digest, subject in going:
            if subject:
                lists.setdefault(subject, set()).add(digest)
        for subject, named in lists.items():
            kept = self._removed(lambda s=subject, n=named: self._client.unlist(target, Digest(s), n)) or kept  # type: ignore[misc]
        if tag and manifests and manifests[0][0] in staying:
            kept = self._removed(lambda: self._client.delete_manifest(target, tag)) or kept
        for digest, _ in going:
            kept = self._removed(lambda d=digest: self._client.delete_manifest(target, d)) or kept  # type: ignore[misc]
            faults.point("mirror.manifest.removed")
        return kept

    # ---- inside

    def _removed(self, act: Callable[[], None]) -> str:
        self._go_on()
        try:
            act()
        except RemoteNotFound:
            pass
        except (RemoteInvalid, RemoteDenied, RemoteConflict) as error:
            return error.message
        return ""

    def _tree(self, source: str, target: str, digest: Digest, sent: Sent, *, keep_top: bool) -> StoredManifest:
        """Send what a manifest needs, and itself unless its sender does that; returns it."""
        found = self._registry.manifest(source, digest)
        sent.manifests.setdefault(digest, "")
        if len(sent.manifests) > MOST_MANIFESTS:
            raise Invalid(f"more than {MOST_MANIFESTS} manifests belong to one tag of {source}")
        parsed = parse_manifest(found.raw, found.media_type)
        needed = needs_of(parsed)
        for child, kind in needed.items():
            if kind == "manifest":
                self._tree(source, target, child, sent, keep_top=False)
        self._go_on()
        if self._client.has_manifest(target, digest):
            return found
        for child, kind in needed.items():
            if kind == "blob":
                size = self._registry.blob(source, child).size
                self._client.push_blob(target, child, size, lambda c=child: self._registry.open_blob(source, c))  # type: ignore[misc]
                faults.point("mirror.blob.sent")
                self._go_on()
        if not keep_top:
            self._client.put_manifest(target, str(digest), found.raw, found.media_type)
            faults.point("mirror.manifest.sent")
        return found
