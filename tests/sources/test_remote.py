"""From a vendor's registry and trust server to official, and every way in which that is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from customhouse.accounts.people import Principal
from customhouse.certification.submission import State, Submission
from customhouse.db import Database
from customhouse.enrolment.origin import Origin
from customhouse.enrolment.service import Untrusted
from customhouse.errors import Denied, Invalid
from customhouse.hub import Remote
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import parse_manifest
from customhouse.sources.service import SourceFailed, SourceUnknown
from customhouse.testing.images import BuiltImage, index
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun
from tests.conftest import Clock
from tests.peers.certificates import LoopbackCertificate
from tests.peers.vendor import SECRET, USER, Vendor
from tests.rooms import ADMIN, CARL, MACHINE, OTTO, PAULA, READER, Rooms, image
from tests.sources.conftest import register
from tests.test_transport import Server
from tests.trust.serving import serving

pytestmark = pytest.mark.needs("docker-registry", "notary-server", "notary")
WEB = "staging/acme/web"


def submit(hub: Rooms, vendor: Vendor, source: str, tag: str = "1") -> Submission:
    return hub.certification.submit(PAULA, Origin.parse(source, vendor.trust_server), WEB, tag)


def enrolled(hub: Rooms, vendor: Vendor) -> None:
    register(hub, vendor)
    hub.enrolment.enrol_key_ids(CARL, "acme", [vendor.root_key()])


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository at the vendor that no other test has."""
    return f"vendor/t{abs(hash(request.node.name)) % 10**9}"


def test_an_image_of_a_vendor_becomes_official_byte_for_byte(hub: Rooms, vendor: Vendor, name: str) -> None:
    built = index([image("amd64")], platforms=["linux/amd64"])
    source = vendor.release(name, "2.0", built)
    enrolled(hub, vendor)
    row = submit(hub, vendor, source)
    assert (row.state, row.source, row.tag, row.author) == (State.RECEIVED, source, "1", "paula")
    done = hub.go(row)
    assert done.state is State.PUBLISHED, done.reason
    assert hub.events(row.id) == ["receive", "verify", "fetch", "pin", "content", "run", "judge", "published"]
    official = hub.registry.resolve("acme/web", "1")
    assert (official.raw, official.media_type) == (built.manifest_raw, built.media_type)
    for digest, raw in built.members[0].blobs.items():
        with hub.registry.open_blob("acme/web", digest) as held:
            assert held.read() == raw
    assert hub.official().tags["1"].digest == built.digest
    said = hub.log("submission.receive")[-1].detail
    assert (said["source"], said["trust_server"]) == (source, vendor.trust_server)


def test_what_notary_signed_is_taken_as_well_and_its_rotations_are_followed(
    hub: Rooms, tls: LoopbackCertificate, tmp_path: Path
) -> None:
    vendor = Vendor(tmp_path / "vendor", tls)
    gun = vendor.gun("vendor/app")

    def release(tag: str, built: BuiltImage) -> None:
        vendor.push("vendor/app", tag, built)
        hashed = ("--sha256", built.digest.hex)
        vendor.notary_does("addhash", "-p", gun, tag, str(len(built.manifest_raw)), *hashed)

    try:
        key, first, second = vendor.root_key(), image("by notary"), image("by notary, later")
        vendor.notary_does("init", "-p", gun)
        release("1", first)
        register(hub, vendor)
        row = hub.go(submit(hub, vendor, f"{gun}:1"))
        assert row.state is State.AWAITING_ENROLMENT
        hub.enrolment.enrol_key_ids(CARL, "acme", [key])
        done = hub.go(row)
        assert (done.state, done.digest) == (State.PUBLISHED, first.digest)

        vendor.notary_does("key", "rotate", gun, "root")  # which the enrolled key vouches for
        release("2", second)
        done = hub.go(submit(hub, vendor, f"{gun}:2", "2"))
        assert (done.state, done.digest) == (State.PUBLISHED, second.digest)
        assert [each.id for each in hub.enrolment.roots("acme")] == [key] != [vendor.root_key()]
    finally:
        vendor.close()


def test_an_unknown_tag_is_said_at_once(hub: Rooms, vendor: Vendor, name: str) -> None:
    vendor.release(name, "1", image())
    enrolled(hub, vendor)
    with pytest.raises(Untrusted, match=f"{vendor.gun(name)}: the tag 9 is not signed"):
        submit(hub, vendor, f"{vendor.gun(name)}:9")


