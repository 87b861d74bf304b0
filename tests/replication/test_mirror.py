"""Official images at Debian's docker-registry and notary-server: sent, signed, withdrawn, as others see it there."""

from dataclasses import replace

import pytest

from customhouse.keys import PrivateKey
from customhouse.oci.manifest import parse_manifest
from customhouse.remote import RemoteNotFound
from customhouse.replication.run import LEASE
from customhouse.testing.images import index
from customhouse.trust.client import Anchor
from customhouse.trust.names import TARGETS
from customhouse.trust.verify import TrustError
from tests.conftest import Clock
from tests.peers.vendor import Vendor
from tests.replication.mirror import SBOM, Mirror, attest
from tests.rooms import ADMIN, Rooms, image

pytestmark = pytest.mark.needs("docker-registry", "notary-server")


def test_an_official_image_is_there_byte_for_byte_and_signed_by_the_hub(hub: Rooms, elsewhere: Vendor) -> None:
    built = image()
    hub.publish(built)
    sbom = attest(hub, built)
    mirror = Mirror(hub, elsewhere, "whole")

    assert mirror.run() == ""
    client = mirror.client()
    assert client.manifest("whole/acme/web", "1").raw == built.manifest_raw
    for blob, raw in built.blobs.items():
        assert client.blob("whole/acme/web", blob) == raw
    found = client.referrers("whole/acme/web", built.digest)
    assert [(each.digest, each.artifact_type) for each in found] == [(sbom, SBOM)]
    assert client.manifest("whole/acme/web", str(sbom)).digest == sbom
    assert sorted(client.tags("whole/acme/web")) == ["1", f"sha256-{built.digest.hex}"]

    signed = mirror.signed()
    assert signed.signers("1") == ["customhouse"]
    assert (signed.tags["1"].digest, signed.tags["1"].length) == (built.digest, len(built.manifest_raw))
    assert mirror.states() == {"acme/web:1": "signed"}
    assert [entry.subject for entry in hub.log("mirror.publish")] == [f"{elsewhere.registry.host}/whole/acme/web:1"]

    versions = signed.versions
    hub.replication.ask(ADMIN, "whole")
    assert mirror.run() == "" and mirror.signed().versions == versions
    assert len(hub.log("mirror.publish")) == 1


def test_an_attestation_that_comes_later_is_sent_and_the_rest_is_left_alone(hub: Rooms, elsewhere: Vendor) -> None:
    built, other = image(), image("other")
    hub.publish(built)
    hub.publish(other, "2")
    mirror = Mirror(hub, elsewhere, "later")
    assert mirror.run() == ""
    with hub.database.read() as tx:
        before = {row["tag"]: row["changed"] for row in hub.replication.store.tags(tx, "later")}
    hub.clock.advance(seconds=1)
    sbom = attest(hub, built)
    assert mirror.run() == ""
    assert [each.digest for each in mirror.client().referrers("later/acme/web", built.digest)] == [sbom]
    with hub.database.read() as tx:
        after = {row["tag"]: row["changed"] for row in hub.replication.store.tags(tx, "later")}
    assert after["1"] > before["1"] and after["2"] == before["2"]


def test_what_is_withdrawn_is_no_longer_signed_there_and_gone(hub: Rooms, elsewhere: Vendor) -> None:
    kept, gone = image("kept"), image("gone")
    hub.publish(kept, "1")
    done = hub.publish(gone, "2")
    sbom = attest(hub, gone)
    mirror = Mirror(hub, elsewhere, "takes-back")
    assert mirror.run() == "" and sorted(mirror.signed().tags) == ["1", "2"]

    hub.publication.withdraw(ADMIN, done.id, "a flaw")
    assert mirror.run() == ""
    assert sorted(mirror.signed().tags) == ["1"]
    client = mirror.client()
    assert client.tags("takes-back/acme/web") == ["1"]
    for digest in (gone.digest, sbom):
        with pytest.raises(RemoteNotFound):
            client.manifest("takes-back/acme/web", str(digest))
    assert client.manifest("takes-back/acme/web", "1").digest == kept.digest
    assert mirror.states() == {"acme/web:1": "signed"}
    assert [entry.digest for entry in hub.log("mirror.withdraw")] == [str(gone.digest)]


