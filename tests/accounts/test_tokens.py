"""Scopes as docker writes them, and tokens that are ours, whole and not over."""

import base64
import hmac
import json
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey

from customhouse.accounts.tokens import (
    LONGEST_TOKEN,
    InvalidScope,
    Scope,
    TokenKey,
    TokenRejected,
    TokenSigner,
    is_secret,
    new_secret,
    parse_scopes,
    secret_digest,
)
from customhouse.errors import Invalid
from tests.accounts.conftest import HOST, URL, new_key_pem

ACCESS = {"staging/acme/web": frozenset({"pull", "push"}), "acme/web": frozenset({"pull"}), "x/y": frozenset[str]()}


def test_a_scope_with_the_hubs_host_is_the_repository_without_it() -> None:
    wanted = Scope("repository", "staging/acme/web", frozenset({"pull", "push"}))
    assert Scope.parse("repository:localhost:5443/staging/acme/web:push,pull", HOST) == wanted
    assert Scope.parse("repository:staging/acme/web:pull,push", HOST) == wanted
    assert Scope.parse("repository:elsewhere:5443/acme/web:pull", HOST).name == "elsewhere:5443/acme/web"
    assert Scope.parse("repository:localhost:54433/acme/web:pull", HOST).name == "localhost:54433/acme/web"


def test_classes_empty_actions_and_the_star_are_understood() -> None:
    assert Scope.parse("repository(plugin):acme/web:pull").resource_class == "plugin"
    assert Scope.parse("repository:acme/web:").actions == frozenset()
    assert Scope.parse("registry:catalog:*").actions == {"*"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "repository",
        "repository:acme/web",
        ":acme/web:pull",
        "repository::pull",
        "Repository:a/b:pull",
        "repository:a b:pull",
        "repository:a/b:PULL",
        "repository:a/b:pull;push",
        "repository():a/b:pull",
        "repository:a/b\n:pull",
        "repository:a\x00/b:pull",
        'repository:a"/b:pull',
        "repository:" + "a" * 600 + ":pull",
        "repository:a/b:" + "pull," * 400,
    ],
)
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(InvalidScope):
        Scope.parse(text, HOST)


@given(
    st.sampled_from(["repository", "registry"]),
    st.from_regex(r"([a-z0-9]{1,8}(:[0-9]{1,5})?/)?[a-z0-9]{1,8}(/[a-z0-9._-]{1,8}){0,3}", fullmatch=True),
    st.sets(st.sampled_from(["pull", "push", "delete", "*"])),
    st.sampled_from(["", "plugin", "image"]),
)
def test_a_scope_survives_being_written_and_read(kind: str, name: str, actions: set[str], sort: str) -> None:
    scope = Scope(kind, name, frozenset(actions), sort)
    assert Scope.parse(str(scope)) == scope


@given(st.text(max_size=200) | st.text("repository:/,*()pulsh \n", max_size=80))
def test_any_text_is_a_scope_or_is_refused(text: str) -> None:
    try:
        scope = Scope.parse(text, HOST)
    except InvalidScope:
        return
    assert Scope.parse(str(scope)) == scope


def test_scopes_come_repeated_or_parted_by_spaces_and_not_without_end() -> None:
    assert len(parse_scopes(["repository:a/b:pull repository:c/d:pull", "repository:e/f:pull"], HOST)) == 3
    assert parse_scopes(["", " "], HOST) == ()
    with pytest.raises(InvalidScope, match="more than 32"):
        parse_scopes(["repository:a/b:pull"] * 33, HOST)


def test_a_token_carries_what_docker_and_the_specification_want(signer: TokenSigner, now: datetime) -> None:
    issued = signer.issue("paula", ACCESS, now, owner="paula")
    head, body, _ = issued.token.split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    assert header == {"typ": "JWT", "alg": "ES256", "kid": signer.key.kid}
    assert (claims["iss"], claims["aud"], claims["sub"]) == (URL, "customhouse", "paula")
    assert claims["exp"] - claims["iat"] == 300
    assert claims["nbf"] == claims["iat"] == int(now.timestamp())
    assert claims["access"] == [
        {"type": "repository", "name": "acme/web", "actions": ["pull"]},
        {"type": "repository", "name": "staging/acme/web", "actions": ["pull", "push"]},
    ]
    assert 60 <= issued.expires_in <= 300
    assert issued.scope == "repository:acme/web:pull repository:staging/acme/web:pull,push"


def test_a_verified_token_says_who_and_what(signer: TokenSigner, now: datetime) -> None:
    claims = signer.verify(signer.issue("acme-ci", ACCESS, now, owner="paula").token, now)
    assert (claims.subject, claims.owner) == ("acme-ci", "paula")
    assert claims.allows("staging/acme/web", "push")
    assert not claims.allows("staging/acme/web", "delete")
    assert not claims.allows("acme/web", "push")
    assert not claims.allows("x/y", "pull")


