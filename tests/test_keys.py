"""Keys as TUF metadata and key files hold them."""

import base64
import subprocess
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from customhouse.keyfiles import InvalidKeyFile, KeyFile, WrongPassphrase, encrypted, read_key_file, write_key_file
from customhouse.keys import InvalidKey, PrivateKey, PublicKey, Signature
from customhouse.trust.certificates import root_certificate

NOW = datetime(2026, 11, 23, tzinfo=UTC)

# The targets key of a repository that docker made, and its id there.
SPKI = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeHCxrvuD8oL1SbpMKMte0GsD4UMBWewXoqjjhnWwm8VDGHEyHem9wE+h6vFZX2JBeEU1+p1n"
    "9vhRfQJLsC+jAA=="
)
SPKI_ID = "efbbefbffb2b3e38ede843d779effb74d5911ef9279d1d0e760f11e39f179dfa"

# Written by `docker trust key generate alice` (CLI 28.2.2); the inner PrivateKeyInfo has version 1.
DOCKER_KEY_FILE = b"""-----BEGIN ENCRYPTED PRIVATE KEY-----
role: alice

MIHuMEkGCSqGSIb3DQEFDTA8MBsGCSqGSIb3DQEFDDAOBAg9yRvLEKCB7wICCAAw
HQYJYIZIAWUDBAEqBBBrDLL2MlcvuwWtbQ04n63PBIGgvleYp/Pe5iZazS3qwckS
mNIT0WMRXAKdaftlj+Nra9oGV70+gVokeLj9GMHBtQGu+PWO5AUErmCFWWJL2JPC
LKMCqn2XpFXpCQa8EzDLzWMLCFm5JoVk1zL4s5BrjPTb5NypK8105DeB8k9qApXE
tFxMdDoj+cDH4OvcxQkTm/a3QPrsV5cWIajZvM01ajyJgUI439wLKrqKoVey+Ls+
0Q==
-----END ENCRYPTED PRIVATE KEY-----
"""
DOCKER_KEY_ID = "8c12eb96f321aa8332fd5903f0410ffb28ea72f44e975c538f065dab9aba530b"
DOCKER_PUBLIC_FILE = b"""-----BEGIN PUBLIC KEY-----
role: alice

MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+0M+KXc9IuaKpsvIX1GBDlKE8yyE
TvH6WPRo2b0yKzMv+z/zzu50Hf80yG16fYKIACHaQlTJXtvCDfrbA7fbPw==
-----END PUBLIC KEY-----
"""


def test_a_key_that_docker_made_has_the_id_that_docker_gave_it() -> None:
    assert PublicKey.parse("ecdsa", SPKI).key_id == SPKI_ID
    assert PublicKey.parse("ecdsa", SPKI).canonical_id == SPKI_ID


def test_a_certificate_has_its_own_id_and_the_canonical_id_of_its_key() -> None:
    key = PrivateKey.generate()
    certified = key.with_certificate(root_certificate(key, "localhost/a", NOW))
    assert certified.public.keytype == "ecdsa-x509"
    assert certified.public.key_id != key.public.key_id
    assert certified.public.canonical_id == key.public.key_id
    assert PublicKey.parse("ecdsa-x509", certified.public.encoded) == certified.public


