"""The hub as a client of the sources: metadata and content, each over the publisher's own registration."""

from datetime import datetime

from customhouse.enrolment.origin import Origin
from customhouse.oci.digest import Digest
from customhouse.registry.client import RegistryClient
from customhouse.registry.importer import Fetched, Importer
from customhouse.registry.service import RegistryService
from customhouse.sources.service import SECONDS, SourcesService
from customhouse.trust.client import Anchor, TrustClient
from customhouse.trust.verify import TrustedRepository


class Remote:
    """What other servers have, for one publisher at a time; an image of more than `most` bytes is not fetched."""

    def __init__(self, sources: SourcesService, registry: RegistryService, most: int) -> None:
        self._sources, self._importer = sources, Importer(registry, most)

    def fetch(self, publisher: str, origin: Origin, anchor: Anchor, now: datetime) -> TrustedRepository:
        """The trust metadata of an origin, verified."""
        with self._sources.open(publisher, origin.asked) as transport:
            return TrustClient(transport, seconds=SECONDS).fetch(origin.gun, anchor, now)

    def bring(self, publisher: str, origin: Origin, repository: str, digest: Digest, length: int) -> Fetched:
        """The content of an origin, into a repository of ours."""
        with self._sources.open(publisher, origin.gun.host) as transport:
            client = RegistryClient(transport)
            return self._importer.bring(client, origin.gun.repository, repository, digest, length)
