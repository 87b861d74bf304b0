"""A hub with its people, under orders: it dies or stands still at a named point, and is started again on its data."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from customhouse.oci.digest import Digest
from customhouse.oci.manifest import parse_manifest
from customhouse.registry.client import RegistryClient
from customhouse.remote import RemoteError
from customhouse.testing.images import BuiltImage
from customhouse.transport import Tls, Transport
from customhouse.trust.client import Anchor, NoTrustData, TrustClient
from customhouse.trust.names import Gun, RoleName
from customhouse.trust.verify import TrustedRepository
from tests.hub_process import HubProcess
from tests.publisher import Publisher, image

DEATH_SECONDS = 30


class Site:
    """One hub for many kills: what an earlier one left behind is part of the test of the next."""

    def __init__(self, database: str = "", *, policy: str = "", **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ch-faults-"))
        self.orders = self.folder / "orders"
        extra = {"database": database} if database else {}
        self.hub = HubProcess(self.folder / "data", settings={"fault": f"@{self.orders}", **extra, **settings})
        if policy:
            (self.folder / "policy.toml").write_text(policy)
            self.hub.arguments = ("--policy", str(self.folder / "policy.toml"))
        self.publisher = Publisher(self.hub, self.folder / "keys")
        self.kills: dict[str, int] = {}
        self._names, self._nonces = count(1), count(1)
        self._vendor: Publisher | None = None

    def open(self) -> "Site":
        self.hub.start()
        for name in ("carol", "dave"):
            self.hub.add_user(name, "certifier")
        self.publisher.enrol()
        return self

    def vendor(self) -> Publisher:
        """Somebody who publishes at another hub, which is not disturbed; acme vouches for his key."""
        if self._vendor is None:
            elsewhere = HubProcess(self.folder / "elsewhere" / "data").start()
            self._vendor = Publisher(elsewhere, self.folder / "elsewhere" / "keys", "vendor", "victor")
            self._vendor.join()
            key = self._vendor.directory.root_key().public.canonical_id
            self.hub.api("POST", "/api/v1/publishers/acme/roots", {"key_ids": [key]})
        return self._vendor

    def close(self) -> None:
        self.hub.close()
        if self._vendor is not None:
            self._vendor.hub.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def name(self, kind: str) -> str:
        """A repository that nobody used."""
        return f"{kind}{next(self._names)}"

    # ---- orders

    def passed(self) -> list[str]:
        """Every passage of a point since `forget`, in order."""
        file = self.orders.with_name("orders.passed")
        return file.read_text().splitlines() if file.exists() else []

    def forget(self) -> None:
        self.orders.with_name("orders.passed").unlink(missing_ok=True)

    def order(self, *lines: str) -> None:
        """What the hub is to do at which point; nothing clears all orders."""
        new = self.orders.with_name("orders.new")
        new.write_text("".join(f"{line} {next(self._nonces)}\n" for line in lines))
        new.replace(self.orders)

    def killed_at(self, point: str, passage: int, act: Callable[[], object]) -> None:
        """Let `act` go on until the hub dies at a point; then start it again."""
        self.order(f"kill {point}:{passage}")
        try:
            act()
        except Exception:  # whatever a client meets when its server dies; what counts is what is left
            pass
        try:
            assert self.hub.wait_dead(DEATH_SECONDS) == -9, f"the hub ended by itself, not at {point}"
        finally:
            self.order()
        self.kills[point] = self.kills.get(point, 0) + 1
        self.hub.start()

    @contextmanager
    def held_at(self, point: str, passage: int = 1) -> Any:
        """The hub's thread that comes to the point stands there until the block ends; gives a function that waits for
        it to arrive."""
        self.forget()
        self.order(f"hold {point}:{passage}")

        def arrived(seconds: float = 30) -> None:
            deadline = time.monotonic() + seconds
            while self.passed().count(point) < passage:
                assert time.monotonic() < deadline, f"nothing came to {point}: {sorted(set(self.passed()))}"
                time.sleep(0.01)

        try:
            yield arrived
        finally:
            self.order()

    # ---- what the world sees

    def submissions(self, name: str, publisher: str = "acme") -> list[dict[str, Any]]:
        """Newest first."""
        path = f"/api/v1/submissions?repository=staging/{publisher}/{name}&limit=100"
        return list(self.hub.api("GET", path)["submissions"])

    def audit(self, action: str, subject: str, after: int = 0) -> list[dict[str, Any]]:
        """Entries about one thing."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.hub.api("GET", f"/api/v1/audit?after={after}&limit=1000")
            found += [item for item in page["entries"] if item["action"] == action and item["subject"] == subject]
            if page["next"] is None:
                return found
            after = int(page["next"])

    def consumer(self) -> Transport:
        return Transport(self.hub.url, tls=Tls(ca_file=self.hub.ca))

    def official(self, name: str, publisher: str = "acme") -> TrustedRepository | None:
        """The official repository as a consumer who pinned the hub's root sees it; None where nothing is signed."""
        transport, anchor = self.consumer(), Anchor(enrolled=frozenset({self.root()}))
        try:
            return TrustClient(transport).fetch(
                Gun.parse(f"{self.hub.host}/{publisher}/{name}"), anchor, datetime.now(UTC)
            )
        except NoTrustData:
            return None
        finally:
            transport.close()

    def root(self) -> str:
        """The key id of the hub's root, as a consumer pins it."""
        return str(self.hub.api("GET", "/api/v1/trust/bundle")["roots"][0]["key_id"])

    def pull(self, name: str, reference: str, publisher: str = "acme") -> None:
        """Every byte of an official image, compared with its digest. Raises RemoteError."""
        transport = self.consumer()
        try:
            client, repository = RegistryClient(transport), f"{publisher}/{name}"
            queue = [reference]
            while queue:
                found = client.manifest(repository, queue.pop())
                parsed = parse_manifest(found.raw, found.media_type)
                queue += [member.digest for member in parsed.manifests]
                for child in (*((parsed.config,) if parsed.config else ()), *parsed.layers):
                    client.blob(repository, child.digest)
        finally:
            transport.close()

    def tag(self, name: str, tag: str, publisher: str = "acme") -> Digest | None:
        transport = self.consumer()
        try:
            return RegistryClient(transport).manifest(f"{publisher}/{name}", tag).digest
        except RemoteError as error:
            if error.status == 404:
                return None
            raise
        finally:
            transport.close()

    # ---- what must hold

    def assert_published_once(
        self, name: str, tag: str, built: BuiltImage, *, releases: int = 1, publisher: str = "acme"
    ) -> None:
        """As if nothing had happened: one publication in the audit log, the tag, the signed targets at the version
        that they would have, and every byte there to be pulled."""
        host = self.hub.host
        said = self.audit("publication.publish", f"{host}/{publisher}/{name}:{tag}")
        mine = [entry for entry in said if entry["digest"] == str(built.digest)]
        assert len(mine) == 1, f"{len(mine)} publications of {name}:{tag} in the audit log"
        trusted = self.official(name, publisher)
        assert trusted is not None
        assert trusted.tags[tag].digest == built.digest
        assert trusted.tags[tag].length == len(built.manifest_raw)
        versions = {str(role): version for role, version in trusted.versions.items()}
        expected = {"root": 1, "targets": 1, "targets/releases": releases, "targets/customhouse": releases,
                    "snapshot": releases, "timestamp": releases}
        assert versions == expected
        assert trusted.signers(tag) == ["customhouse"]
        assert RoleName("targets/releases") == trusted.tags[tag].role
        assert self.tag(name, tag, publisher) == built.digest
        self.pull(name, tag, publisher)

    def assert_sound(self) -> None:
        """Every invariant, every byte, the whole audit chain; nobody's work is lost."""
        assert self.hub.doctor() == []
        assert self.hub.api("GET", "/api/v1/audit/verify")["entries"] > 0

    def publish(self, name: str, tag: str, built: BuiltImage | None = None) -> tuple[str, BuiltImage]:
        """A published image; (id of its submission, image)."""
        built = built or image(f"{name}:{tag}")
        reference = self.publisher.release(name, tag, built)
        return str(self.hub.wait_for(reference, "published")["id"]), built

    def data_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.hub.data.rglob("*") if os.path.isfile(file))
