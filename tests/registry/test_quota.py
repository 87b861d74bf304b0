"""Quotas: what a publisher's staging holds is counted where it is linked, and no push passes the limit."""

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from customhouse.accounts.people import Principal
from customhouse.errors import Denied
from customhouse.oci.digest import Digest
from customhouse.registry.content import BlobUnknown, QuotaExceeded, UploadUnknown
from customhouse.registry.rules import InvalidRule
from customhouse.registry.service import RegistryService
from customhouse.registry.store.tables import usage
from tests.conftest import Clock
from tests.registry.conftest import CONFIG, Client
from tests.registry.test_service import LAYER, SOURCE, put_blob, put_image
from tests.rooms import ADMIN, CARL, PAULA

BESIDE, OTHERS, OFFICIAL = "staging/alice/api", "staging/alicia/web", "alice/web"


def used(service: RegistryService, publisher: str = "alice") -> int:
    """As it is counted; and that is the truth."""
    assert [breach for breach in service.breaches() if breach.invariant == "R5"] == []
    return service.rules.used(publisher).used


def limit(service: RegistryService, most: int | None, publisher: str = "alice") -> None:
    service.rules.set_quota(ADMIN, publisher, most)


def test_each_blob_counts_once_for_a_publisher_and_for_nobody_else(service: RegistryService) -> None:
    digest = put_image(service, SOURCE)
    one = len(CONFIG) + len(LAYER)
    assert used(service) == one
    put_image(service, SOURCE, "2")
    put_image(service, BESIDE)
    assert used(service) == one and used(service, "alicia") == 0
    assert service.mount(OTHERS, Digest.of(LAYER), SOURCE) is not None
    assert used(service, "alicia") == len(LAYER)
    with service.store.write() as tx:
        service.link_tree(tx, SOURCE, "quarantine/s1", digest)
        service.link_tree(tx, SOURCE, OFFICIAL, digest)
    assert used(service) == one


def test_what_goes_is_counted_no_more_once_its_last_repository_lets_go(service: RegistryService, clock: Clock) -> None:
    for repository in (SOURCE, BESIDE):
        put_image(service, repository)
    put_blob(service, SOURCE, b"alone")
    put_blob(service, OTHERS, b"alone")
    service.delete_blob(SOURCE, Digest.of(b"alone"), "alice")
    assert used(service) == len(CONFIG) + len(LAYER) and used(service, "alicia") == 5
    with service.store.write() as tx:
        service.delete_repository(tx, SOURCE)
    assert used(service) == len(CONFIG) + len(LAYER)
    service.delete_manifest(BESIDE, service.resolve(BESIDE, "1").digest, "alice")
    clock.advance(days=2)
    service.sweep(clock())
    assert used(service) == 0 == used(service, "alicia")


def test_a_push_that_would_pass_the_limit_leaves_nothing_and_ends(hub: Client, service: RegistryService) -> None:
    hub.push_blob(SOURCE, b"x" * 600)
    limit(service, 1000)
    location = hub("POST", f"/v2/{SOURCE}/blobs/uploads/").location
    content = os.urandom(500)
    refused = hub("PUT", f"{location}?digest={Digest.of(content)}", content)
    assert (refused.status, refused.codes) == (403, ["DENIED"])
    message = refused.json["errors"][0]["message"]
    assert message.startswith("500 bytes more would pass the quota: publisher alice holds 600 bytes of 1.0 kB in ")
    assert hub("GET", location).status == 404
    assert hub("HEAD", f"/v2/{SOURCE}/blobs/{Digest.of(content)}").status == 404
    assert service.blobs.stat(Digest.of(content)) is None
    assert hub.push_blob(SOURCE, b"y" * 400) and used(service) == 1000
    full = hub("POST", f"/v2/{SOURCE}/blobs/uploads/")
    assert (full.status, full.codes) == (403, ["DENIED"])
    assert full.json["errors"][0]["message"].startswith("the quota is used up: publisher alice holds 1.0 kB of 1.0 kB")
    # What is counted already is no more: a mount from a sibling, and an image of it.
    assert hub("POST", f"/v2/{BESIDE}/blobs/uploads/?mount={Digest.of(b'y' * 400)}&from={SOURCE}").status == 201


