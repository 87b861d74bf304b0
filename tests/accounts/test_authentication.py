"""Who is it, on both databases: passwords, secrets, sessions, throttle, and registry tokens."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from customhouse.accounts.authentication import (
    NotSignedIn,
    WrongCredentials,
)
from customhouse.accounts.people import ANONYMOUS, HUB, Principal, Role
from customhouse.accounts.service import (
    AccountsService,
)
from customhouse.accounts.throttle import Throttled
from customhouse.accounts.tokens import Scope
from customhouse.errors import Unauthenticated
from tests.accounts.conftest import PASSWORD, STAGING, basic, rights, signed_in
from tests.conftest import Clock

# First start -----------------------------------------------------------------------------------------------------


def test_the_first_start_makes_one_administrator_and_the_next_none(service: AccountsService) -> None:
    assert service.add_administrator_if_none(PASSWORD)
    assert not service.add_administrator_if_none("another password")
    assert service.authenticate("admin", PASSWORD).administers
    with pytest.raises(WrongCredentials):
        service.authenticate("admin", "another password")


# Who is it -------------------------------------------------------------------------------------------------------


def test_wrong_names_and_wrong_passwords_are_one_answer(people: AccountsService) -> None:
    told = set()
    for name, password in (
        ("paula", "wrong password"),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("PAULA", PASSWORD),
        ("paula\x00", PASSWORD),
        ("a" * 500, PASSWORD),
        ("p'--", PASSWORD),
        ("paula", ""),
        ("paula", "\x00"),
        ("paula", "x" * 100_000),
        ("acme", PASSWORD),
    ):
        with pytest.raises(WrongCredentials) as caught:
            people.authenticate(name, password)
        told.add(str(caught.value))
    assert len(told) == 1


def test_a_secret_that_opens_nothing_says_so_whatever_the_name(people: AccountsService) -> None:
    for name in ("paula", "nobody", ""):
        with pytest.raises(WrongCredentials, match="unknown, over or revoked") as caught:
            people.authenticate(name, "ch_" + "a" * 43)
        assert "docker login" in caught.value.hint


def test_a_principal_has_the_rights_of_this_moment(people: AccountsService) -> None:
    assert people.authenticate("paula", PASSWORD) == Principal(
        "paula", "user", Role.PUBLISHER, frozenset({"acme"}), None, "paula"
    )
    people.remove_member(HUB, "acme", "paula")
    people.add_member(HUB, "other", "paula")
    people.add_member(HUB, "other", "paula")
    assert people.authenticate("paula", PASSWORD).publishers == {"other"}


def test_failures_are_throttled_by_name_and_address_and_time_heals(people: AccountsService, clock: Clock) -> None:
    for _ in range(10):
        with pytest.raises(WrongCredentials):
            people.authenticate("paula", "wrong password", "10.0.0.1")
    with pytest.raises(Throttled, match="wait 6 s"):
        people.authenticate("paula", PASSWORD, "10.0.0.1")
    assert people.authenticate("paula", PASSWORD, "10.0.0.2")
    clock.advance(seconds=6)
    assert people.authenticate("paula", PASSWORD, "10.0.0.1")


def test_failures_at_one_process_count_at_the_others(
    people: AccountsService, make_service: Callable[[], AccountsService], clock: Clock
) -> None:
    processes = [people, make_service(), make_service()]
    for process in processes:
        process.others_count = True
    for number in range(10):
        with pytest.raises(WrongCredentials):
            processes[number % 3].authenticate("paula", "wrong password", "10.0.0.1")
    for process in processes:
        with pytest.raises(Throttled, match="wait 6 s"):
            process.authenticate("paula", PASSWORD, "10.0.0.1")
        assert process.authenticate("paula", PASSWORD, "10.0.0.2")
    clock.advance(seconds=6)
    assert people.authenticate("paula", PASSWORD, "10.0.0.1")
    for process in processes:  # a success is one everywhere
        with pytest.raises(WrongCredentials):
            process.authenticate("paula", "wrong password", "10.0.0.1")


def test_guesses_at_the_same_time_count_one_by_one(people: AccountsService) -> None:
    met: list[type[Exception]] = []

    def guess() -> None:
        try:
            people.authenticate("paula", "wrong password", "10.0.0.1")
        except Unauthenticated as error:
            met.append(type(error))

    threads = [threading.Thread(target=guess) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert met.count(WrongCredentials) == 10
    assert met.count(Throttled) == 6


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic cGF1bGE=",
        "Basic Og==",
        "Basic gICAgDo=",
        "Bearer",
        "Bearer a.b.c",
        "Bearer ch_x",
        "Negotiate abc",
        "Bearer ch_" + "a" * 43,
    ],
)
def test_an_authorization_that_cannot_be_read_is_nobody_we_know(people: AccountsService, header: str) -> None:
    with pytest.raises(Unauthenticated):
        people.principal_of(header)


def test_no_authorization_is_the_anonymous_principal(people: AccountsService) -> None:
    assert people.principal_of(None) == ANONYMOUS


# Logins ----------------------------------------------------------------------------------------------------------


def test_a_login_lives_twelve_hours_and_is_a_docker_password_too(people: AccountsService, clock: Clock) -> None:
    session = people.login(basic("paula", PASSWORD))
    assert session.expires == clock() + timedelta(hours=12)
    assert people.principal_of(f"Bearer {session.secret}").name == "paula"
    assert people.principal_of(f"bearer  {session.secret} ").name == "paula"
    assert people.authenticate("paula", session.secret).name == "paula"
    with pytest.raises(WrongCredentials):
        people.authenticate("otto", session.secret)
    clock.advance(hours=12)
    with pytest.raises(WrongCredentials):
        people.principal_of(f"Bearer {session.secret}")


def test_a_login_does_not_prolong_itself(people: AccountsService) -> None:
    session = people.login(basic("paula", PASSWORD))
    with pytest.raises(Unauthenticated):
        people.login(f"Bearer {session.secret}")
    with pytest.raises(Unauthenticated):
        people.login(basic("paula", session.secret))
    with pytest.raises(Unauthenticated):
        people.login(None)
    assert people.issue_refresh_token(people.authenticate("paula", session.secret), session.secret) is None


def test_a_logout_ends_this_login_only(people: AccountsService) -> None:
    first, second = (people.login(basic("paula", PASSWORD)).secret for _ in range(2))
    people.logout(f"Bearer {first}")
    with pytest.raises(WrongCredentials):
        people.principal_of(f"Bearer {first}")
    assert people.principal_of(f"Bearer {second}")
    for header in (f"Bearer {first}", None, "Basic x"):
        with pytest.raises(NotSignedIn):
            people.logout(header)


def test_sessions_of_one_login_are_bounded(people: AccountsService, clock: Clock) -> None:
    paula = signed_in(people, "paula")
    secrets = []
    for _ in range(103):
        clock.advance(seconds=1)
        secrets.append(people.issue_refresh_token(paula, PASSWORD) or "")
    for gone in secrets[:3]:
        with pytest.raises(NotSignedIn):
            people.refresh(gone)
    assert people.refresh(secrets[3]).name == people.refresh(secrets[-1]).name == "paula"


# Registry tokens -------------------------------------------------------------------------------------------------


def test_a_registry_token_is_the_intersection_of_asked_and_allowed(people: AccountsService) -> None:
    paula = signed_in(people, "paula")
    scopes = [
        Scope("repository", STAGING, frozenset({"pull"})),
        Scope("repository", STAGING, frozenset({"push"})),
        Scope("repository", "staging/other/web", frozenset({"pull", "push"})),
        Scope("repository", "acme/web", frozenset({"pull", "push"})),
        Scope("registry", "catalog", frozenset({"*"})),
    ]
    assert people.issue_registry_token(paula, scopes).access == {STAGING: {"pull", "push"}, "acme/web": {"pull"}}
    assert people.issue_registry_token(None, scopes).access == {"acme/web": {"pull"}}
    assert people.issue_registry_token(None, []).access == {}


def test_a_closed_hub_gives_nobody_the_official_images(people: AccountsService) -> None:
    people.anonymous_pull = False
    assert rights(people, ANONYMOUS, "acme/web") == frozenset()
    assert rights(people, signed_in(people, "cora"), "acme/web") == {"pull"}


def test_no_secret_and_no_password_is_in_any_row(people: AccountsService) -> None:
    made = people.create_token(signed_in(people, "paula"), "ci", "acme", ["push"])
    session = people.login(basic("paula", PASSWORD)).secret
    refresh = people.issue_refresh_token(signed_in(people, "paula"), PASSWORD) or ""
    from customhouse.db import metadata

    with people.store.read() as tx:
        rows = repr([tx.execute(table.select()).all() for table in metadata.sorted_tables])
    for secret in (made.secret, session, refresh, PASSWORD):
        assert secret not in rows
        assert secret.removeprefix("ch_") not in rows
