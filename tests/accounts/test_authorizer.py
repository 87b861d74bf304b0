"""The guard of the bearer doors: who is let in, who is sent to /token, who is told that nobody may."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.accounts.authorizer import REMEMBERED, Authorizer, Challenge, NotWritable, TokenRequired
from customhouse.accounts.tokens import TokenSigner
from tests.accounts.conftest import HOST, URL
from tests.conftest import Clock

STAGING = "staging/acme/web"


@pytest.fixture
def authorizer(signer: TokenSigner, clock: Clock) -> Authorizer:
    return Authorizer(signer, f"{URL}/token", HOST, clock)


def bearer(signer: TokenSigner, clock: Clock, **access: str) -> str:
    given = {name.replace("__", "/"): frozenset(actions.split()) for name, actions in access.items()}
    return f"Bearer {signer.issue('paula', given, clock(), owner='paula').token}"


def test_without_a_token_the_challenge_tells_where_to_get_which(authorizer: Authorizer) -> None:
    with pytest.raises(TokenRequired) as caught:
        authorizer.authorize(None, STAGING, "push")
    assert str(caught.value.challenge) == (
        'Bearer realm="https://localhost:5443/token",service="customhouse",scope="repository:staging/acme/web:pull,push"'
    )
    with pytest.raises(TokenRequired) as caught:
        authorizer.authenticate(None)
    assert str(caught.value.challenge) == 'Bearer realm="https://localhost:5443/token",service="customhouse"'


def test_a_token_opens_what_it_names_and_nothing_else(
    authorizer: Authorizer, signer: TokenSigner, clock: Clock
) -> None:
    header = bearer(signer, clock, staging__acme__web="pull push")
    assert authorizer.authorize(header, STAGING, "push").subject == "paula"
    assert authorizer.authorize(header, f"{HOST}/{STAGING}", "pull").owner == "paula"
    for repository, action in (
        (STAGING, "delete"),
        (STAGING, "*"),
        ("staging/other/web", "pull"),
        ("acme/web", "pull"),
    ):
        with pytest.raises(TokenRequired) as caught:
            authorizer.authorize(header, repository, action)
        assert caught.value.challenge.error == "insufficient_scope"
        assert caught.value.challenge.scope == f"repository:{repository}:{action}"


@pytest.mark.parametrize(
    ("subject", "repository", "action", "said"),
    [
        ("paula", "staging/other/web", "push",
         "paula may not push in staging/other/web; it is private to publisher other: sign in with `docker login` as a "
         "member, or with a token of it whose scope is push"),
        ("", "staging/other/web", "pull",
         "nobody is signed in, so you may not pull in staging/other/web; it is private to publisher other: sign in "
         "with `docker login` as a member"),
        ("paula", "quarantine/s-1", "pull",
         "paula may not pull in quarantine/s-1; it is the certification team's: sign in with `docker login` as a "
         "certifier"),
        ("", "acme/web", "pull",
         "nobody is signed in, so you may not pull in acme/web; sign in with `docker login` as somebody who may"),
    ],
)  # fmt: skip
def test_who_may_not_is_told_who_may_in_the_words_that_docker_prints(
    authorizer: Authorizer, signer: TokenSigner, clock: Clock, subject: str, repository: str, action: str, said: str
) -> None:
    token = f"Bearer {signer.issue(subject, {}, clock(), owner=subject).token}"
    with pytest.raises(TokenRequired) as caught:
        authorizer.authorize(token, repository, action)
    assert caught.value.message == said
    assert caught.value.hint == ""
    assert str(caught.value.challenge).endswith(f',error="insufficient_scope",error_description="{said}"')


def test_a_star_in_a_token_is_every_action(authorizer: Authorizer, signer: TokenSigner, clock: Clock) -> None:
    header = bearer(signer, clock, staging__acme__web="*")
    for action in ("pull", "push", "delete", "*"):
        assert authorizer.authorize(header, STAGING, action)


@pytest.mark.parametrize("repository", ["acme/web", "quarantine/s-1", "web"])
def test_where_nobody_pushes_a_known_caller_is_told_so(
    authorizer: Authorizer, signer: TokenSigner, clock: Clock, repository: str
) -> None:
    for action in ("push", "delete"):
        with pytest.raises(NotWritable, match="push to staging|the hub itself pins"):
            authorizer.authorize(bearer(signer, clock), repository, action)
        with pytest.raises(TokenRequired):
            authorizer.authorize(None, repository, action)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "bearer x",
        "Basic " + base64.b64encode(b"paula:right horse battery").decode(),
        "Digest x",
        "Bearer a.b.c",
        "Bearer " + "a" * 20000,
        "Bearer \udcff\udcfe",
        "Bearer ch_" + "a" * 43,
    ],
)
def test_whatever_is_no_token_of_ours_is_sent_to_the_token_door(authorizer: Authorizer, header: str) -> None:
    with pytest.raises(TokenRequired):
        authorizer.authorize(header, STAGING, "pull")
    with pytest.raises(TokenRequired):
        authorizer.authenticate(header)
    assert not authorizer.may(header, STAGING, "pull")


def test_may_answers_plainly(authorizer: Authorizer, signer: TokenSigner, clock: Clock) -> None:
    header = bearer(signer, clock, staging__acme__web="pull")
    assert authorizer.may(header, STAGING, "pull")
    assert not authorizer.may(header, STAGING, "push")
    assert not authorizer.may(header, "staging/other/web", "pull")
    assert not authorizer.may(header, "acme/web", "push")
    assert not authorizer.may(None, STAGING, "pull")


def test_a_remembered_token_is_over_when_its_time_is(authorizer: Authorizer, signer: TokenSigner, clock: Clock) -> None:
    header = bearer(signer, clock, staging__acme__web="pull")
    first = authorizer.authorize(header, STAGING, "pull")
    assert authorizer.authorize(header, STAGING, "pull") is first  # not verified twice
    clock.advance(seconds=300)
    with pytest.raises(TokenRequired) as caught:
        authorizer.authorize(header, STAGING, "pull")
    assert caught.value.challenge.error == "invalid_token"


def test_the_memory_of_tokens_is_bounded(authorizer: Authorizer, signer: TokenSigner, clock: Clock) -> None:
    claims = authorizer.authenticate(bearer(signer, clock))
    authorizer._known.update({number.to_bytes(4, "big"): claims for number in range(REMEMBERED + 5)})
    authorizer.authenticate(bearer(signer, clock))
    assert len(authorizer._known) <= REMEMBERED
    clock.advance(seconds=301)
    authorizer._known.update({number.to_bytes(4, "big"): claims for number in range(REMEMBERED)})
    authorizer.authenticate(bearer(signer, clock))
    assert len(authorizer._known) == 1


@given(name=st.text(max_size=80))
def test_no_name_breaks_out_of_the_challenge(name: str) -> None:
    from customhouse.accounts.authorizer import _asked

    header = str(Challenge("https://h/token", "customhouse", _asked(name, "pull"), "", f"not in {name}"))
    assert header.count('"') in (6, 8)
    assert "\\" not in header
    assert header.isascii()
    assert header.isprintable()