# ---- what is refused while somebody submits


def test_a_server_that_nobody_registered_is_not_asked(hub: Rooms, vendor: Vendor) -> None:
    source = f"{vendor.registry.host}/vendor/app:1"
    with pytest.raises(SourceUnknown, match=f"{vendor.trust_server} is no source of publisher acme") as refused:
        submit(hub, vendor, source)
    assert refused.value.hint == (
        f"An administrator registers it: customhouse source add {vendor.trust_server} --publisher acme"
    )
    register(hub, vendor, "other")
    with pytest.raises(SourceUnknown):  # registered for somebody else
        submit(hub, vendor, source)


def test_what_nobody_signed_is_no_submission(hub: Rooms, vendor: Vendor, name: str) -> None:
    vendor.push(name, "1", image())
    enrolled(hub, vendor)
    with pytest.raises(Untrusted, match=f"{vendor.gun(name)} has no trust metadata at {vendor.trust_server}"):
        submit(hub, vendor, f"{vendor.gun(name)}:1")
    assert hub.certification.active() == []


def test_metadata_that_has_expired_is_no_submission(hub: Rooms, vendor: Vendor, name: str, clock: Clock) -> None:
    source = vendor.release(name, "1", image())
    enrolled(hub, vendor)
    clock.advance(days=15)
    with pytest.raises(Untrusted, match=f"{vendor.gun(name)}: timestamp version 1 expired on"):
        submit(hub, vendor, source)


@pytest.mark.parametrize("who", [OTTO, CARL, READER])
def test_only_members_submit_for_a_publisher(hub: Rooms, vendor: Vendor, who: Principal) -> None:
    with pytest.raises(Denied, match="only members of acme may submit for it"):
        hub.certification.submit(who, Origin.parse("vendor.example/app:1"), WEB, "1")


