"""What people do with a hub, cut anywhere and taken up again.

A scenario prepares undisturbed, acts until everything has come to rest, settles (what a person or program would
repeat after an error, no more), and says what must then be true, whether or not it was cut.
"""

import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from customhouse.oci.digest import Digest
from customhouse.registry.client import RegistryClient
from customhouse.remote import RemoteError
from customhouse.testing.images import BuiltImage, index
from customhouse.trust.client import Anchor, TrustClient
from tests.hub_process import PASSWORD, Refused
from tests.journeys.faults.site import Site
from tests.publisher import Publisher, filler, image

RESTS = ("published", "rejected", "failed", "superseded", "withdrawn", "awaiting_review", "awaiting_enrolment")


class Scenario:
    """One thing that people do."""

    most = 1000  # passages of one point that it surely has, whatever else is in the hub

    def __init__(self, site: Site) -> None:
        self.site, self.hub, self.publisher = site, site.hub, site.publisher
        self.name = site.name(type(self).__name__.lower())

    def prepare(self) -> None: ...
    def act(self) -> None: ...
    def settle(self) -> None: ...
    def check(self) -> None: ...

    def cut(self, point: str, passage: int) -> None:
        """Act, and be killed at a passage of a point."""
        self.site.killed_at(point, passage, self.act)

    def wait(self, tag: str, *states: str) -> dict[str, Any]:
        return self.hub.wait_for(f"staging/acme/{self.name}:{tag}", *states, seconds=60)


class Release(Scenario):
    """Push, sign, verify, examine, publish: a new repository."""

    def prepare(self) -> None:
        self.built = image(self.name)

    def act(self) -> None:
        self.publisher.release(self.name, "1", self.built)
        self.wait("1", *RESTS)

    def settle(self) -> None:
        self.act()

    def check(self) -> None:
        assert self.wait("1", "published")["digest"] == self.built.digest
        assert len(self.site.submissions(self.name)) == 1
        self.site.assert_published_once(self.name, "1", self.built)


class Update(Release):
    """The same tag once more, with another image."""

    def prepare(self) -> None:
        self.before = image(self.name + " before")
        self.site.hub.let_move(f"acme/{self.name}")
        self.site.publish(self.name, "1", self.before)
        self.built = image(self.name)

    def check(self) -> None:
        assert [item["state"] for item in self.site.submissions(self.name)] == ["published", "published"]
        self.site.assert_published_once(self.name, "1", self.built, releases=2)


class ManyPlatforms(Release):
    """An index of two images, pushed in chunks."""

    def prepare(self) -> None:
        members = [image(f"{self.name} {number}", more=(filler(40_000, self.name),)) for number in range(2)]
        self.built: BuiltImage = index(members, platforms=["linux/amd64", "linux/arm64"])

    def act(self) -> None:
        self.publisher.push(self.name, "1", self.built, chunk=15_000)
        self.publisher.sign(self.name, "1", self.built)
        self.wait("1", *RESTS)

    def check(self) -> None:
        # The second image's config says amd64: the checks see that, people decide.
        found = self.wait("1", *RESTS)
        assert found["state"] in ("published", "awaiting_review", "rejected")
        assert len(self.site.submissions(self.name)) == 1


class Remote(Release):
    """An image that is signed at another server: registered, submitted, fetched, published; then forgotten there."""

    def prepare(self) -> None:
        self.vendor = self.site.vendor()
        self.built = image(self.name)
        self.source = f"{self.vendor.hub.host}/{self.vendor.release(self.name, '1', self.built)}"

    def act(self) -> None:
        login = self.vendor.login
        assert login is not None
        server = {"publisher": "acme", "url": self.vendor.hub.url, "ca": self.vendor.hub.ca.read_text()}
        self.hub.api("POST", "/api/v1/sources", server | {"username": login.username, "secret": login.secret})
        asked = {"source": self.source, "repository": f"acme/{self.name}"}
        self.hub.api("POST", "/api/v1/submissions", asked, user="alice")
        self.wait("1", *RESTS)
        self.hub.api("DELETE", f"/api/v1/sources/acme/{self.vendor.hub.host}")

    def check(self) -> None:
        super().check()
        assert self.hub.api("GET", "/api/v1/sources")["sources"] == []
        reference = f"{self.hub.host}/staging/acme/{self.name}:1"
        assert len(self.site.audit("submission.receive", reference)) == 1
        assert len(self.site.audit("submission.verify", reference)) == 1


