"""People with key directories of their own before one trust server, in the test's process."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from customhouse.keys import PublicKey
from customhouse.oci.digest import Digest
from customhouse.transport import Tls, Transport
from customhouse.trust.client import Anchor, TrustClient
from customhouse.trust.key_directory import KeyDirectory
from customhouse.trust.names import Gun
from customhouse.trust.publish import TrustPublisher
from customhouse.trust.verify import TrustedRepository

ONE, TWO, THREE = (Digest.of(text) for text in (b"one", b"two", b"three"))
PASSPHRASE = b"correct horse battery"


def real_clock() -> datetime:
    return datetime.now(UTC)


class Server(Protocol):
    """A trust server, by its host and the CA that vouches for it."""

    host: str
    ca: Path


@dataclass
class Signatory:
    """One person: a trust directory and what signs with it."""

    served: Server
    home: Path
    clock: Callable[[], datetime] = real_clock
    name: str = "web"

    @property
    def gun(self) -> Gun:
        return Gun.parse(f"{self.served.host}/staging/acme/{self.name}")

    @property
    def keys(self) -> KeyDirectory:
        return KeyDirectory(self.home / "trust", lambda role, key_id, new: PASSPHRASE)

    @property
    def publisher(self) -> TrustPublisher:
        transport = Transport(f"https://{self.served.host}", tls=Tls(ca_file=self.served.ca))
        return TrustPublisher(transport, self.keys, self.clock)

    def key(self, role: str) -> PublicKey:
        """A new key of this person's."""
        return self.keys.create(role).public

    def fresh(self) -> TrustedRepository:
        """What somebody sees who has never looked before."""
        return TrustClient(self.publisher.transport).fetch(self.gun, Anchor(), self.clock())