@pytest.mark.parametrize(
    ("source", "repository", "tag", "sentence"),
    [
        ("app:1", WEB, "1", "does not say which tag of which registry"),
        ("vendor.example/app", WEB, "1", "does not say which tag of which registry"),
        (f"vendor.example/app:1@sha256:{'0' * 64}", WEB, "1", "does not say which tag of which registry"),
        ("vendor.example/app:1", "acme/web", "1", "acme/web:1 is not an image of a publisher here"),
        ("vendor.example/app:1", "quarantine/x", "1", "is not an image of a publisher here"),
        ("vendor.example/app:1", WEB, "-", "is not an image of a publisher here"),
    ],
)
def test_names_that_cannot_be_are_refused(hub: Rooms, source: str, repository: str, tag: str, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        hub.certification.submit(PAULA, Origin.parse(source), repository, tag)


# ---- once and in order


def test_the_same_asked_again_is_the_same_submission_until_it_is_over(hub: Rooms, vendor: Vendor, name: str) -> None:
    source = vendor.release(name, "1", image())
    enrolled(hub, vendor)
    first = submit(hub, vendor, source)
    assert submit(hub, vendor, source) == first
    assert hub.go(first).state is State.PUBLISHED
    assert submit(hub, vendor, source).id == first.id
    hub.publication.withdraw(ADMIN, first.id, "a flaw")
    again = submit(hub, vendor, source)
    assert again.id != first.id and again.snapshot_version > first.snapshot_version
    assert len(hub.log("submission.receive")) == 2


def test_a_newer_one_supersedes_and_never_moves_back(hub: Rooms, vendor: Vendor, name: str) -> None:
    source = vendor.release(name, "1", image("old"))
    enrolled(hub, vendor)
    old = submit(hub, vendor, source)
    vendor.release(name, "1", image("new"))
    new = submit(hub, vendor, source)
    assert hub.certification.get(old.id).state is State.SUPERSEDED
    assert hub.go(new).state is State.PUBLISHED
    assert hub.go(old).state is State.SUPERSEDED
    assert hub.official().tags["1"].digest == image("new").digest


def test_a_signed_push_supersedes_what_was_submitted(hub: Rooms, vendor: Vendor, name: str) -> None:
    source = vendor.release(name, "1", image("there"))
    enrolled(hub, vendor)
    row = submit(hub, vendor, source)
    pushed = hub.submit(image("here"))
    assert hub.certification.get(row.id).state is State.SUPERSEDED
    assert pushed.snapshot_version > row.snapshot_version
    assert hub.go(pushed).state is State.PUBLISHED


def test_a_token_submits_for_the_person_behind_it(hub: Rooms, vendor: Vendor, name: str) -> None:
    source = vendor.release(name, "1", image())
    enrolled(hub, vendor)
    row = hub.certification.submit(MACHINE, Origin.parse(source, vendor.trust_server), WEB, "1")
    assert row.author == "paula"


# ---- what the workflow refuses


def test_an_unknown_root_waits_and_goes_on_when_it_is_enrolled_by_its_id(
    hub: Rooms, vendor: Vendor, name: str
) -> None:
    register(hub, vendor)
    row = hub.go(submit(hub, vendor, vendor.release(name, "1", image())))
    assert row.state is State.AWAITING_ENROLMENT
    assert row.reason == (
        f"the root key of {vendor.gun(name)} is not enrolled for publisher acme (found: {vendor.root_key()}); a "
        f"certifier confirms it with `customhouse publisher enrol acme --key-id {vendor.root_key()}` after comparing "
        "the key with the publisher"
    )
    assert hub.registry.repositories("staging/") == [], "nothing is fetched for a stranger"
    hub.enrolment.enrol_key_ids(CARL, "acme", [vendor.root_key()])
    assert hub.go(row).state is State.PUBLISHED


def test_a_tag_that_moved_meanwhile_is_rejected(hub: Rooms, vendor: Vendor, name: str) -> None:
    source = vendor.release(name, "1", image("first"))
    enrolled(hub, vendor)
    row = submit(hub, vendor, source)
    vendor.release(name, "1", image("second"))
    done = hub.go(row)
    assert done.state is State.REJECTED
    said = f"{vendor.gun(name)}: the tag 1 is now signed as {image('second').digest}, not {image('first').digest}"
    assert done.reason == said


def test_a_layer_that_was_altered_there_is_rejected_and_leaves_nothing(hub: Rooms, vendor: Vendor, name: str) -> None:
    built = image("altered")
    source = vendor.release(name, "1", built)
    enrolled(hub, vendor)
    layer = parse_manifest(built.manifest_raw, built.media_type).layers[-1].digest
    file = vendor.folder / "content/docker/registry/v2/blobs/sha256" / layer.hex[:2] / layer.hex / "data"
    good = file.read_bytes()
    file.write_bytes(bytes(len(good)))
    try:
        row = hub.go(submit(hub, vendor, source))
    finally:
        file.write_bytes(good)
    assert row.state is State.REJECTED
    assert row.reason == (
        f"blob {name}@{layer} should be {layer} and the registry sent {Digest.of(bytes(len(good)))}; submit {source} "
        "again when it is whole there"
    )
    assert hub.blobs.stat(layer) is None and list((hub.settings.data / "blobs" / "uploads").iterdir()) == []
    hub.certification.retry(PAULA, row.id)
    assert hub.go(row).state is State.PUBLISHED


def test_content_that_is_not_there_is_rejected(hub: Rooms, vendor: Vendor, name: str) -> None:
    vendor.sign(name, "1", image("never pushed"))
    enrolled(hub, vendor)
    row = hub.go(submit(hub, vendor, f"{vendor.gun(name)}:1"))
    assert row.state is State.REJECTED and "manifest unknown" in row.reason


def test_an_image_that_is_larger_than_is_taken_is_rejected_before_it_is_fetched(
    hub: Rooms, vendor: Vendor, name: str
) -> None:
    source = vendor.release(name, "1", image("large"))
    enrolled(hub, vendor)
    hub.steps._bring = Remote(hub.sources, hub.registry, 1000).bring
    row = hub.go(submit(hub, vendor, source))
    assert row.state is State.REJECTED
    assert "bytes, and at most 1000 are fetched from another registry" in row.reason
    assert hub.registry.repositories("staging/") == []


def test_a_source_that_was_removed_meanwhile_stops_the_submission(hub: Rooms, vendor: Vendor, name: str) -> None:
    source = vendor.release(name, "1", image())
    enrolled(hub, vendor)
    row = submit(hub, vendor, source)
    hub.sources.remove(ADMIN, "acme", vendor.registry.host)
    with pytest.raises(SourceUnknown, match=f"{vendor.registry.host} is no source of publisher acme"):
        hub.steps.verify(row.id)
    register(hub, vendor)
    assert hub.go(row).state is State.PUBLISHED


# ---- the last look


def judged(hub: Rooms, vendor: Vendor, name: str) -> Submission:
    source = vendor.release(name, "1", image())
    enrolled(hub, vendor)
    row = hub.go(submit(hub, vendor, source), until="judge")
    assert row.state is State.PUBLISHING
    return row


def test_what_was_revoked_there_meanwhile_is_not_published(hub: Rooms, vendor: Vendor, name: str) -> None:
    row = judged(hub, vendor, name)
    vendor.unsign(name, "1")
    done = hub.go(row)
    assert done.state is State.REJECTED
    assert done.reason == f"at the last look before signing: {vendor.gun(name)}: the tag 1 is no longer signed"


def test_what_expired_there_meanwhile_is_not_published(hub: Rooms, vendor: Vendor, name: str, clock: Clock) -> None:
    row = judged(hub, vendor, name)
    clock.advance(days=15)
    done = hub.go(row)
    assert done.state is State.REJECTED
    said = f"at the last look before signing: {vendor.gun(name)}: timestamp version 1 expired on"
    assert done.reason.startswith(said)


def test_what_cannot_be_asked_there_is_not_published(hub: Rooms, tls: LoopbackCertificate, tmp_path: Path) -> None:
    vendor = Vendor(tmp_path / "vendor", tls)
    try:
        row = judged(hub, vendor, "vendor/app")
    finally:
        vendor.close()
    with pytest.raises(SourceFailed, match=f"nothing answers at {vendor.notary.host}"):
        hub.publication.publish(row.id)
    assert hub.certification.get(row.id).state is State.PUBLISHING
    assert hub.records() == {}


# ---- logins and TLS


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, tls: LoopbackCertificate) -> Iterator[Vendor]:
    """A vendor whose registry asks for a login (Basic)."""
    made = Vendor(tmp_path_factory.mktemp("guarded"), tls, login=True)
    yield made
    made.close()


