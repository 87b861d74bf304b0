"""Rules for tags: what a pattern stands for, which rule counts, and that a locked tag stays whoever moves it."""

import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.accounts.people import Principal
from customhouse.errors import Denied, NotFound, TooLarge
from customhouse.oci.digest import Digest
from customhouse.registry import rulebook
from customhouse.registry.content import TagLocked
from customhouse.registry.rules import SHIPPED, InvalidRule, TagRule, locked, matches, may_lock
from customhouse.registry.service import RegistryService
from tests.registry.conftest import Client, image
from tests.registry.test_service import SOURCE, put_blob, put_image
from tests.rooms import ADMIN, CARL, MACHINE, PAULA

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HEX = "0123456789abcdef" * 4
OTHER = "staging/alice/other"


def rules(*added: tuple[str, str, bool]) -> list[TagRule]:
    return [*SHIPPED, *(TagRule.parse(where, tags, lock, "admin", NOW) for where, tags, lock in added)]


@given(st.text("ab/*.", max_size=12), st.text("ab/.", max_size=12))
def test_a_pattern_stands_for_what_the_expression_stands_for(pattern: str, name: str) -> None:
    parts = re.findall(r"\*+|[^*]", pattern)
    expression = "".join(".*" if part[:2] == "**" else "[^/]*" if part == "*" else re.escape(part) for part in parts)
    assert matches(pattern, name) == bool(re.fullmatch(expression, name))


def test_no_pattern_takes_long() -> None:
    began = time.process_time()
    assert not matches("*a" * 127, "a" * 254 + "b")
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("repository", "tag", "stays"),
    [
        ("acme/web", "1.0", True), ("acme/web", "latest", False), ("acme/a/b", "1", True),
        ("staging/acme/web", "1.0", False), ("staging/acme/web", "latest", False),
        ("quarantine/s1", "1.0", False), ("acme", "1", False),
        ("acme/web", f"sha256-{HEX}", False), ("acme/web", f"sha256-{HEX}.sig", False),
        ("acme/web", f"sha512-{HEX}{HEX}", False), ("acme/web", "sha256-no", True),
    ],
)  # fmt: skip
def test_what_is_shipped(repository: str, tag: str, stays: bool) -> None:
    assert locked(SHIPPED, repository, tag) is stays
    assert may_lock(SHIPPED, repository) is repository.startswith("acme/")


def test_of_the_rules_that_match_the_last_counts() -> None:
    found = rules(("acme/*", "1.*", False), ("**", "1.0", True), ("staging/**", "v*", True))
    assert [locked(found, "acme/web", tag) for tag in ("1.1", "1.0", "2.0", "latest")] == [False, True, True, False]
    assert [locked(found, "staging/a/b", tag) for tag in ("v1", "1.0", "x")] == [True, True, False]
    assert may_lock(found, "staging/a/b") and not locked(rules(("**", "*", True)), "quarantine/s1", "1")


@pytest.mark.parametrize("words", [("", "*"), ("ACME/*", "*"), ("a b", "*"), ("quarantine/*", "*"), ("a/*", ""),
                                   ("a/*", "a/b"), ("a" * 300, "*"), ("a/*", "t" * 129), ("a\n", "*")])  # fmt: skip
def test_what_is_no_pattern_is_no_rule(words: tuple[str, str]) -> None:
    with pytest.raises(InvalidRule):
        TagRule.parse(*words, True, "admin", NOW)


# ---- made by administrators


def test_rules_are_made_listed_and_ended_by_administrators_and_logged(service: RegistryService) -> None:
    book = service.rules
    book.add(ADMIN, "acme/*", "1.*", locked=False)
    book.add(ADMIN, "**", "x", locked=True)
    book.add(ADMIN, "acme/*", "1.*", locked=True)  # again: in place of the first, and last now
    assert [(r.repositories, r.tags, r.locked) for r in book.all(CARL)[len(SHIPPED) :]] == [
        ("**", "x", True), ("acme/*", "1.*", True)
    ]  # fmt: skip
    book.remove(ADMIN, "**", "x")
    with pytest.raises(NotFound):
        book.remove(ADMIN, "**", "x")
    with pytest.raises(NotFound):
        book.remove(ADMIN, "**", "latest")  # what is shipped is overruled, not removed
    with service.store.read() as tx:
        entries = [(e.actor, e.action, e.subject, e.detail) for e in service._audit.entries(tx)]
    assert entries[0] == ("admin", "rule.add", "acme/*", {"tags": "1.*", "locked": False})
    assert entries[3] == ("admin", "rule.remove", "**", {"tags": "x"}) and len(entries) == 4


@pytest.mark.parametrize("who", [CARL, PAULA, MACHINE])
def test_nobody_else_makes_rules(service: RegistryService, who: Principal) -> None:
    with pytest.raises(Denied):
        service.rules.add(who, "**", "*", locked=False)
    with pytest.raises(Denied):
        service.rules.remove(who, "**", "*")
    if not who.certifies:
        with pytest.raises(Denied):
            service.rules.all(who)