def test_the_largest_token_that_is_issued_is_accepted(signer: TokenSigner, now: datetime) -> None:
    names = [f"staging/acme/{number:02}" + "a" * 239 for number in range(32)]
    issued = signer.issue(
        "a" * 127, {name: frozenset({"pull", "push", "delete", "*"}) for name in names}, now, "a" * 63
    )
    assert signer.verify(issued.token, now).allows(names[31], "delete")


def test_two_tokens_of_one_moment_differ(signer: TokenSigner, now: datetime) -> None:
    assert signer.issue("a", {}, now).token != signer.issue("a", {}, now).token


def test_a_token_lives_five_minutes_and_not_a_second_more(signer: TokenSigner, now: datetime) -> None:
    token = signer.issue("paula", ACCESS, now).token
    assert signer.verify(token, now + timedelta(seconds=299))
    with pytest.raises(TokenRejected, match="over"):
        signer.verify(token, now + timedelta(seconds=300))
    assert signer.verify(token, now - timedelta(seconds=59))  # another machine's clock
    with pytest.raises(TokenRejected, match="not valid yet"):
        signer.verify(token, now - timedelta(seconds=61))


def test_foreign_and_forged_tokens_are_refused(signer: TokenSigner, now: datetime) -> None:
    token = signer.issue("paula", ACCESS, now).token
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["sub"] = "admin"

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    other = ECKey.import_key(new_key_pem())
    # By hand: the library refuses to use a public key like this, an attacker does not.
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}"
    mac = hmac.digest(signer.key.key.as_pem(private=False), signed.encode(), "sha256")
    shared = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    attacks = {
        "claims changed": f"{head}.{part(claims)}.{signature}",
        "no algorithm": f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}.",
        "public key as a shared secret": shared,
        "another key": jwt.encode({"alg": "ES256", "kid": signer.key.kid}, claims, other),
        "another key brought along": jwt.encode(
            {"alg": "ES256", "jwk": other.as_dict(private=False)}, claims, other, algorithms=["ES256"]
        ),
        "signature cut": f"{head}.{body}.{signature[:-8]}",
        "empty": "",
        "dots": "..",
        "text": "hello",
        "not ascii": "é.é.é",
        "huge": "a" * (LONGEST_TOKEN + 1),
        "deep header": f"{base64.urlsafe_b64encode(b'[' * 9000).decode()}.{body}.{signature}",
        "list for claims": jwt.encode({"alg": "ES256"}, {"access": "x"}, signer.key.key),
    }
    for name, attack in attacks.items():
        with pytest.raises(TokenRejected):
            signer.verify(attack, now)
            pytest.fail(name)


def test_a_token_for_another_hub_or_service_is_refused(signer: TokenSigner, now: datetime) -> None:
    for stranger in (TokenSigner(signer.key, "https://other"), TokenSigner(signer.key, URL, "another")):
        with pytest.raises(TokenRejected, match="another service"):
            signer.verify(stranger.issue("paula", ACCESS, now).token, now)


def test_our_own_signature_on_claims_of_another_shape_is_refused(signer: TokenSigner, now: datetime) -> None:
    whole = {"iss": URL, "aud": "customhouse", "sub": "a", "nbf": 0, "exp": 9e9, "access": []}
    for broken in (
        {"exp": None},
        {"exp": "soon"},
        {"exp": 1e300},
        {"nbf": []},
        {"access": 5},
        {"access": [{}]},
        {"access": [[]]},
    ):
        token = jwt.encode({"alg": "ES256"}, {**whole, **broken}, signer.key.key)
        with pytest.raises(TokenRejected):
            signer.verify(token, now)


def test_the_kid_is_the_thumbprint_and_the_public_jwk_has_no_private_part(signer: TokenSigner) -> None:
    jwk = signer.key.public_jwk
    assert jwk["kid"] == ECKey.import_key({k: jwk[k] for k in ("kty", "crv", "x", "y")}).thumbprint()
    assert "d" not in jwk
    assert "PRIVATE" not in repr(signer)


def test_a_certificate_of_the_key_goes_along_as_x5c(now: datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub tokens")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    signer = TokenSigner(TokenKey.parse(pem, certificate.public_bytes(Encoding.PEM)), URL)
    token = signer.issue("paula", ACCESS, now).token
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "==="))
    assert base64.b64decode(header["x5c"][0]) == certificate.public_bytes(Encoding.DER)
    assert signer.verify(token, now).subject == "paula"


def test_keys_that_cannot_sign_es256_are_refused() -> None:
    wrong_curve = ec.generate_private_key(ec.SECP384R1())
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    from cryptography.hazmat.primitives.serialization import PublicFormat

    for pem in (
        b"",
        b"hello",
        wrong_curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ):
        with pytest.raises(Invalid):
            TokenKey.parse(pem)


def test_secrets_are_long_recognisable_and_stored_as_a_hash() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(is_secret(one) and one.startswith("ch_") for one in secrets)
    for text in ("ch_short", "right horse battery", "ch_" + "a" * 44, "ch_" + "a" * 42 + "\n"):
        assert not is_secret(text)
    assert len(secret_digest(new_secret())) == 64