def test_a_registry_that_asks_for_a_login_is_given_the_registered_one(
    hub: Rooms, guarded: Vendor, name: str
) -> None:
    source = guarded.release(name, "1", image())
    enrolled(hub, guarded)
    row = submit(hub, guarded, source)
    with pytest.raises(SourceFailed) as refused:
        hub.steps.verify(row.id)
    again = f"customhouse source add {guarded.registry_url} --publisher acme --username NAME --password-stdin"
    assert refused.value.message.startswith(f"{guarded.registry.host} does not let the hub read this: ")
    assert refused.value.hint == f"An administrator gives the hub a login there: {again}"

    def login(secret: str) -> None:
        hub.sources.add(ADMIN, "acme", guarded.registry_url, ca=guarded.ca, username=USER, secret=secret)

    login("a wrong password")
    with pytest.raises(SourceFailed, match="does not let the hub read this") as refused:
        hub.steps.verify(row.id)
    assert "a wrong password" not in f"{refused.value!r}{refused.value}{refused.value.hint}"
    login(SECRET)
    assert hub.go(row).state is State.PUBLISHED


def test_a_server_that_cannot_prove_who_it_is_is_not_believed(hub: Rooms, vendor: Vendor, name: str) -> None:
    source = vendor.release(name, "1", image())
    for url in (vendor.registry_url, vendor.trust_server):
        hub.sources.add(ADMIN, "acme", url)
    with pytest.raises(SourceFailed, match=f"{vendor.notary.host} could not prove who it is") as refused:
        submit(hub, vendor, source)
    again = f"customhouse source add {vendor.trust_server} --publisher acme --authority FILE"
    assert refused.value.hint == f"An administrator gives its authority: {again}"


def test_each_server_on_the_way_proves_itself_by_its_own_authority(hub: Rooms, vendor: Vendor) -> None:
    front = Server(lambda request: request.send(307, Location=f"{vendor.registry_url}/v2/"))

    def ask() -> bytes:
        with hub.sources.open("acme", front.url) as transport:
            return transport.request("GET", "/layer").body

    try:
        hub.sources.add(ADMIN, "acme", front.url)
        hub.sources.add(ADMIN, "acme", vendor.registry_url)
        with pytest.raises(SourceFailed, match=f"{vendor.registry.host} could not prove who it is") as refused:
            ask()
        assert f"source add {vendor.registry_url} --publisher acme --authority FILE" in refused.value.hint
        hub.sources.add(ADMIN, "acme", vendor.registry_url, ca=vendor.ca)
        assert ask() == b"{}"
    finally:
        front.close()