def test_a_tag_that_moved_takes_the_new_image_and_lets_the_old_one_go(hub: Rooms, elsewhere: Vendor) -> None:
    before, after = image("before"), image("after")
    hub.let_move()
    hub.publish(before)
    mirror = Mirror(hub, elsewhere, "moves")
    assert mirror.run() == ""
    hub.push(after)
    hub.go(hub.sign(after))
    assert mirror.run() == ""
    assert mirror.signed().tags["1"].digest == after.digest
    with pytest.raises(RemoteNotFound):
        mirror.client().manifest("moves/acme/web", str(before.digest))


def test_an_index_goes_with_every_platform(hub: Rooms, elsewhere: Vendor) -> None:
    members = [image(text) for text in ("amd", "arm")]
    built = index(members, platforms=["linux/amd64", "linux/arm64"])
    hub.push(built)
    with hub.database.write() as tx:
        hub.registry.link_tree(tx, "staging/acme/web", "acme/web", built.digest)
        hub.registry.set_tag(tx, "acme/web", "1", built.digest, hub.clock())
    sbom = attest(hub, members[1])
    mirror = Mirror(hub, elsewhere, "platforms")
    assert mirror.run() == ""
    client = mirror.client()
    top = client.manifest("platforms/acme/web", "1")
    assert top.raw == built.manifest_raw
    for member in parse_manifest(top.raw, top.media_type).manifests:
        assert client.has_manifest("platforms/acme/web", str(member.digest))
    assert [each.digest for each in client.referrers("platforms/acme/web", members[1].digest)] == [sbom]
    assert mirror.signed().tags["1"].digest == built.digest


def test_patterns_choose_repositories_and_tags(hub: Rooms, elsewhere: Vendor) -> None:
    hub.publish(image(), "1.0")
    hub.publish(image("2"), "2.0")
    hub.publish(image("3"), "1.0", "staging/acme/other")
    mirror = Mirror(hub, elsewhere, "chosen", repositories=("acme/web",), tags=("1.*",))
    assert mirror.run() == ""
    assert mirror.states() == {"acme/web:1.0": "signed"}
    mirror.add(repositories=("acme/web",), tags=("2.*",))
    assert mirror.run() == ""
    assert mirror.states() == {"acme/web:2.0": "signed"}
    assert sorted(mirror.signed().tags) == ["2.0"]


def test_a_wrong_login_is_told_and_the_mirror_waits_longer_each_time(
    hub: Rooms, elsewhere: Vendor, clock: Clock
) -> None:
    hub.publish(image())
    mirror = Mirror(hub, elsewhere, "locked", secret="wrong")
    waits = []
    for _ in range(3):
        assert "not accepted" in mirror.run()
        shown = hub.replication.show(ADMIN, "locked")
        waits.append((shown["next_try"] - clock()).total_seconds())
    assert waits == [5, 10, 20] and shown["attempts"] == 3
    assert "wrong" not in str(shown)
    mirror.add()
    assert mirror.run() == "" and sorted(mirror.signed().tags) == ["1"]
    assert hub.replication.show(ADMIN, "locked")["attempts"] == 0


def test_somebody_elses_signatures_are_not_written_over(hub: Rooms, elsewhere: Vendor) -> None:
    foreign = image("foreign")
    elsewhere.release("taken/acme/web", "1", foreign)
    hub.publish(image())
    mirror = Mirror(hub, elsewhere, "taken")
    assert "root" in mirror.run()
    assert mirror.states() == {"acme/web:1": "sent"}


def test_two_mirrors_do_not_share_a_repository(hub: Rooms, elsewhere: Vendor) -> None:
    hub.publish(image())
    first = Mirror(hub, elsewhere, "first", target="shared/{repository}")
    assert first.run() == ""
    second = Mirror(hub, elsewhere, "second", target="shared/{repository}")
    assert "belongs to first (acme/web)" in second.run()


def test_what_was_changed_there_is_mended_at_the_next_look(hub: Rooms, elsewhere: Vendor, clock: Clock) -> None:
    built, other = image(), image("other")
    hub.publish(built)
    mirror = Mirror(hub, elsewhere, "mended")
    assert mirror.run() == ""
    elsewhere.push("mended/acme/web", "1", other)
    assert mirror.run() == "" and mirror.client().manifest("mended/acme/web", "1").digest == other.digest
    clock.advance(hours=1)
    assert mirror.run() == "" and mirror.client().manifest("mended/acme/web", "1").digest == built.digest