class Approval(Scenario):
    """A person lets an image pass."""

    def prepare(self) -> None:
        self.built = image(self.name, Healthcheck=None)
        self.publisher.release(self.name, "1", self.built)
        self.id = self.wait("1", "awaiting_review")["id"]

    def decide(self) -> None:
        self.hub.api("POST", f"/api/v1/submissions/{self.id}/approve", {"reason": "known"}, user="carol")

    def act(self) -> None:
        self.decide()
        self.wait("1", *RESTS)

    def settle(self) -> None:
        if self.wait("1", *RESTS)["state"] == "awaiting_review":
            self.act()

    def check(self) -> None:
        found = self.wait("1", "published")
        assert found["approvals"] == ["carol"]
        reference = f"{self.hub.host}/staging/acme/{self.name}:1"
        assert len(self.site.audit("submission.approve", reference)) == 1
        self.site.assert_published_once(self.name, "1", self.built)


class Rejection(Approval):
    """A person refuses it."""

    def decide(self) -> None:
        self.hub.api("POST", f"/api/v1/submissions/{self.id}/reject", {"reason": "no"}, user="carol")

    def check(self) -> None:
        assert self.wait("1", "rejected")["reason"].endswith("by carol: no")
        reference = f"{self.hub.host}/staging/acme/{self.name}:1"
        assert len(self.site.audit("submission.rejected", reference)) == 1
        assert self.site.official(self.name) is None


class Retry(Approval):
    """Examined again on a person's word."""

    def decide(self) -> None:
        self.hub.api("POST", f"/api/v1/submissions/{self.id}/retry", {"reason": ""}, user="carol")

    def settle(self) -> None:
        if not self.retried():
            self.decide()
        self.wait("1", "awaiting_review")

    def retried(self) -> bool:
        return bool(self.site.audit("submission.received", f"{self.hub.host}/staging/acme/{self.name}:1"))

    def check(self) -> None:
        assert self.wait("1", *RESTS)["state"] == "awaiting_review"
        reference = f"{self.hub.host}/staging/acme/{self.name}:1"
        assert len(self.site.audit("submission.received", reference)) == 1
        assert len(self.site.audit("submission.judge", reference)) == 2


class Enrolment(Scenario):
    """A publisher's root key is confirmed, and what waited for it goes on."""

    def prepare(self) -> None:
        self.owner = self.site.name("house")
        self.stranger = Publisher(self.hub, self.site.folder / self.owner, self.owner, f"user-{self.owner}")
        self.stranger.join()
        self.built = image(self.name)
        self.reference = self.stranger.release(self.name, "1", self.built)
        self.hub.wait_for(self.reference, "awaiting_enrolment")

    def act(self) -> None:
        repository = f"staging/{self.owner}/{self.name}"
        self.hub.api("POST", f"/api/v1/publishers/{self.owner}/roots", {"repository": repository})
        self.hub.wait_for(self.reference, *(set(RESTS) - {"awaiting_enrolment"}))

    def settle(self) -> None:
        self.act()

    def check(self) -> None:
        assert len(self.site.audit("root.enrol", self.owner)) == 1
        self.hub.wait_for(self.reference, "published")
        self.site.assert_published_once(self.name, "1", self.built, publisher=self.owner)


class Withdrawal(Scenario):
    """What was official is no longer."""

    def prepare(self) -> None:
        self.built = image(self.name)
        self.id, _ = self.site.publish(self.name, "1", self.built)

    def act(self) -> None:
        self.hub.api("POST", f"/api/v1/submissions/{self.id}/withdraw", {"reason": "a flaw"})

    def settle(self) -> None:
        if self.wait("1", *RESTS)["state"] != "withdrawn":
            self.act()

    def check(self) -> None:
        assert self.wait("1", *RESTS)["state"] == "withdrawn"
        assert len(self.site.audit("publication.withdraw", f"{self.hub.host}/acme/{self.name}:1")) == 1
        trusted = self.site.official(self.name)
        assert trusted is not None
        assert trusted.tags == {}
        assert trusted.versions["targets/releases"] == 2  # type: ignore[index]
        assert self.site.tag(self.name, "1") is None
        try:
            self.site.pull(self.name, self.built.digest)
        except RemoteError as error:
            assert (error.status, "a flaw" in error.message) == (403, True)
        else:
            raise AssertionError("the withdrawn digest can be pulled")