def test_rules_have_a_bound(service: RegistryService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rulebook, "MOST_RULES", 2)
    for tag in ("1", "2", "1"):
        service.rules.add(ADMIN, "a/*", tag, locked=True)
    with pytest.raises(TooLarge):
        service.rules.add(ADMIN, "a/*", "3", locked=True)
    assert len(service.rules.all(ADMIN)) == len(SHIPPED) + 2


# ---- kept


def lock(service: RegistryService, repositories: str = "staging/alice/*", tags: str = "1*") -> None:
    service.rules.add(ADMIN, repositories, tags, locked=True)


def test_a_locked_tag_stays_on_its_digest_and_takes_the_same_again(service: RegistryService) -> None:
    digest = put_image(service, SOURCE, "1")
    lock(service)
    assert put_image(service, SOURCE, "1") == digest
    with pytest.raises(TagLocked, match=f"{SOURCE}:1 is locked and stays on {digest}"):
        put_image(service, SOURCE, "1", b"another layer")
    assert put_image(service, SOURCE, "2", b"another layer") != digest
    assert put_image(service, SOURCE, "10", b"another layer") != digest  # new, and locked from now on
    with pytest.raises(TagLocked):
        put_image(service, SOURCE, "10")
    assert service.tag_digest(SOURCE, "1") == digest


def test_of_several_tags_of_one_push_none_is_set_where_one_is_locked(service: RegistryService) -> None:
    digest = put_image(service, SOURCE, "1")
    lock(service)
    put_blob(service, SOURCE, b"another layer")
    raw = image(b"another layer")
    with pytest.raises(TagLocked):
        service.push_manifest(SOURCE, str(Digest.of(raw)), raw, None, ["free", "1"])
    assert service.tags(SOURCE) == ["1"] and service.tag_digest(SOURCE, "1") == digest
    with pytest.raises(NotFound):
        service.manifest(SOURCE, Digest.of(raw))


def test_nothing_that_would_take_a_locked_tag_away_is_done(service: RegistryService) -> None:
    digest = put_image(service, SOURCE, "1")
    lock(service)

    def whole() -> None:
        with service.store.write() as tx:
            service.delete_repository(tx, SOURCE)

    for removal in (
        whole, lambda: service.delete_tag(SOURCE, "1", "a"), lambda: service.delete_manifest(SOURCE, digest, "a"),
    ):  # fmt: skip
        with pytest.raises(TagLocked):
            removal()
    assert service.tag_digest(SOURCE, "1") == digest
    service.rules.add(ADMIN, SOURCE, "1", locked=False)
    service.delete_tag(SOURCE, "1", "alice")
    put_image(service, OTHER, "free")
    with service.store.write() as tx:
        service.delete_repository(tx, OTHER)
        service.remove_tag(tx, SOURCE, "1")


def test_tags_made_of_a_digest_move_and_go_whatever_is_locked(service: RegistryService) -> None:
    lock(service, "**", "*")
    subject = put_image(service, OTHER, "free")
    for tag in (f"sha256-{subject.hex}", f"sha256-{subject.hex}.sig"):
        first = put_image(service, SOURCE, tag)
        assert put_image(service, SOURCE, tag, b"the next index") != first
        service.delete_tag(SOURCE, tag, "alice")


def test_of_pushes_of_a_new_locked_tag_at_once_one_wins(service: RegistryService) -> None:
    lock(service)
    for number in range(5):
        layers = [b"%d of %d" % (side, number) for side in range(4)]
        for layer in layers:
            put_image(service, SOURCE, "2", layer)
        done: list[Any] = []

        def push(layer: bytes, tag: str = f"1.{number}", done: list[Any] = done) -> None:
            try:
                done.append(service.push_manifest(SOURCE, tag, image(layer), None).digest)
            except TagLocked as error:
                done.append(error)

        threads = [threading.Thread(target=push, args=(layer,)) for layer in layers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = [each for each in done if isinstance(each, Digest)]
        assert service.tag_digest(SOURCE, f"1.{number}") == winner and len(done) == 4


def test_a_client_is_told_in_the_registrys_form(hub: Client, service: RegistryService) -> None:
    first = hub.push_image(SOURCE)
    lock(service)
    hub.push_blob(SOURCE, b"another layer")
    refused = hub.push_manifest(SOURCE, "1", image(b"another layer"))
    assert (refused.status, refused.codes) == (403, ["DENIED"])
    message = refused.json["errors"][0]["message"]
    assert f"stays on {Digest.of(first)}" in message and "as another tag" in message
    for reference in ("1", str(Digest.of(first))):
        refused = hub("DELETE", f"/v2/{SOURCE}/manifests/{reference}")
        assert (refused.status, refused.codes) == (403, ["DENIED"])
    assert hub("DELETE", f"/v2/{SOURCE}/manifests/none").status == 404
    assert hub("GET", f"/v2/{SOURCE}/manifests/1").body == first


def test_a_rule_of_another_process_counts_at_once(make_service: Callable[[], RegistryService]) -> None:
    one, other = make_service(), make_service()
    put_image(one, SOURCE)
    lock(other)
    with pytest.raises(TagLocked):
        put_image(one, SOURCE, layer=b"another layer")