# ---- memory (invariant T4)


def test_a_rollback_is_refused_for_ever(hub: Rooms, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'there.db'}")
    database.create()
    with serving(database, tmp_path) as there:
        gun = Gun.parse(f"{there.host}/vendor/app")
        sim = TrustSimulator(gun, hub.clock())
        sim.use_server_keys({role: there.service.key(gun, role, "v") for role in (SNAPSHOT, TIMESTAMP)})
        sim.sign_tag("1", image().manifest_raw)
        old = sim.upload()
        there.service.publish(gun, old, "v")
        for _ in range(2):
            sim.bump(TARGETS)
            there.service.publish(gun, sim.upload(TARGETS), "v")
        hub.sources.add(ADMIN, "acme", f"https://{there.host}", ca=there.ca.read_text())
        hub.enrolment.enrol_certificate(CARL, "acme", sim.keys[ROOT][0].public.public)
        origin = Origin.parse(f"{gun}:1")
        assert hub.enrolment.verify("", "acme", origin).versions[TARGETS] == 3
        there.service.delete(gun, "v")
        there.service.publish(gun, old, "mallory")
        for look in (lambda: hub.enrolment.verify("", "acme", origin), lambda: hub.enrolment.offered("acme", origin)):
            with pytest.raises(Untrusted, match=r"version 1 is older than version 3, which was seen before"):
                look()
        hub.sources.add(ADMIN, "other", f"https://{there.host}", ca=there.ca.read_text())
        assert hub.enrolment.offered("other", origin), "what one publisher saw says nothing to another"
    database.close()


def test_a_delegation_that_ended_there_begins_again(hub: Rooms, tmp_path: Path) -> None:
    """As clients forget it: `docker trust signer remove` and `add`."""
    database = Database(f"sqlite:///{tmp_path / 'there.db'}")
    database.create()
    with serving(database, tmp_path) as there:
        gun = Gun.parse(f"{there.host}/vendor/app")
        sim = TrustSimulator(gun, hub.clock())
        sim.use_server_keys({role: there.service.key(gun, role, "v") for role in (SNAPSHOT, TIMESTAMP)})

        def delegate() -> None:
            sim.delegate(RELEASES)
            sim.sign_tag("1", image().manifest_raw, RELEASES)
            sim.bump(TARGETS)
            there.service.publish(gun, sim.upload(), "v")

        delegate()
        hub.sources.add(ADMIN, "acme", f"https://{there.host}", ca=there.ca.read_text())
        hub.enrolment.enrol_certificate(CARL, "acme", sim.keys[ROOT][0].public.public)
        origin = Origin.parse(f"{gun}:1")
        for _ in range(2):
            sim.bump(RELEASES)
            there.service.publish(gun, sim.upload(RELEASES), "v")
        assert hub.enrolment.verify("", "acme", origin).versions[RELEASES] == 3
        sim.remove_delegation(RELEASES)
        sim.bump(TARGETS)
        there.service.publish(gun, sim.upload(TARGETS), "v")
        assert RELEASES not in hub.enrolment.verify("", "acme", origin).versions
        delegate()
        assert hub.enrolment.verify("", "acme", origin).versions[RELEASES] == 1
    database.close()


def test_a_repository_that_was_begun_anew_there_is_refused(
    hub: Rooms, tls: LoopbackCertificate, tmp_path: Path
) -> None:
    vendor = Vendor(tmp_path / "vendor", tls)
    try:
        source = vendor.release("vendor/app", "1", image())
        enrolled(hub, vendor)
        assert hub.go(submit(hub, vendor, source)).state is State.PUBLISHED
        hub.let_move("acme/*")
        vendor.restart_notary()  # which kept everything in memory
        vendor.release("vendor/app", "1", image("anew"))
        with pytest.raises(Untrusted, match="there are two different roots of version 1: the repository was begun"):
            submit(hub, vendor, source)
        hub.enrolment.reset(CARL, f"acme@{vendor.gun('vendor/app')}", "the vendor lost his server")
        assert hub.go(submit(hub, vendor, source)).state is State.PUBLISHED
    finally:
        vendor.close()