class Mount(Scenario):
    """A layer that another repository of the publisher has; uploads that are given up or wrong."""

    def prepare(self) -> None:
        self.built = image("mounted")
        self.publisher.push("mountsource", "1", self.built)

    def act(self) -> None:
        target = self.publisher.repository(self.name)
        with self.publisher.transport() as transport:
            client = RegistryClient(transport)
            for digest, raw in self.built.blobs.items():
                client.push_blob(
                    target, digest, len(raw), lambda d=digest: self.built.content(d),
                    mount_from=self.publisher.repository("mountsource"),
                )
            scope = (f"repository:{target}:pull,push",)
            begun = transport.request("POST", f"/v2/{target}/blobs/uploads/", scopes=scope, body=b"", expect=(202,))
            transport.request("DELETE", begun.headers["location"], scopes=scope, expect=(204,))
            try:
                client.push_blob(target, Digest.of(b"right"), 5, lambda: io.BytesIO(b"wrong"))
            except RemoteError as error:
                assert error.code == "DIGEST_INVALID"
        self.publisher.release(self.name, "1", self.built)
        self.wait("1", *RESTS)

    def settle(self) -> None:
        self.act()

    def check(self) -> None:
        self.wait("1", "published")
        self.site.assert_published_once(self.name, "1", self.built)


class Deletion(Scenario):
    """A publisher clears staging: tag, manifest, blob, trust metadata, the rest. What is official stays."""

    def prepare(self) -> None:
        self.built = image(self.name)
        self.site.publish(self.name, "1", self.built)
        self.publisher.push(self.name, "2", image(self.name + " 2"))

    def act(self) -> None:
        repository = self.publisher.repository(self.name)
        with self.publisher.transport(self.publisher.user) as transport:
            client, scope = RegistryClient(transport), (f"repository:{repository}:*",)
            _gone(lambda: client.delete_manifest(repository, "2"))
            _gone(lambda: client.delete_manifest(repository, self.built.digest))
            for digest in self.built.blobs:
                path = f"/v2/{repository}/blobs/{digest}"
                transport.request("DELETE", path, scopes=scope, expect=(202, 404, 405, 409))
        self.publisher.delete_trust(self.name)
        _gone(lambda: self.hub.api("DELETE", f"/api/v1/repositories/{repository}", user=self.publisher.user))

    def settle(self) -> None:
        self.act()

    def check(self) -> None:
        gun = self.publisher.gun(self.name)
        assert len(self.site.audit("trust.delete", gun)) == 1
        self.site.assert_published_once(self.name, "1", self.built)
        found = self.hub.latest(f"staging/acme/{self.name}:1")
        assert found["state"] == "published"
        assert len(self.site.audit("repository.delete", self.publisher.repository(self.name))) == 1


class Advisories(Scenario):
    """An import of advisories in several batches."""

    def prepare(self) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for number in range(2500):
                record = {
                    "id": f"TEST-{self.name}-{number}", "modified": "2026-11-01T00:00:00Z", "summary": "made up",
                    "affected": [{
                        "package": {"ecosystem": "PyPI", "name": f"package{number}"},
                        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2"}]}],
                    }],
                }
                archive.writestr(f"{record['id']}.json", json.dumps(record))
        self.packed = packed.getvalue()

    def act(self) -> None:
        import urllib3

        pool = urllib3.PoolManager(ca_certs=str(self.hub.ca), retries=False, timeout=60)
        session = self.hub.sessions["admin", "a-made-up-password"]
        answer = pool.request(
            "POST", f"{self.hub.url}/api/v1/advisories?name=all.zip", body=self.packed,
            headers={"authorization": f"Bearer {session}", "content-type": "application/zip"},
        )
        assert answer.status in (200, 201), answer.data

    def settle(self) -> None:
        self.act()

    def check(self) -> None:
        status = self.hub.api("GET", "/api/v1/advisories/status")
        known = {item["ecosystem"]: item for item in status["ecosystems"]}
        assert known["PyPI"]["records"] >= 2500
        assert known["PyPI"]["imported"]