def test_a_certificate_of_another_key_is_refused() -> None:
    with pytest.raises(InvalidKey, match="of another key"):
        PrivateKey.generate().with_certificate(root_certificate(PrivateKey.generate(), "localhost/a", NOW))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_ecdsa_signatures_have_fixed_width(curve: ec.EllipticCurve) -> None:
    key = PrivateKey(ec.generate_private_key(curve))
    made = key.sign(b"payload")
    assert len(made.value) == 2 * ((curve.key_size + 7) // 8)
    assert key.public.verify(b"payload", "ecdsa", made.value)
    assert not key.public.verify(b"payload!", "ecdsa", made.value)
    assert not key.public.verify(b"payload", "ecdsa", made.value[:-1])
    assert not key.public.verify(b"payload", "ecdsa", bytes(len(made.value)))
    assert not key.public.verify(b"payload", "rsapss", made.value)


def test_rsa_is_signed_with_pss_and_pkcs1_is_verified() -> None:
    secret = rsa.generate_private_key(65537, 2048)
    key = PrivateKey(secret)
    made = key.sign(b"payload")
    assert made.method == "rsapss"
    assert key.public.verify(b"payload", "rsapss", made.value)
    assert not key.public.verify(b"payload", "rsapkcs1v15", made.value)
    old = secret.sign(b"payload", padding.PKCS1v15(), hashes.SHA256())
    assert key.public.verify(b"payload", "rsapkcs1v15", old)
    long_salt = padding.PSS(padding.MGF1(hashes.SHA256()), 64)
    assert not key.public.verify(b"payload", "rsapss", secret.sign(b"payload", long_salt, hashes.SHA256()))


def test_ed25519_signs_the_message_itself() -> None:
    key = PrivateKey(ed25519.Ed25519PrivateKey.generate())
    made = key.sign(b"payload")
    assert made == Signature(key.public.key_id, "eddsa", made.value)
    assert key.public.verify(b"payload", "eddsa", made.value)
    assert not key.public.verify(b"other", "eddsa", made.value)
    assert len(key.public.public) == 32


@pytest.mark.parametrize(
    ("keytype", "public", "reason"),
    [
        ("ecdsa", "!!", "not base64"),
        ("ecdsa", SPKI.replace("=", ""), "base64"),
        ("ecdsa", "AAAA", "not a key of type ecdsa"),
        ("rsa", SPKI, "not a key of type rsa"),
        ("ecdsa-x509", SPKI, "PEM certificates"),
        ("ed25519", "AAAA", "not a key of type ed25519"),
        ("dsa", SPKI, "not one of"),
        ("ecdsa", "A" * 100_000, "longer than 64 KiB"),
    ],
)
def test_what_is_not_a_key_is_refused(keytype: str, public: str, reason: str) -> None:
    with pytest.raises(InvalidKey) as refused:
        PublicKey.parse(keytype, public)
    assert reason in refused.value.reason


def test_short_rsa_keys_are_refused() -> None:
    der = (
        rsa.generate_private_key(65537, 1024)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(InvalidKey, match="1024 bits is too short"):
        PublicKey.parse("rsa", base64.b64encode(der).decode())


def test_files_that_docker_wrote_are_read() -> None:
    file = read_key_file(DOCKER_KEY_FILE, b"hunter22222")
    assert file.role == "alice"
    assert file.filename == f"{DOCKER_KEY_ID}.key"
    public = PublicKey.of_pem(DOCKER_PUBLIC_FILE)
    assert public == file.key.public
    made = file.key.sign(b"x")
    assert public.verify(b"x", made.method, made.value)


def test_a_key_file_is_read_as_it_was_written() -> None:
    key = PrivateKey.generate()
    pem = write_key_file(KeyFile(key, "targets", "localhost:5443/staging/acme/web"), b"passphrase")
    found = read_key_file(pem, b"passphrase")
    assert (found.key.public, found.role, found.gun) == (key.public, "targets", "localhost:5443/staging/acme/web")
    with pytest.raises(InvalidKeyFile, match="needs a passphrase"):
        write_key_file(KeyFile(key), b"")


def test_a_wrong_or_missing_passphrase_is_said_and_nothing_else() -> None:
    for passphrase in (b"wrong", b"", None):
        with pytest.raises(WrongPassphrase):
            read_key_file(DOCKER_KEY_FILE, passphrase)


@pytest.mark.parametrize(
    "encoding", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL]
)
def test_unencrypted_files_of_openssl_are_read(encoding: serialization.PrivateFormat) -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    pem = secret.private_bytes(serialization.Encoding.PEM, encoding, serialization.NoEncryption())
    assert read_key_file(pem, None).key.public == PublicKey.of(secret.public_key())


def test_files_that_openssl_encrypted_are_read() -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    pem = secret.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"open")
    )
    assert read_key_file(pem, b"open").key.public == PublicKey.of(secret.public_key())
    with pytest.raises(WrongPassphrase):
        read_key_file(pem, b"shut")


