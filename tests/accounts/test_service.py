"""People on both databases: every change, who may make it, what it ends, and its audit entry."""

import threading
from datetime import timedelta

import pytest

from customhouse.accounts.authentication import (
    AccountDisabled,
    NotSignedIn,
    TokenExpired,
    WrongCredentials,
)
from customhouse.accounts.passwords import UnfitPassword
from customhouse.accounts.people import ANONYMOUS, HUB, InvalidName, InvalidRole, InvalidTokenScope, Role
from customhouse.accounts.service import (
    AccountsService,
    LastAdministrator,
    NameTaken,
    NoSuch,
    NotAllowed,
    UnfitExpiry,
    UnfitMember,
)
from customhouse.accounts.tokens import secret_digest
from customhouse.errors import Unauthenticated
from tests.accounts.conftest import PASSWORD, basic, log, rights, signed_in
from tests.conftest import Clock

# Users -----------------------------------------------------------------------------------------------------------


def test_only_an_administrator_changes_people(people: AccountsService) -> None:
    token = people.create_token(signed_in(people, "admin"), "ci", "acme", ["push"]).token
    for actor in (*(signed_in(people, name) for name in ("carl", "paula", "cora")), signed_in(people, token.username)):
        before = len(log(people))
        for attempt in (
            lambda a=actor: people.add_user(a, "eve", "administrator", PASSWORD),
            lambda a=actor: people.users(a),
            lambda a=actor: people.user(a, "admin"),
            lambda a=actor: people.set_role(a, a.name, "administrator"),
            lambda a=actor: people.set_password(a, "admin", "a new password"),
            lambda a=actor: people.set_disabled(a, "admin", True),
            lambda a=actor: people.remove_user(a, "admin"),
            lambda a=actor: people.end_sessions(a, "admin"),
            lambda a=actor: people.add_publisher(a, "evil"),
            lambda a=actor: people.add_member(a, "acme", "otto"),
            lambda a=actor: people.remove_member(a, "acme", "paula"),
        ):
            with pytest.raises(NotAllowed):
                attempt()
        assert len(log(people)) == before
    for attempt in (
        lambda: people.users(ANONYMOUS),
        lambda: people.tokens(ANONYMOUS),
        lambda: people.publishers(ANONYMOUS),
    ):
        with pytest.raises(NotSignedIn):
            attempt()


def test_users_are_named_once_and_fittingly(people: AccountsService) -> None:
    with pytest.raises(NameTaken):
        people.add_user(HUB, "paula", "consumer", PASSWORD)
    with pytest.raises(InvalidName):
        people.add_user(HUB, "staging", "consumer", PASSWORD)
    with pytest.raises(InvalidRole):
        people.add_user(HUB, "new", "emperor", PASSWORD)
    with pytest.raises(UnfitPassword):
        people.add_user(HUB, "new", "consumer", "short")
    assert "new" not in [user.name for user in people.users(HUB)]


def test_users_and_tokens_share_one_name_space(people: AccountsService) -> None:
    paula = signed_in(people, "paula")
    people.create_token(paula, "ci", "acme", ["pull"])
    with pytest.raises(NameTaken, match="token"):
        people.add_user(HUB, "acme-ci", "consumer", PASSWORD)
    people.add_user(HUB, "acme-web", "consumer", PASSWORD)
    with pytest.raises(NameTaken, match="user"):
        people.create_token(paula, "web", "acme", ["pull"])
    with pytest.raises(NameTaken):
        people.create_token(paula, "ci", "acme", ["pull"])


def test_two_users_of_one_name_at_once_are_one_user(people: AccountsService) -> None:
    outcomes: list[str] = []

    def add() -> None:
        try:
            people.add_user(HUB, "racer", "consumer", PASSWORD)
            outcomes.append("added")
        except NameTaken:
            outcomes.append("taken")

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["added"] + ["taken"] * 5
    log(people)