class FirstStart(Scenario):
    """A hub that never ran: keys, certificates, tables, administrator."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.own = Site()
        self.own.hub.settings["admin_password"] = ""

    def act(self) -> None:
        self.own.hub.start()

    def cut(self, point: str, passage: int) -> None:
        self.own.order(f"kill {point}:{passage}")
        self.own.hub.start(wait=False)
        assert self.own.hub.wait_dead() == -9, self.own.hub.log.read_text()
        self.own.order()
        self.site.kills[point] = self.site.kills.get(point, 0) + 1

    def settle(self) -> None:
        if self.own.hub.process is None or self.own.hub.process.poll() is not None:
            self.own.hub.start()

    def check(self) -> None:
        password = (self.own.hub.data / "admin-password").read_text().strip()
        try:
            assert self.own.hub.api("GET", "/api/v1/doctor?rehash=true", password=password)["breaks"] == []
        finally:
            self.own.close()

    def passed(self) -> list[str]:
        return self.own.passed()


class Upkeep(Scenario):
    """What the hub does by itself when days have passed; `verb` of upkeep.py, with the hub's own clock set ahead."""

    verb = ""
    most = 2

    def prepare(self) -> None:
        self.id, self.built = self.site.publish(self.name, "1")
        self.publisher.push(self.name, "never-signed", image(self.name + " unsigned"))
        repository = self.publisher.repository(self.name)
        with self.publisher.transport() as transport:
            client = RegistryClient(transport)
            loose = self.name.encode()
            client.push_blob(repository, Digest.of(loose), len(loose), lambda: io.BytesIO(loose))
            scope = (f"repository:{repository}:pull,push",)
            begun = transport.request("POST", f"/v2/{repository}/blobs/uploads/", scopes=scope, body=b"", expect=(202,))
            transport.request("PATCH", begun.headers["location"], scopes=scope, body=b"half", expect=(202,))

    def program(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(Path(__file__).with_name("upkeep.py")), self.verb, str(self.hub.data), self.hub.url],
            capture_output=True, text=True, timeout=60, env=self.hub.environment(),
        )

    def act(self) -> None:
        self.hub.stop()
        try:
            done = self.program()
            assert done.returncode == 0, done.stderr
        finally:
            self.hub.start()

    def cut(self, point: str, passage: int) -> None:
        self.hub.stop()
        self.site.order(f"kill {point}:{passage}")
        done = self.program()
        self.site.order()
        assert done.returncode == -9, f"not killed at {point}: {done.stderr}"
        self.site.kills[point] = self.site.kills.get(point, 0) + 1
        self.hub.start()

    def settle(self) -> None:
        self.act()


class Sweep(Upkeep):
    """Content that nothing uses goes; nothing else does."""

    verb = "sweep"

    def prepare(self) -> None:
        super().prepare()
        repository = self.publisher.repository(self.name)
        lonely = json.dumps({
            **json.loads(self.built.manifest_raw), "artifactType": "application/vnd.lonely",
            "subject": {"mediaType": self.built.media_type, "digest": Digest.of(self.name.encode()), "size": 1},
        }).encode()
        self.lonely = Digest.of(lonely)
        with self.publisher.transport() as transport:
            RegistryClient(transport).put_manifest(repository, self.lonely, lonely, self.built.media_type)

    def check(self) -> None:
        self.site.assert_published_once(self.name, "1", self.built)
        with self.publisher.transport() as transport:
            client, repository = RegistryClient(transport), self.publisher.repository(self.name)
            assert client.blob_size(repository, Digest.of(self.name.encode())) is None
            assert client.has_manifest(repository, "never-signed")
            assert not client.has_manifest(repository, self.lonely)
        assert list((self.hub.data / "blobs" / "uploads").iterdir()) == []


