"""A publisher in the test's own process: pushes and signs through the wire in tenths of a second, without docker."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from customhouse.registry.client import RegistryClient
from customhouse.testing.images import BuiltImage, File, Layer, layer, minimal_server_image
from customhouse.transport import Credentials, Tls, Transport
from customhouse.trust.key_directory import KeyDirectory
from customhouse.trust.names import Gun
from customhouse.trust.publish import Published, TrustPublisher
from tests.hub_process import PASSWORD, HubProcess


def image(text: str = "1", *, root: bool = False, more: tuple[Layer, ...] = (), **changes: object) -> BuiltImage:
    """A small image that passes every check; `text` makes it another one, `root` makes it need a review."""
    changes = {**({"User": "root"} if root else {}), **changes}
    return minimal_server_image(files={"etc/release": File(text.encode())}, more=more, **changes)


def filler(size: int, text: str = "") -> Layer:
    """A layer of so many bytes that do not compress."""
    from hashlib import shake_256

    return layer({f"data/{text or size}": File(shake_256(f"{size}{text}".encode()).digest(size))}, compression="none")


@dataclass
class Publisher:
    """One member of a publisher with keys of their own; `hub` may be restarted meanwhile."""

    hub: HubProcess
    keys: Path
    name: str = "acme"
    user: str = "alice"
    login: Credentials | None = field(default=None)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def join(self) -> None:
        """The user, the publisher, and a token of the user's for the wire: secrets of tokens are not hashed slowly."""
        self.hub.add_publisher(self.name, self.user)
        made = self.hub.api(
            "POST", "/api/v1/tokens",
            {"name": "ci", "publisher": self.name, "scope": ["pull", "push"], "expires_seconds": 30 * 86400},
            user=self.user,
        )
        self.login = Credentials(made["username"], made["secret"])

    def enrol(self) -> None:
        """All that is needed to publish."""
        self.join()
        self.enrol_key()

    def enrol_key(self) -> None:
        pem = self.directory.root_key().public.pem.decode()
        self.hub.api("POST", f"/api/v1/publishers/{self.name}/roots", {"certificate": pem})

    @property
    def directory(self) -> KeyDirectory:
        return KeyDirectory(self.keys, lambda role, key_id, new: b"made up")

    @contextmanager
    def transport(self, user: str = "") -> Iterator[Transport]:
        """To the hub as this publisher's token, or as a person, who may also delete."""
        person = Credentials(user or self.user, PASSWORD)
        made = Transport(
            self.hub.url, credentials=person if user else self.login or person, tls=Tls(ca_file=self.hub.ca)
        )
        try:
            yield made
        finally:
            made.close()

    def repository(self, name: str) -> str:
        return f"staging/{self.name}/{name}"

    def push(self, name: str, tag: str, built: BuiltImage, *, chunk: int = 16 * 1024 * 1024) -> None:
        """Content and manifest, not signed."""
        with self.transport() as transport:
            client = RegistryClient(transport, chunk=chunk)
            repository = self.repository(name)
            for member in built.members:
                for digest, raw in member.blobs.items():
                    client.push_blob(repository, digest, len(raw), lambda d=digest: built.content(d))
                client.put_manifest(repository, member.digest, member.manifest_raw, member.media_type)
            if not built.members:
                for digest, raw in built.blobs.items():
                    client.push_blob(repository, digest, len(raw), lambda d=digest: built.content(d))
            client.put_manifest(repository, tag, built.manifest_raw, built.media_type)

    def sign(self, name: str, tag: str, built: BuiltImage) -> Published:
        with self.transport() as transport:
            return self.trust(transport).sign_tag(
                self.gun(name), tag, built.digest, len(built.manifest_raw)
            )

    def unsign(self, name: str, tag: str) -> Published:
        with self.transport() as transport:
            return self.trust(transport).remove_tag(self.gun(name), tag)

    def release(self, name: str, tag: str, built: BuiltImage) -> str:
        """Push and sign; returns the staging reference without its host."""
        self.push(name, tag, built)
        self.sign(name, tag, built)
        return f"{self.repository(name)}:{tag}"

    def delete_manifest(self, name: str, reference: str) -> None:
        with self.transport(self.user) as transport:
            RegistryClient(transport).delete_manifest(self.repository(name), reference)

    def delete_trust(self, name: str) -> None:
        """Administrators may."""
        gun = self.gun(name)
        with self.transport("admin") as transport:
            transport.request(
                "DELETE", f"/v2/{gun}/_trust/tuf/", scopes=(f"repository:{gun}:*",), expect=(200, 202, 204)
            )

    def gun(self, name: str) -> Gun:
        return Gun.parse(f"{self.hub.host}/{self.repository(name)}")

    def trust(self, transport: Transport) -> TrustPublisher:
        return TrustPublisher(transport, self.directory, self.clock)