def test_a_mount_from_elsewhere_counts(service: RegistryService) -> None:
    put_blob(service, OTHERS, b"z" * 50)
    limit(service, 49)
    with pytest.raises(QuotaExceeded, match="50 bytes more would pass"):
        service.mount(SOURCE, Digest.of(b"z" * 50), OTHERS)
    with pytest.raises(BlobUnknown):
        service.blob(SOURCE, Digest.of(b"z" * 50))
    limit(service, 50)
    assert service.mount(SOURCE, Digest.of(b"z" * 50), OTHERS) is not None


def test_pushes_at_once_never_pass_the_limit_together(
    service: RegistryService, make_service: Callable[[], RegistryService]
) -> None:
    """All have looked before any is counted; by two registries over the same rows."""
    limit(service, 350)
    registries, done = (service, make_service()), []
    gate = threading.Barrier(8)

    def push(number: int) -> None:
        registry = registries[number % 2]
        content = bytes([number]) * 100
        name = registry.uploads.begin(SOURCE if number % 3 else BESIDE)
        upload = registry.uploads.resume(SOURCE if number % 3 else BESIDE, name)
        upload.write(content)
        gate.wait()
        try:
            done.append(registry.uploads.finish(SOURCE if number % 3 else BESIDE, name, upload, Digest.of(content)))
        except QuotaExceeded as error:
            with pytest.raises(UploadUnknown):
                registry.uploads.resume(SOURCE if number % 3 else BESIDE, name)
            done.append(error)

    threads = [threading.Thread(target=push, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 8 and sum(not isinstance(each, QuotaExceeded) for each in done) == 3
    assert used(service) == 300


def test_pushes_mounts_deletions_and_sweeps_at_once_stay_counted(service: RegistryService, clock: Clock) -> None:
    contents = [bytes([number]) * (number + 1) for number in range(6)]
    failures: list[Any] = []

    def work(seed: int) -> None:
        try:
            for step in range(15):
                content = contents[(seed * 7 + step * 5) % 6]
                here, there = (SOURCE, BESIDE) if (seed + step) % 2 else (BESIDE, SOURCE)
                try:
                    put_blob(service, here, content)
                    service.mount(there, Digest.of(content), here)
                    service.delete_blob(here if step % 3 else there, Digest.of(content), "alice")
                except (BlobUnknown, UploadUnknown):  # another one deleted the repository
                    pass
                if step % 5 == 0:
                    with service.store.write() as tx:
                        service.delete_repository(tx, there)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    used(service)
    clock.advance(days=3)
    service.sweep(clock())
    assert used(service) == 0


def test_a_counter_that_is_wrong_is_named_and_a_quota_counts_anew(service: RegistryService) -> None:
    put_blob(service, SOURCE, b"12345")
    with service.store.write() as tx:
        tx.execute(update(usage).values(used=7))
    (breach,) = service.breaches()
    assert (breach.invariant, breach.subject) == ("R5", "alice")
    assert breach.message == "7 bytes of its staging are counted, and 5 are held"
    limit(service, None)
    assert used(service) == 5


def test_quotas_are_administrators_and_logged(service: RegistryService) -> None:
    for who in (CARL, PAULA):
        with pytest.raises(Denied):
            _set(service, who, 10)
    for wrong in (-1, 2**63):
        with pytest.raises(InvalidRule):
            _set(service, ADMIN, wrong)
    limit(service, 10)
    with service.store.read() as tx:
        ((actor, action, subject, detail),) = [
            (e.actor, e.action, e.subject, e.detail) for e in service._audit.entries(tx)
        ]
    assert (actor, action, subject, detail) == ("admin", "publisher.quota", "alice", {"bytes": 10})


def _set(service: RegistryService, who: Principal, most: int) -> None:
    service.rules.set_quota(who, "alice", most)


def test_a_quota_below_what_is_there_refuses_only_more(service: RegistryService) -> None:
    put_image(service, SOURCE)
    limit(service, 1)
    with pytest.raises(QuotaExceeded):
        put_blob(service, SOURCE, b"more")
    service.push_manifest(SOURCE, "again", service.resolve(SOURCE, "1").raw, None)
    service.mount(BESIDE, Digest.of(LAYER), SOURCE)
    limit(service, None)
    put_blob(service, SOURCE, b"more")
