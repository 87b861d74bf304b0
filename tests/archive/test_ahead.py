"""A hub that was restored from a backup is behind what clients have seen, until it goes ahead of it."""

import pytest

from customhouse import doctor
from customhouse.certification.submission import State
from customhouse.errors import Invalid
from customhouse.trust.names import ROOT, SNAPSHOT, TIMESTAMP, Gun
from customhouse.trust.verify import TrustedRepository, TrustError, verify_repository
from tests.rooms import HOST, WEB, Rooms, image


def test_a_hub_that_was_restored_goes_ahead_of_what_clients_have_seen(rooms: Rooms) -> None:
    """The copy of an older state is behind; afterwards whoever saw the newer one believes it again."""
    rooms.publish(image(), "1")
    gun = Gun.parse(f"{HOST}/acme/web")
    staging = Gun.parse(f"{HOST}/{WEB}")
    before, kept = rooms.official(), rooms.trust.repository_files(staging)
    seen = {role: version + 40 for role, version in before.versions.items() if role != ROOT}

    def looked() -> TrustedRepository:
        files, chain = rooms.trust.repository_files(gun), rooms.trust.root_versions(gun)
        return verify_repository(files, chain, gun=gun, enrolled=None, seen=seen, now=rooms.clock())

    with pytest.raises(TrustError, match="older"):
        looked()
    assert set(rooms.publication.go_ahead(50, rooms.clock())) == {gun, staging}
    after = looked()
    assert {role: after.versions[role] - version for role, version in before.versions.items()} == {
        role: 0 if role == ROOT else 50 for role in before.versions
    }
    assert {name: tag.digest for name, tag in after.tags.items()} == {n: tag.digest for n, tag in before.tags.items()}
    assert doctor.examine(rooms) == []  # type: ignore[arg-type]
    now = rooms.trust.repository_files(staging)
    assert {role for role, raw in now.items() if raw != kept[role]} == {SNAPSHOT, TIMESTAMP}
    rooms.let_move()
    assert rooms.publish(image("next"), "1").state is State.PUBLISHED
    assert [entry.subject for entry in rooms.log("publication.ahead")] == [gun]
    for wrong in (0, 1001):
        with pytest.raises(Invalid):
            rooms.publication.go_ahead(wrong, rooms.clock())