def test_a_rotated_release_key_is_taken_there_too(hub: Rooms, elsewhere: Vendor, clock: Clock) -> None:
    hub.publish(image())
    mirror = Mirror(hub, elsewhere, "rotated")
    assert mirror.run() == ""
    key = PrivateKey.generate()
    hub.publication.use(replace(hub.keys, release=key))
    clock.advance(hours=1)
    assert mirror.run() == ""
    signed = mirror.signed()
    assert signed.signers("1") == ["customhouse"]
    delegated = signed.targets[TARGETS].body.delegations
    assert {listed for entry in delegated for listed in entry.keys.key_ids} == {key.public.key_id}


def test_whoever_pinned_a_root_that_was_rotated_goes_on(hub: Rooms, elsewhere: Vendor, clock: Clock) -> None:
    hub.publish(image())
    mirror = Mirror(hub, elsewhere, "turned")
    assert mirror.run() == ""
    first, pinned = mirror.signed(), mirror.root_key()
    hub.replication.rotate(ADMIN, "turned", "root")
    clock.advance(seconds=1)
    hub.replication.rotate(ADMIN, "turned", "root")  # twice before the mirror hears of it
    clock.advance(seconds=1)
    hub.replication.rotate(ADMIN, "turned", "targets")
    assert mirror.root_key() != pinned
    hub.publish(image("new"), "2")
    assert mirror.run() == ""

    fresh = mirror.signed()
    assert fresh.root_keys == {mirror.root_key()} and sorted(fresh.tags) == ["1", "2"]
    targets = {signed.root.body.roles[TARGETS].key_ids for signed in (first, fresh)}
    assert len(targets) == 2
    for anchor in (Anchor(enrolled=frozenset({pinned})), Anchor(known_root=first.root.raw, seen=first.versions)):
        assert mirror.signed(anchor=anchor).versions == fresh.versions
    assert len(hub.log("mirror.rotate")) == 3

    hub.publish(image("other"), "1", "staging/acme/other")  # what begins now knows nothing of the keys of before
    assert mirror.run() == ""
    assert mirror.signed("acme/other").root.version == 1
    with pytest.raises(TrustError):
        mirror.signed("acme/other", Anchor(enrolled=frozenset({pinned})))


def test_the_lease_of_a_process_that_died_is_free_when_it_ends(rooms: Rooms, elsewhere: Vendor, clock: Clock) -> None:
    rooms.publish(image())
    mirror = Mirror(rooms, elsewhere, f"leased-{rooms.database.dialect}")
    with rooms.database.write() as tx:
        assert rooms.replication.store.take(tx, mirror.name, "another", clock(), clock() + LEASE)
    assert not rooms.mirroring.run(mirror.name)
    clock.advance(seconds=LEASE.total_seconds() - 1)
    assert not rooms.mirroring.run(mirror.name) and mirror.states() == {}
    clock.advance(seconds=1)
    assert mirror.run() == "" and mirror.states() == {"acme/web:1": "signed"}


def test_a_publication_wakes_the_mirror_and_other_changes_wait_for_its_next_look(
    hub: Rooms, elsewhere: Vendor, clock: Clock
) -> None:
    built = image()
    hub.publish(built)
    mirror = Mirror(hub, elsewhere, "woken")
    assert mirror.turn() == {"acme/web:1": "signed"}
    sbom = attest(hub, built)
    hub.push(image("staged"), "2")
    mirror.turn()
    assert mirror.client().referrers("woken/acme/web", built.digest) == []
    hub.publish(image("new"), "2")
    assert mirror.turn() == {"acme/web:1": "signed", "acme/web:2": "signed"}
    assert [each.digest for each in mirror.client().referrers("woken/acme/web", built.digest)] == [sbom]
    attest(hub, built, "later")
    clock.advance(hours=1)
    mirror.turn()
    assert len(mirror.client().referrers("woken/acme/web", built.digest)) == 2


def test_a_run_that_was_cut_is_taken_up_by_whoever_comes_next(hub: Rooms, elsewhere: Vendor) -> None:
    hub.publish(image())
    mirror = Mirror(hub, elsewhere, "cut")
    assert mirror.turn() == {"acme/web:1": "signed"}
    hub.publish(image("new"), "2")
    with hub.database.write() as tx:  # as a run leaves it that dies after its first rows
        row = hub.replication.store.find(tx, "cut")
        assert row is not None
        wanted = hub.replication.wanted(row)["acme/web"]
        hub.replication.store.put_repository(tx, "cut", "acme/web", tried=wanted.fingerprint)
    assert mirror.turn() == {"acme/web:1": "signed", "acme/web:2": "signed"}