def test_two_last_administrators_cannot_remove_each_other_at_once(people: AccountsService) -> None:
    people.add_user(HUB, "second", "administrator", PASSWORD)
    outcomes: list[str] = []

    def remove(name: str) -> None:
        try:
            people.remove_user(HUB, name)
            outcomes.append("removed")
        except LastAdministrator:
            outcomes.append("kept")

    threads = [threading.Thread(target=remove, args=(name,)) for name in ("admin", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["kept", "removed"]


def test_the_last_administrator_stays(people: AccountsService) -> None:
    for change in (
        lambda: people.remove_user(HUB, "admin"),
        lambda: people.set_disabled(HUB, "admin", True),
        lambda: people.set_role(HUB, "admin", "consumer"),
    ):
        with pytest.raises(LastAdministrator):
            change()
    people.add_user(HUB, "second", "administrator", PASSWORD)
    people.set_disabled(HUB, "second", True)
    with pytest.raises(LastAdministrator):  # a disabled one does not count
        people.remove_user(HUB, "admin")
    people.remove_user(HUB, "second")
    assert people.authenticate("admin", PASSWORD).administers


def test_disabling_ends_everything_and_enabling_gives_back_the_login_only(people: AccountsService) -> None:
    paula = signed_in(people, "paula")
    made = people.create_token(paula, "ci", "acme", ["push"])
    session = people.login(basic("paula", PASSWORD)).secret
    refresh = people.issue_refresh_token(paula, PASSWORD) or ""
    token_refresh = people.issue_refresh_token(people.authenticate("acme-ci", made.secret), made.secret) or ""
    assert people.refresh(token_refresh).kind == "token"
    assert people.set_disabled(HUB, "paula", True).disabled
    with pytest.raises(AccountDisabled, match="paula is disabled"):
        people.authenticate("paula", PASSWORD)
    with pytest.raises(WrongCredentials):
        people.authenticate("paula", "wrong password")
    people.set_disabled(HUB, "paula", False)
    people.set_disabled(HUB, "paula", False)
    assert people.authenticate("paula", PASSWORD)
    for gone in (
        lambda: people.authenticate("acme-ci", made.secret),
        lambda: people.principal_of(f"Bearer {session}"),
        lambda: people.refresh(refresh),
        lambda: people.refresh(token_refresh),
    ):
        with pytest.raises(Unauthenticated):
            gone()
    actions = [entry.action for entry in log(people)]
    assert actions.count("user.disable") == actions.count("user.enable") == 1


def test_a_removed_user_is_gone_with_all_that_was_his(people: AccountsService) -> None:
    made = people.create_token(signed_in(people, "paula"), "ci", "acme", ["push"])
    people.remove_user(HUB, "paula")
    for name, password in (("paula", PASSWORD), ("acme-ci", made.secret)):
        with pytest.raises(WrongCredentials):
            people.authenticate(name, password)
    assert people.publisher(HUB, "acme").members == ()
    assert people.tokens(HUB) == []
    with pytest.raises(NoSuch):
        people.remove_user(HUB, "paula")
    people.add_user(HUB, "paula", "consumer", "another password")
    assert people.authenticate("paula", "another password").publishers == frozenset()


def test_a_role_that_does_not_publish_ends_memberships(people: AccountsService) -> None:
    assert people.set_role(HUB, "paula", "certifier").publishers == ()
    assert rights(people, signed_in(people, "paula")) == frozenset()
    assert people.set_role(HUB, "paula", "publisher").publishers == ()


def test_everybody_sets_his_own_password_with_the_old_one(people: AccountsService) -> None:
    paula = signed_in(people, "paula")
    session = people.login(basic("paula", PASSWORD)).secret
    for current in (None, "", "wrong password"):
        with pytest.raises(WrongCredentials):
            people.set_password(paula, "paula", "a new password", current)
    people.set_password(paula, "paula", "a new password", PASSWORD)
    assert people.authenticate("paula", "a new password")
    for gone in (lambda: people.authenticate("paula", PASSWORD), lambda: people.principal_of(f"Bearer {session}")):
        with pytest.raises(WrongCredentials):
            gone()
    people.set_password(signed_in(people, "admin"), "paula", PASSWORD)
    assert people.authenticate("paula", PASSWORD)


# Publishers ------------------------------------------------------------------------------------------------------


def test_publishers_are_made_whole_or_not_at_all(people: AccountsService) -> None:
    for members, refused in ((["nobody"], NoSuch), (["otto", "cora"], UnfitMember), (["carl"], UnfitMember)):
        with pytest.raises(refused):
            people.add_publisher(HUB, "third", members)
        with pytest.raises(NoSuch):
            people.publisher(HUB, "third")
    assert people.add_publisher(HUB, "third", ["otto", "otto", "paula"]).members == ("otto", "paula")
    with pytest.raises(NameTaken):
        people.add_publisher(HUB, "third")
    with pytest.raises(InvalidName):
        people.add_publisher(HUB, "api")


def test_one_sees_ones_own_publishers_and_certifiers_see_all(people: AccountsService) -> None:
    def seen(name: str) -> list[str]:
        return [one.name for one in people.publishers(signed_in(people, name))]

    token = people.create_token(signed_in(people, "paula"), "ci", "acme", ["pull"]).token
    assert seen("admin") == seen("carl") == ["acme", "other"]
    assert seen("paula") == seen(token.username) == ["acme"]
    assert seen("cora") == []
    with pytest.raises(NoSuch):
        people.publisher(signed_in(people, "paula"), "other")


def test_removing_who_is_no_member_is_said(people: AccountsService) -> None:
    with pytest.raises(NoSuch, match="member of acme"):
        people.remove_member(HUB, "acme", "otto")
    for name in ("none", "", "a\x00b", "A" * 300):
        with pytest.raises(NoSuch):
            people.remove_member(HUB, name, "otto")
        with pytest.raises(NoSuch):
            people.add_member(HUB, "acme", name)


# Access tokens ---------------------------------------------------------------------------------------------------


def test_a_token_logs_in_by_its_name_within_its_scope(people: AccountsService, clock: Clock) -> None:
    made = people.create_token(signed_in(people, "paula"), "ci", "acme", ["push"])
    assert made.token.username == "acme-ci"
    assert made.token.expires == clock() + timedelta(days=90)
    assert made.secret not in repr(made)
    machine = people.authenticate("acme-ci", made.secret)
    assert (machine.kind, machine.owner, machine.role) == ("token", "paula", Role.PUBLISHER)
    assert rights(people, machine) == {"pull", "push"}
    assert rights(people, machine, "staging/other/web") == frozenset()
    assert people.principal_of(f"Bearer {made.secret}") == machine
    for name in ("paula", "acme", ""):
        with pytest.raises(WrongCredentials):
            people.authenticate(name, made.secret)


def test_a_tokens_rights_follow_its_owner_at_once(people: AccountsService) -> None:
    made = people.create_token(signed_in(people, "paula"), "ci", "acme", ["push"])
    assert rights(people, people.authenticate("acme-ci", made.secret)) == {"pull", "push"}
    people.remove_member(HUB, "acme", "paula")
    assert rights(people, people.authenticate("acme-ci", made.secret)) == frozenset()
    people.add_member(HUB, "acme", "paula")
    assert rights(people, people.authenticate("acme-ci", made.secret)) == {"pull", "push"}
    people.set_role(HUB, "paula", "consumer")
    assert rights(people, people.authenticate("acme-ci", made.secret)) == frozenset()


def test_an_administrators_token_administers_nothing(people: AccountsService) -> None:
    made = people.create_token(signed_in(people, "admin"), "ci", "acme", ["push"])
    machine = people.authenticate("acme-ci", made.secret)
    assert not machine.administers
    assert not machine.certifies
    assert rights(people, machine, "quarantine/s-1") == frozenset()
    for attempt in (
        lambda: people.create_token(machine, "second", "acme", ["push"]),
        lambda: people.tokens(machine),
        lambda: people.set_password(machine, "admin", "a new password", PASSWORD),
    ):
        with pytest.raises(NotAllowed):
            attempt()
    with pytest.raises(NoSuch):
        people.revoke_token(machine, "acme-ci")


def test_a_revoked_token_is_refused_at_once_with_its_refresh_tokens(people: AccountsService) -> None:
    paula = signed_in(people, "paula")
    made = people.create_token(paula, "ci", "acme", ["push"])
    refresh = people.issue_refresh_token(people.authenticate("acme-ci", made.secret), made.secret) or ""
    with pytest.raises(NoSuch):
        people.revoke_token(signed_in(people, "otto"), "acme-ci")
    people.revoke_token(paula, "acme-ci")
    with pytest.raises(WrongCredentials):
        people.authenticate("acme-ci", made.secret)
    with pytest.raises(NotSignedIn):
        people.refresh(refresh)
    for name in ("acme-ci", "", "a\x00", "paula"):
        with pytest.raises(NoSuch):
            people.revoke_token(paula, name)
    again = people.create_token(paula, "ci", "acme", ["push"])
    assert again.secret != made.secret


def test_an_expired_token_says_so_to_who_has_its_secret(people: AccountsService, clock: Clock) -> None:
    made = people.create_token(signed_in(people, "paula"), "ci", "acme", ["push"], timedelta(days=1))
    refresh = people.issue_refresh_token(people.authenticate("acme-ci", made.secret), made.secret) or ""
    clock.advance(days=1)
    with pytest.raises(TokenExpired, match="expired on 2026-11-24"):
        people.authenticate("acme-ci", made.secret)
    with pytest.raises(TokenExpired):
        people.refresh(refresh)
    with pytest.raises(WrongCredentials):
        people.authenticate("acme-ci", "ch_" + "a" * 43)


def test_tokens_are_made_by_those_who_work_for_the_publisher(people: AccountsService) -> None:
    with pytest.raises(NotAllowed):
        people.create_token(signed_in(people, "otto"), "ci", "acme", ["pull"])
    with pytest.raises(NotAllowed):
        people.create_token(signed_in(people, "cora"), "ci", "acme", ["pull"])
    with pytest.raises(NotAllowed):
        people.create_token(HUB, "ci", "acme", ["pull"])
    with pytest.raises(NotSignedIn):
        people.create_token(ANONYMOUS, "ci", "acme", ["pull"])
    with pytest.raises(NoSuch):
        people.create_token(signed_in(people, "admin"), "ci", "nothing", ["pull"])
    paula = signed_in(people, "paula")
    for scope in ([], ["delete"], ["*"]):
        with pytest.raises(InvalidTokenScope):
            people.create_token(paula, "ci", "acme", scope)
    for life in (timedelta(0), timedelta(seconds=-5), timedelta(seconds=59), timedelta.max):
        with pytest.raises(UnfitExpiry):
            people.create_token(paula, "ci", "acme", ["pull"], life)
    # A principal from before the membership ended has no say any more.
    people.remove_member(HUB, "acme", "paula")
    with pytest.raises(NotAllowed):
        people.create_token(paula, "ci", "acme", ["pull"])
    assert people.tokens(HUB) == []


def test_a_consumer_has_a_pulling_token_of_his_own(people: AccountsService) -> None:
    cora = signed_in(people, "cora")
    made = people.create_token(cora, "cluster", None, ["pull"])
    assert made.token.username == "cora-cluster"
    machine = people.authenticate("cora-cluster", made.secret)
    assert rights(people, machine, "acme/web") == {"pull"}
    assert rights(people, machine) == frozenset()
    with pytest.raises(NotAllowed):
        people.create_token(cora, "pusher", None, ["push"])
    assert [one.username for one in people.tokens(cora)] == ["cora-cluster"]
    assert people.tokens(signed_in(people, "paula")) == []


# What is written down --------------------------------------------------------------------------------------------


def test_every_change_is_one_audit_entry_without_a_secret(people: AccountsService) -> None:
    before = len(log(people))
    admin = signed_in(people, "admin")
    secrets = [PASSWORD, "a new password"]
    people.add_user(admin, "eve", "publisher", PASSWORD)
    people.add_member(admin, "acme", "eve")
    made = people.create_token(signed_in(people, "eve"), "ci", "acme", ["push"])
    session = people.login(basic("eve", PASSWORD))
    people.logout(f"Bearer {session.secret}")
    people.revoke_token(admin, "acme-ci")
    people.set_password(admin, "eve", "a new password")
    people.remove_member(admin, "acme", "eve")
    people.set_role(admin, "eve", "consumer")
    people.set_disabled(admin, "eve", True)
    people.remove_user(admin, "eve")
    secrets += [made.secret, session.secret, secret_digest(made.secret), secret_digest(session.secret)]
    entries = log(people)[before:]
    assert [(entry.actor, entry.action, entry.subject) for entry in entries] == [
        ("admin", "user.add", "eve"),
        ("admin", "publisher.member.add", "acme"),
        ("eve", "token.create", "acme-ci"),
        ("eve", "session.open", "eve"),
        ("eve", "session.end", "eve"),
        ("admin", "token.revoke", "acme-ci"),
        ("admin", "user.password", "eve"),
        ("admin", "publisher.member.remove", "acme"),
        ("admin", "user.role", "eve"),
        ("admin", "user.disable", "eve"),
        ("admin", "user.remove", "eve"),
    ]
    text = repr(entries)
    assert not [secret for secret in secrets if secret in text]


def test_lists_come_in_pages(people: AccountsService) -> None:
    names = [user.name for user in people.users(HUB)]
    assert set(names) == {"admin", "carl", "paula", "otto", "cora"}
    assert [user.name for user in people.users(HUB, after=names[1], limit=2)] == names[2:4]
    assert [one.name for one in people.publishers(HUB, after="acme")] == ["other"]
