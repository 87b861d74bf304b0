"""Names, roles and what a principal may do for a publisher."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.accounts.access import kind_of
from customhouse.accounts.people import (
    NAME,
    InvalidName,
    InvalidRole,
    InvalidTokenScope,
    Principal,
    Role,
    parse_publisher_name,
    parse_token_name,
    parse_token_scope,
    parse_user_name,
)

BAD = ["", "-a", "_a", "A", "a b", "a.b", "a/b", "a@b", "é", "a" * 64, "a\n", "a\x00", "a:b"]


@pytest.mark.parametrize("name", BAD)
def test_names_outside_the_role_grammar_are_refused(name: str) -> None:
    for parse in (parse_user_name, parse_publisher_name, parse_token_name):
        with pytest.raises(InvalidName):
            parse(name)


@pytest.mark.parametrize("name", ["staging", "quarantine", "v2", "token", "api"])
def test_reserved_words_name_neither_users_nor_publishers(name: str) -> None:
    for parse in (parse_user_name, parse_publisher_name):
        with pytest.raises(InvalidName, match="keeps this name"):
            parse(name)


@pytest.mark.parametrize("name", ["acme-", "acme_", "a_-b", "a___b"])
def test_a_publisher_is_a_repository_component_as_well(name: str) -> None:
    assert parse_user_name(name) == name
    with pytest.raises(InvalidName):
        parse_publisher_name(name)


@given(st.from_regex(NAME, fullmatch=True))
def test_every_publisher_name_makes_repositories(name: str) -> None:
    try:
        parse_publisher_name(name)
    except InvalidName:
        return
    assert kind_of(f"staging/{name}/web") == "staging"
    assert kind_of(f"{name}/web") == "official"


def test_unknown_roles_and_scopes_are_refused() -> None:
    with pytest.raises(InvalidRole):
        Role.parse("root")
    for words in ([], ["*"], ["delete"], ["pull", "admin"], ["pull,push"]):
        with pytest.raises(InvalidTokenScope):
            parse_token_scope(words)
    assert parse_token_scope(["push"]) == {"pull", "push"}
    assert parse_token_scope(["pull"]) == {"pull"}


def test_a_pull_token_does_not_work_for_its_publisher_beyond_pulling() -> None:
    token = Principal("acme-ci", "token", Role.PUBLISHER, frozenset({"acme"}), frozenset({"pull"}), "paula")
    assert token.works_for("acme", "pull")
    assert not token.works_for("acme")
    assert not token.works_for("other", "pull")