OPENSSL_FORMS = {  # how openssl was told to write it: a key first, then what it is turned into
    "pkcs8": ("ec", "pkcs8 -topk8 -nocrypt"),
    "pkcs8, aes-256, sha256": ("ec", "pkcs8 -topk8 -v2 aes-256-cbc -passout pass:open"),
    "pkcs8, aes-256, sha1": ("ec", "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1 -passout pass:open"),
    "pkcs8, aes-256, sha512": ("ec", "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA512 -passout pass:open"),
    "pkcs8, aes-128": ("ec", "pkcs8 -topk8 -v2 aes-128-cbc -passout pass:open"),
    "pkcs8, triple DES": ("ec", "pkcs8 -topk8 -v2 des3 -passout pass:open"),
    "traditional": ("ec", "ec"),
    "traditional, encrypted": ("ec", "ec -aes256 -passout pass:open"),
    "rsa": ("rsa", "rsa -traditional"),
    "rsa, encrypted": ("rsa", "rsa -traditional -aes128 -passout pass:open"),
    "ed25519": ("ed25519", "pkey"),
    "ed25519, encrypted": ("ed25519", "pkcs8 -topk8 -v2 aes-256-cbc -passout pass:open"),
}


def openssl(words: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *words.split()], input=stdin, capture_output=True, check=True).stdout


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("form", OPENSSL_FORMS)
def test_every_form_that_openssl_writes_is_read(form: str) -> None:
    kind, words = OPENSSL_FORMS[form]
    made = {
        "ec": "ecparam -genkey -name prime256v1", "rsa": "genrsa 2048", "ed25519": "genpkey -algorithm ed25519",
    }[kind]  # `ecparam` writes the parameters in a block of their own before the key
    first = openssl(made)
    public = PublicKey.of_pem(openssl("pkey -pubout", first))
    assert read_key_file(first, None).key.public == public
    pem = openssl(words, first)
    protected = "open" in words
    assert encrypted(pem) == protected
    assert read_key_file(pem, b"open" if protected else None).key.public == public
    if protected:
        for wrong in (b"shut", None):
            with pytest.raises(WrongPassphrase):
                read_key_file(pem, wrong)
    again = write_key_file(read_key_file(pem, b"open"), b"ours") if protected else write_key_file(
        read_key_file(pem, None), b"ours"
    )
    assert read_key_file(again, b"ours").key.public == public


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("ecparam -genkey -noout -name secp256k1", "do not know the curve secp256k1"),
        ("genrsa 1024", "RSA of 1024 bits is too short"),
        ("genpkey -algorithm x25519", "only ECDSA, RSA and Ed25519"),
    ],
)
def test_keys_that_no_client_can_use_are_refused(words: str, reason: str) -> None:
    with pytest.raises(InvalidKeyFile, match=reason):
        read_key_file(openssl(words), None)


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("pkcs8 -topk8 -scrypt -passout pass:open", "not hashed with PBKDF2"),
        ("pkcs8 -topk8 -v1 PBE-SHA1-3DES -passout pass:open", "not encrypted with PBES2"),
        ("pkcs8 -topk8 -v2 aes-256-cbc -iter 10000001 -passout pass:open", "unreasonable number of rounds"),
    ],
)
def test_what_would_cost_too_much_or_protects_too_little_is_not_opened(words: str, reason: str) -> None:
    pem = openssl(words, openssl("genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256"))
    with pytest.raises(InvalidKeyFile, match=reason):
        read_key_file(pem, b"open")


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----",
        b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIC\n-----END ENCRYPTED PRIVATE KEY-----",
        DOCKER_PUBLIC_FILE,
        b"x" * 100_000,
    ],
)
def test_what_is_not_a_key_file_is_refused(pem: bytes) -> None:
    with pytest.raises(InvalidKeyFile):
        read_key_file(pem, b"secret")


def test_nothing_secret_is_shown() -> None:
    key = PrivateKey.generate()
    assert key.der().hex() not in repr(key)
    assert "der" not in repr(key)
