"""A mirror of a hub, as those see it who run it and those who pull from it."""

import threading
from datetime import UTC, datetime

from customhouse.keys import PublicKey
from customhouse.oci.digest import Digest
from customhouse.registry.client import RegistryClient
from customhouse.testing.images import BuiltImage, encode
from customhouse.trust.client import Anchor, TrustClient
from customhouse.trust.verify import TrustedRepository
from tests.peers.vendor import SECRET, USER, Vendor
from tests.rooms import ADMIN, Rooms

SBOM = "application/vnd.example.sbom+json"


class Mirror:
    """One mirror of a hub, and what the world sees there."""

    def __init__(self, hub: Rooms, elsewhere: Vendor, name: str, **settings: object) -> None:
        self.hub, self.elsewhere, self.name = hub, elsewhere, name
        self.registry, self.trust = elsewhere.registry_url, elsewhere.trust_server
        self.add(**settings)

    def add(self, **changes: object) -> None:
        asked = {
            "trust_url": self.trust, "ca": self.elsewhere.ca, "username": USER, "secret": SECRET,
            "target": f"{self.name}/{{repository}}",
        }
        self.hub.replication.add(ADMIN, self.name, self.registry, **asked | changes)  # type: ignore[arg-type]

    def run(self) -> str:
        """One run; returns what went wrong."""
        assert self.hub.mirroring.run(self.name)
        shown = self.hub.replication.show(ADMIN, self.name)
        return str(shown["error"] or next((each["error"] for each in shown["states"] if each["error"]), ""))

    def turn(self) -> dict[str, str]:
        """What the hub does by itself every few seconds, to its end; returns the states."""
        self.hub.mirroring.start_due()
        for thread in threading.enumerate():
            if thread.name == f"mirror-{self.name}":
                thread.join(30)
        return self.states()

    def states(self) -> dict[str, str]:
        shown = self.hub.replication.show(ADMIN, self.name)
        return {f"{each['repository']}:{tag['tag']}": tag["state"] for each in shown["states"] for tag in each["tags"]}

    def client(self) -> RegistryClient:
        return RegistryClient(self.elsewhere.transport(self.registry))

    def root_key(self) -> str:
        """Of the certificate that `mirror show` prints."""
        certificate = self.hub.replication.show(ADMIN, self.name)["root_certificate"]
        return PublicKey.of_certificate(certificate.encode()).canonical_id

    def signed(self, repository: str = "acme/web", anchor: Anchor | None = None) -> TrustedRepository:
        """As somebody sees it who pinned that root, or another one."""
        gun = self.elsewhere.gun(f"{self.name}/{repository}")
        client = TrustClient(self.elsewhere.transport(self.trust))
        return client.fetch(gun, anchor or Anchor(enrolled=frozenset({self.root_key()})), datetime.now(UTC))


def attest(hub: Rooms, built: BuiltImage, text: str = "sbom", repository: str = "acme/web") -> Digest:
    """Something that refers to an official image, in the official repository."""
    body = encode({"sbom": text})
    empty = b"{}"
    raw = encode(
        {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": SBOM,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(Digest.of(empty)), "size": 2},
            "layers": [{"mediaType": SBOM, "digest": str(Digest.of(body)), "size": len(body)}],
            "subject": {
                "mediaType": built.media_type, "digest": str(built.digest), "size": len(built.manifest_raw)
            },
            "annotations": {"org.example.of": text},
        }
    )
    with hub.database.write() as tx:
        for each in (empty, body):
            hub.blobs.add(each)
            hub.registry.attach_blob(tx, repository, Digest.of(each), hub.clock())
    return hub.registry.push_manifest(repository, str(Digest.of(raw)), raw, None).digest
