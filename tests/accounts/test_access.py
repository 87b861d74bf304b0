"""The table of rights, cell by cell, and as a whole."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.accounts.access import ACTIONS, Kind, allowed, granted, kind_of, publisher_of, why_not_writable
from customhouse.accounts.people import ANONYMOUS, HUB, AccessToken, Principal, Role, User

MOMENT = datetime(2026, 11, 23, tzinfo=UTC)


def user(role: str, *publishers: str) -> User:
    return User("someone", Role(role), False, MOMENT, publishers)


def token(owner: User, publisher: str | None, *scope: str) -> Principal:
    made = AccessToken("acme-ci", "ci", publisher, owner.name, frozenset(scope), MOMENT, None)
    return made.principal(owner)


OWN, FOREIGN = "staging/acme/web", "staging/other/web"
PINNED, OFFICIAL, FOREIGN_OFFICIAL = "quarantine/s-1", "acme/web", "other/team/web"
REPOSITORIES = (OWN, FOREIGN, PINNED, OFFICIAL, FOREIGN_OFFICIAL)
# Letters: p pull, P push, d delete, * everything; the columns are REPOSITORIES, anonymous pull on.
TABLE: dict[str, tuple[Principal, str, str, str, str, str]] = {
    "nobody": (ANONYMOUS, "", "", "", "p", "p"),
    "consumer": (user("consumer").principal(), "", "", "", "p", "p"),
    "consumer listed as member": (user("consumer", "acme").principal(), "", "", "", "p", "p"),
    "publisher of acme": (user("publisher", "acme").principal(), "pPd", "", "", "p", "p"),
    "publisher of both": (user("publisher", "acme", "other").principal(), "pPd", "pPd", "", "p", "p"),
    "publisher of none": (user("publisher").principal(), "", "", "", "p", "p"),
    "certifier": (user("certifier").principal(), "", "", "p", "p", "p"),
    "certifier listed as member": (user("certifier", "acme").principal(), "", "", "p", "p", "p"),
    "administrator": (user("administrator").principal(), "pPd*", "pPd*", "p", "p", "p"),
    "the hub": (HUB, "pPd*", "pPd*", "p", "p", "p"),
    "push token": (token(user("publisher", "acme"), "acme", "pull", "push"), "pP", "", "", "p", "p"),
    "pull token": (token(user("publisher", "acme"), "acme", "pull"), "p", "", "", "p", "p"),
    "token of one who is in both": (
        token(user("publisher", "acme", "other"), "acme", "pull", "push"),
        "pP",
        "",
        "",
        "p",
        "p",
    ),
    "token of one who left": (token(user("publisher", "other"), "acme", "pull", "push"), "", "", "", "p", "p"),
    "token of one who consumes now": (token(user("consumer", "acme"), "acme", "pull", "push"), "", "", "", "p", "p"),
    "token of one who certifies now": (token(user("certifier", "acme"), "acme", "pull", "push"), "", "", "", "p", "p"),
    "token of an administrator": (token(user("administrator"), "acme", "pull", "push"), "pP", "", "", "p", "p"),
    "token without a publisher": (token(user("administrator"), None, "pull"), "", "", "", "p", "p"),
}
LETTERS = {"p": "pull", "P": "push", "d": "delete", "*": "*"}


@pytest.mark.parametrize("who", TABLE)
def test_each_cell_of_the_table_is_as_written(who: str) -> None:
    principal, *cells = TABLE[who]
    for repository, cell in zip(REPOSITORIES, cells, strict=True):
        wanted = {LETTERS[letter] for letter in str(cell)}
        assert allowed(principal, repository, anonymous_pull=True) == wanted, repository


@pytest.mark.parametrize("who", TABLE)
def test_without_anonymous_pull_only_nobody_loses_and_only_the_official(who: str) -> None:
    principal = TABLE[who][0]
    for repository in REPOSITORIES:
        on, off = (allowed(principal, repository, anonymous_pull=setting) for setting in (True, False))
        lost = {"pull"} if principal.anonymous and repository in (OFFICIAL, FOREIGN_OFFICIAL) else set()
        assert on - off == lost


@pytest.mark.parametrize("who", TABLE)
@pytest.mark.parametrize(
    "name",
    [
        "",
        "web",
        "staging",
        "staging/acme",
        "quarantine",
        "v2/web",
        "token/web",
        "api/v1",
        "Acme/web",
        "acme//web",
        "/acme/web",
        "acme/web/",
        "../web",
        "acme/../other/web",
        "staging/../acme/web",
        "acme/web:1",
        "localhost:5443/acme/web",
        "acme/web\n",
        "acme/wéb",
        "staging/staging/web",
        "a/" + "b" * 254,
    ],
)
def test_what_is_no_repository_gives_no_rights_to_anybody(who: str, name: str) -> None:
    assert kind_of(name) is None
    assert allowed(TABLE[who][0], name, anonymous_pull=True) == frozenset()


def test_kinds_and_publishers_are_read_from_the_name() -> None:
    assert (kind_of(OWN), publisher_of(OWN)) == (Kind.STAGING, "acme")
    assert (kind_of(PINNED), publisher_of(PINNED)) == (Kind.QUARANTINE, None)
    assert (kind_of(FOREIGN_OFFICIAL), publisher_of(FOREIGN_OFFICIAL)) == (Kind.OFFICIAL, "other")
    assert publisher_of("web") is None
    # A prefix of a reserved word is an ordinary name.
    assert kind_of("staging-x/web") is Kind.OFFICIAL


users = st.builds(
    lambda role, publishers: User("someone", role, False, MOMENT, tuple(publishers)),
    st.sampled_from(list(Role)),
    st.sets(st.sampled_from(["acme", "other"])),
)


@given(users, st.sampled_from(["acme", "other", None]), st.sampled_from([("pull",), ("pull", "push")]), st.booleans())
def test_a_token_never_has_more_than_its_owner_has_now(
    owner: User, publisher: str | None, scope: tuple[str, ...], anonymous_pull: bool
) -> None:
    machine = token(owner, publisher, *scope)
    for repository in REPOSITORIES:
        has = allowed(machine, repository, anonymous_pull=anonymous_pull)
        assert has <= allowed(owner.principal(), repository, anonymous_pull=anonymous_pull)
        assert has <= set(scope)
        if kind_of(repository) is Kind.STAGING and publisher_of(repository) != publisher:
            assert not has
    assert not machine.administers
    assert not machine.certifies


def test_asking_for_everything_gives_what_one_has() -> None:
    assert granted(frozenset("*"), frozenset({"pull", "push"})) == {"pull", "push"}
    assert granted(frozenset({"*"}), ACTIONS) == ACTIONS
    assert granted(frozenset({"push", "pull"}), frozenset({"pull"})) == {"pull"}
    assert granted(frozenset(), ACTIONS) == frozenset()


def test_who_pushes_where_nobody_pushes_is_told_where_to_push() -> None:
    assert why_not_writable(OWN) is None
    assert "staging/acme/web" in (why_not_writable(OFFICIAL) or "")
    assert "quarantine" in (why_not_writable(PINNED) or "")
    assert "staging/<publisher>/<name>" in (why_not_writable("web") or "")
