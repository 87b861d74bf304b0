"""What is fuzzed: a parser of hostile bytes each, what it may raise, and what must hold of all that it accepts.

1. A target takes any bytes and says whether they were accepted; what it raises is a bug. Refusals of the parser's own
   classes are expected.
2. `seeds` are valid inputs, from which a fuzzer begins; every seed must be accepted.
3. Inputs that once broke something are in `cases/<target>/` and are tried by the ordinary tests.
"""

import base64
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from customhouse.errors import TooLarge
from customhouse.keyfiles import InvalidKeyFile, KeyFile, WrongPassphrase, read_key_file, write_key_file
from customhouse.keys import KEY_TYPES, InvalidKey, PrivateKey, PublicKey
from customhouse.testing.spoilers import HARMLESS
from customhouse.testing.trust_simulator import TrustSimulator, multipart
from customhouse.trust.canonical import NotCanonical, canonical, parse, published
from customhouse.trust.certificates import CertificateRefused, fitting, require_leaf, root_certificate
from customhouse.trust.fields import InvalidMetadata
from customhouse.trust.metadata import Root, Targets, parse_file
from customhouse.trust.multipart import MalformedUpload, NoFilename, UploadParser
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, InvalidRole
from customhouse.trust.verify import valid_signers
from tests.fuzz import advisories, checks, content, installed, languages, layers, publishers, scanners, versions

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
GUN = Gun("localhost:5443/staging/acme/web")
ROLES = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP, RELEASES)
PASSPHRASE = b"passphrase"
logging.getLogger("python_multipart").setLevel(logging.ERROR)  # a line for each broken body is too much here


@dataclass(frozen=True)
class Target:
    """One parser under fuzzing."""

    name: str
    run: Callable[[bytes], bool]
    seeds: Callable[[], Iterator[bytes]]


def metadata(data: bytes) -> bool:
    """The first byte says which role's file the rest is."""
    if not data:
        return False
    role, raw = ROLES[data[0] % len(ROLES)], data[1:]
    try:
        file = parse_file(role, raw)
    except InvalidMetadata as error:
        assert error.role == role and error.message
        return False
    assert published(file.payload, file.signatures) == file.raw == raw
    assert canonical(parse(file.payload)) == file.payload
    assert file.version >= 1 and file.expires.tzinfo is not None
    if isinstance(file.body, Root):
        for keys in file.body.roles.values():
            assert len(valid_signers(file, file.body.keys, keys)) <= len(file.signatures)
    if isinstance(file.body, Targets):
        for entry in file.body.delegations:
            assert entry.name.parent == role
            assert valid_signers(file, file.body.keys, entry.keys) is not None
        assert all(len(meta.sha256) == 64 for meta in file.body.targets.values())
    return True


def metadata_seeds() -> Iterator[bytes]:
    sim = TrustSimulator.complete(GUN, NOW)
    for change in (None, *HARMLESS):
        spoilt = sim.copy()
        for role in change.roles if change else ():
            change.apply(spoilt, role)  # type: ignore[union-attr]
        files = spoilt.files()
        yield from (bytes([number]) + files[role] for number, role in enumerate(ROLES))


def json_text(data: bytes) -> bool:
    """Strict JSON and its canonical form."""
    try:
        value = parse(data)
        written = canonical(value)
    except NotCanonical as error:
        assert error.reason
        return False
    assert parse(written) == value
    assert canonical(parse(written)) == written
    return True


def json_seeds() -> Iterator[bytes]:
    yield from (b"null", b"[1,-2,9007199254740992]", '{"a":"é\\u2028","b":[true,false,{}],"\\"":"\\\\"}'.encode())
    yield from (seed[1:] for seed in list(metadata_seeds())[:5])


