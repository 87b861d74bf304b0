"""From a vendor's registry and trust server to official, and every way in which that is refused."""

import pytest

from customhouse.certification.submission import State, Submission
from customhouse.enrolment.origin import Origin
from customhouse.enrolment.service import Untrusted
from customhouse.testing.images import index
from tests.rooms import CARL, PAULA, Rooms, image
from tests.sources.conftest import register
from tests.sources.vendor import Vendor

pytestmark = pytest.mark.needs("docker-registry", "notary-server")
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


def test_what_notary_signed_is_taken_as_well(hub: Rooms, vendor: Vendor, name: str) -> None:
    built = image("by notary")
    vendor.push(name, "1", built)
    vendor.root_key()
    size, digest = str(len(built.manifest_raw)), built.digest.hex
    vendor.notary_does("init", "-p", vendor.gun(name))
    vendor.notary_does("addhash", "-p", vendor.gun(name), "1", size, "--sha256", digest)
    register(hub, vendor)
    row = hub.go(submit(hub, vendor, f"{vendor.gun(name)}:1"))
    assert row.state is State.AWAITING_ENROLMENT


def test_an_unknown_tag_is_said_at_once(hub: Rooms, vendor: Vendor, name: str) -> None:
    vendor.release(name, "1", image())
    enrolled(hub, vendor)
    with pytest.raises(Untrusted, match=f"{vendor.gun(name)}: the tag 9 is not signed"):
        submit(hub, vendor, f"{vendor.gun(name)}:9")