class Renewal(Upkeep):
    """Timestamps in the second half of their life are signed anew, once."""

    verb = "renew"

    def check(self) -> None:
        trusted = self.site.official(self.name)
        assert trusted is not None
        assert trusted.timestamp.version == 2
        assert trusted.tags["1"].digest == self.built.digest


class Rotation(Upkeep):
    """The hub's root and release keys are replaced: what is official stays so, under the new keys."""

    verb = "rotate"

    def prepare(self) -> None:
        super().prepare()
        self.before = self.site.root()

    def check(self) -> None:
        assert self.site.root() != self.before
        trusted = self.site.official(self.name)
        assert trusted is not None
        assert trusted.root_keys == {self.site.root()}
        assert trusted.tags["1"].digest == self.built.digest
        assert trusted.signers("1") == ["customhouse"]
        self.site.pull(self.name, "1")


class Mirrored(Scenario):
    """Two images kept at another server; the root there is rotated, one image withdrawn, then the mirror forgotten."""

    most = 3  # how many runs it takes depends on when the hub looks

    def prepare(self) -> None:
        self.vendor = self.site.vendor()
        self.kept, self.gone = image(self.name + " kept"), image(self.name + " gone")
        self.site.publish(self.name, "1", self.kept)
        self.id, _ = self.site.publish(self.name, "2", self.gone)

    def act(self) -> None:
        there = self.vendor.hub
        self.hub.api(
            "POST", "/api/v1/mirrors",
            {
                "name": self.name, "url": there.url, "trust_url": there.url, "ca": there.ca.read_text(),
                "username": self.vendor.user, "secret": PASSWORD, "repositories": [f"acme/{self.name}"],
                "target": f"staging/{self.vendor.name}/{{repository}}",
            },
        )
        self.ran()
        self.hub.api("POST", f"/api/v1/mirrors/{self.name}/rotate", {"role": "root"})
        self.ran()
        if self.wait("2", *RESTS)["state"] == "published":
            self.hub.api("POST", f"/api/v1/submissions/{self.id}/withdraw", {"reason": "a flaw"})
        self.ran()
        assert self.signed() == {"1": self.kept.digest}
        _gone(lambda: self.hub.api("DELETE", f"/api/v1/mirrors/{self.name}"))

    def ran(self) -> None:
        """What is wanted is there."""
        deadline = time.monotonic() + 60
        while True:
            shown = self.hub.api("GET", f"/api/v1/mirrors/{self.name}")
            done = not shown["asked"] and not shown["running"] and all(each["as_wanted"] for each in shown["states"])
            if done and shown["states"]:
                return
            assert time.monotonic() < deadline, shown
            time.sleep(0.1)

    def signed(self) -> dict[str, Digest]:
        gun = self.vendor.gun(f"acme/{self.name}")
        with self.vendor.transport() as transport:
            trusted = TrustClient(transport).fetch(gun, Anchor(), datetime.now(UTC))
        assert trusted.signers("1") == ["customhouse"]
        return {tag: each.digest for tag, each in trusted.tags.items()}

    def settle(self) -> None:
        self.act()

    def check(self) -> None:
        assert self.signed() == {"1": self.kept.digest}
        repository = self.vendor.repository(f"acme/{self.name}")
        with self.vendor.transport() as transport:
            client = RegistryClient(transport)
            assert client.manifest(repository, "1").raw == self.kept.manifest_raw
            for digest, raw in self.kept.blobs.items():
                assert client.blob(repository, digest) == raw
            assert client.tags(repository) == ["1"]
            assert not client.has_manifest(repository, self.gone.digest)
        assert self.hub.api("GET", "/api/v1/mirrors")["mirrors"] == []
        assert self.site.audit("mirror.publish", f"{self.vendor.gun(f'acme/{self.name}')}:1")


def _gone(delete: Callable[[], None]) -> None:
    try:
        delete()
    except RemoteError as error:
        if error.status != 404:
            raise
    except Refused as error:
        if error.status != 404:
            raise


ALL: tuple[type[Scenario], ...] = (
    Release, Update, ManyPlatforms, Approval, Rejection, Retry, Enrolment, Withdrawal, Mount, Deletion, Advisories,
    Sweep, Renewal, Rotation, FirstStart, Remote, Mirrored,
)