def upload(data: bytes) -> bool:
    """The first byte says in what pieces the body comes; how it is cut makes no difference."""
    if len(data) < 2:
        return False
    size, (kind, _, body) = data[0] + 1, data[1:].partition(b"\n")
    steps = (max(size, len(body) // 200), len(body) + 1)
    answers = [_uploaded(kind.decode("latin-1"), body, step) for step in steps]
    assert answers[0] == answers[1], answers
    return isinstance(answers[0], dict)


def _uploaded(kind: str, body: bytes, step: int) -> object:
    try:
        parser = UploadParser(kind)
        for start in range(0, len(body), step):
            parser.feed(body[start : start + step])
        return parser.files()
    except (MalformedUpload, NoFilename, InvalidRole, TooLarge) as error:
        return type(error)


def upload_seeds() -> Iterator[bytes]:
    files = TrustSimulator.complete(GUN, NOW).files()
    for given in ({}, {ROOT: b"{}"}, {ROOT: b"1", RELEASES: b"\r\n--"}, files):
        body, kind = multipart(given)
        yield bytes([len(given)]) + kind.encode() + b"\n" + body


def key_file(data: bytes) -> bool:
    """A private key file, with the right passphrase and without one."""
    accepted = False
    for passphrase in (PASSPHRASE, None):
        try:
            found = read_key_file(data, passphrase)
        except (InvalidKeyFile, WrongPassphrase, InvalidKey):
            continue
        made = found.key.sign(b"payload")
        assert found.key.public.verify(b"payload", made.method, made.value)
        accepted = True
    return accepted


def key_file_seeds() -> Iterator[bytes]:
    keys = (ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    for key in keys:
        yield write_key_file(KeyFile(PrivateKey(key), "targets", GUN), PASSPHRASE)
        yield key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        yield key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(PASSPHRASE)
        )
    yield keys[0].private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    yield rsa.generate_private_key(65537, 2048).private_bytes(
        pem, serialization.PrivateFormat.TraditionalOpenSSL, plain
    )


def public_key(data: bytes) -> bool:
    """The first byte says as what kind of key the rest is read; a file of PEM is one of them."""
    if not data:
        return False
    kind, raw = data[0] % (len(KEY_TYPES) + 1), data[1:]
    try:
        if kind == len(KEY_TYPES):
            key = PublicKey.of_pem(raw)
        else:
            key = PublicKey.parse(KEY_TYPES[kind], base64.b64encode(raw).decode())
    except InvalidKey as error:
        assert error.reason
        return False
    assert PublicKey.parse(key.keytype, key.encoded) == key
    assert len(key.key_id) == len(key.canonical_id) == 64
    for method in ("ecdsa", "rsapss", "rsapkcs1v15", "eddsa", "none"):
        for value in (b"", raw[-64:], bytes(64), b"\xff" * 256):
            assert not key.verify(b"payload", method, value)
    try:
        require_leaf([key], GUN, NOW)
    except CertificateRefused as error:
        assert error.reason
    assert all(key.certificates for key in fitting([key], GUN))
    return True


def public_key_seeds() -> Iterator[bytes]:
    keys = [
        PrivateKey(ec.generate_private_key(ec.SECP256R1())), PrivateKey(rsa.generate_private_key(65537, 2048)),
        PrivateKey(ed25519.Ed25519PrivateKey.generate()), PrivateKey(ec.generate_private_key(ec.SECP521R1())),
    ]  # fmt: skip
    for key in keys:
        yield bytes([KEY_TYPES.index(key.public.keytype)]) + key.public.public
        pem = key.crypto.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        yield bytes([len(KEY_TYPES)]) + pem.replace(b"KEY-----\n", b"KEY-----\nrole: alice\n\n", 1)
    for key in keys[:2]:
        for begin in (NOW, NOW - timedelta(days=4000)):
            public = key.with_certificate(root_certificate(key, GUN, begin)).public
            yield bytes([KEY_TYPES.index(public.keytype)]) + public.public


TARGETS_BY_NAME = {
    target.name: target
    for target in (
        Target("metadata", metadata, metadata_seeds),
        Target("json", json_text, json_seeds),
        Target("upload", upload, upload_seeds),
        Target("key-file", key_file, key_file_seeds),
        Target("public-key", public_key, public_key_seeds),
        Target("manifest", content.manifest, content.manifest_seeds),
        Target("names", content.names, content.names_seeds),
        Target("osv", advisories.osv_record, advisories.osv_seeds),
        Target("kev", advisories.kev_list, advisories.kev_seeds),
        Target("epss", advisories.epss_table, advisories.epss_seeds),
        Target("openvex", advisories.openvex_document, advisories.openvex_seeds),
        Target("csaf", advisories.csaf_document, advisories.csaf_seeds),
        Target("modified", advisories.index_of_changes, advisories.index_seeds),
        Target("run-profile", publishers.run_profile, publishers.run_profile_seeds),
        Target("structure-tests", publishers.structure_tests, publishers.structure_tests_seeds),
        Target("versions", versions.compared, versions.seeds),
        Target("databases", installed.databases, installed.database_seeds),
        Target("programs", installed.programs, installed.program_seeds),
        Target("languages", languages.language_file, languages.language_seeds),
        Target("checks", checks.read, checks.seeds),
        Target("secrets", scanners.secrets, scanners.secrets_seeds),
        Target("malware", scanners.malware, scanners.malware_seeds),
        Target("tar", layers.tar, layers.tar_seeds),
        Target("layer", layers.stream, layers.stream_seeds),
        Target("kept-scan", layers.kept_scan, layers.kept_scan_seeds),
    )
}
