"""Cases of keys: every kind in every role, certificates of roots, ways to sign."""

import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

from customhouse.keys import CryptoPrivateKey, PrivateKey, PublicKey, Signature
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust import documents
from customhouse.trust.canonical import canonical, published
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, RoleName
from tests.trust.peer.sides import NOW, Repository, case, each, edited


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


KINDS: dict[str, Callable[[], CryptoPrivateKey]] = {
    "ECDSA P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ECDSA P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ECDSA P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ECDSA P-224": lambda: ec.generate_private_key(ec.SECP224R1()),
    "ECDSA secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "RSA 2048": lambda: rsa_key(2048),
    "RSA 1024": lambda: rsa_key(1024),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


class AnyKey:
    """Signs with any key, also with one that ours would not take."""

    def __init__(self, key: CryptoPrivateKey, public: PublicKey | None = None) -> None:
        self.crypto = key
        self.public = public or PublicKey.of(key.public_key())

    def sign(self, payload: bytes) -> Signature:
        made = PrivateKey(self.crypto).sign(payload)
        return Signature(self.public.key_id, made.method, made.value)

    def certified(self, gun: str, **options: object) -> "AnyKey":
        return AnyKey(self.crypto, certified(self.crypto, gun, **options))


def certified(
    key: CryptoPrivateKey, name: str | None, *, digest: hashes.HashAlgorithm | None = None,
    begin: timedelta = timedelta(), years: int = 10, issuer: CryptoPrivateKey | None = None, ca: bool = False,
) -> PublicKey:  # fmt: skip
    """A certificate as a key."""
    signer = issuer or key
    subject = x509.Name([] if name is None else [x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder().subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")]) if issuer else subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(NOW + begin)
        .not_valid_after(NOW + begin + timedelta(days=365 * years) if years else NOW - timedelta(minutes=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else digest or hashes.SHA256())
    )  # fmt: skip
    pem = made.public_bytes(serialization.Encoding.PEM)
    keytype = "rsa-x509" if isinstance(key, rsa.RSAPrivateKey) else "ecdsa-x509"
    return PublicKey(keytype, pem)


def any_key(kind: str) -> AnyKey:
    return AnyKey(KINDS[kind]())


def use(sim: TrustSimulator, role: RoleName, *keys: AnyKey) -> None:
    sim.keys[role] = cast(list[PrivateKey], list(keys))


def plain(sim: TrustSimulator, roles: dict[RoleName, list[AnyKey]]) -> dict[RoleName, bytes]:
    """Root and targets (and releases, where it has keys), built without the product's own care for keys."""
    publics = {role: [key.public for key in keys] for role, keys in roles.items()}
    publics.update({role: [key] for role, key in sim.server.items()})
    document = {
        "_type": "Root", "consistent_snapshot": False, "version": 1, "expires": "2036-01-01T00:00:00Z",
        "keys": {key.key_id: key.document() for role, keys in publics.items() if role != RELEASES for key in keys},
        "roles": {
            role: {"keyids": sorted(key.key_id for key in keys), "threshold": 1}
            for role, keys in publics.items() if role != RELEASES
        },
    }  # fmt: skip
    releases = publics.get(RELEASES, [])
    entries = [{"name": RELEASES, "keyids": [key.key_id for key in releases], "threshold": 1, "paths": [""]}]
    targets = {
        "_type": "Targets", "expires": "2036-01-01T00:00:00Z", "targets": {}, "version": 1,
        "delegations": {"keys": {key.key_id: key.document() for key in releases}, "roles": entries if releases else []},
    }  # fmt: skip
    files = {ROOT: documents.sign(document, roles[ROOT]), TARGETS: documents.sign(targets, roles[TARGETS])}  # type: ignore[arg-type]
    if releases:
        below = {**targets, "delegations": {"keys": {}, "roles": []}}
        files[RELEASES] = documents.sign(below, roles[RELEASES])  # type: ignore[arg-type]
    if SNAPSHOT in roles:
        meta = {str(role): documents.FileMeta.of(raw).document() for role, raw in files.items()}
        snapshot = {"_type": "Snapshot", "expires": "2036-01-01T00:00:00Z", "meta": meta, "version": 1}
        files[SNAPSHOT] = documents.sign(snapshot, roles[SNAPSHOT])  # type: ignore[arg-type]
    return files


def usual(repository: Repository) -> dict[RoleName, list[AnyKey]]:
    return {
        ROOT: [any_key("ECDSA P-256").certified(repository.gun)], TARGETS: [any_key("ECDSA P-256")],
    }


def forms(kind: str) -> list[str]:
    return [kind] if kind == "Ed25519" else [kind, f"a certificate of {kind}"]


EVERY_KIND = [form for kind in KINDS for form in forms(kind)]


def key_of(form: str, gun: str) -> AnyKey:
    made = any_key(form.removeprefix("a certificate of "))
    return made.certified(gun) if form.startswith("a cert") else made


@each(EVERY_KIND, "{} signs root")
def root_kinds(repository: Repository, form: str) -> Iterator[object]:
    yield repository.publish(plain(repository.sim, usual(repository) | {ROOT: [key_of(form, repository.gun)]}))


@each(EVERY_KIND, "{} signs targets, a delegation and a publisher's snapshot")
def other_kinds(repository: Repository, form: str) -> Iterator[object]:
    for role in (TARGETS, RELEASES, SNAPSHOT):
        other = Repository(repository.side, f"{repository.gun.rpartition('/')[2]}-{role.rpartition('/')[2]}")
        sim = other.simulator()
        sim.use_server_keys({each: other.server_key(each) for each in {SNAPSHOT, TIMESTAMP} - {role}})
        yield other.publish(plain(sim, usual(other) | {role: [key_of(form, other.gun)]}))


@each(["rsapss", "rsapkcs1v15", "pycrypto-pkcs#1 pss", "rsapss with another salt"], "RSA signs targets by {}")
def methods(repository: Repository, method: str) -> Iterator[object]:
    key = any_key("RSA 2048")
    files = plain(repository.sim, usual(repository) | {TARGETS: [key]})
    payload = canonical({
        "_type": "Targets", "delegations": {"keys": {}, "roles": []}, "expires": "2036-01-01T00:00:00Z",
        "targets": {}, "version": 1,
    })  # fmt: skip
    salt = 20 if "salt" in method else 32
    scheme = padding.PKCS1v15() if "v15" in method else padding.PSS(padding.MGF1(hashes.SHA256()), salt)
    value = rsa_key(2048).sign(payload, scheme, hashes.SHA256())
    files[TARGETS] = published(payload, [Signature(key.public.key_id, method.partition(" with")[0], value)])
    yield repository.publish(files)


@case("a delegation of threshold 2 that one key signs twice, bare and as a certificate")
def one_key_twice(repository: Repository) -> Iterator[object]:
    sim = repository.sim
    bare = any_key("ECDSA P-256")
    sim.delegate(RELEASES)
    both = [bare, bare.certified(repository.gun)]
    sim.bodies[TARGETS] = documents.with_delegation(
        sim.bodies[TARGETS], RELEASES, [key.public for key in both], threshold=2
    )
    use(sim, RELEASES, *both)
    yield repository.publish(sim.upload())


# ---- certificates of the root


def prefix(gun: str) -> str:
    return gun.partition("/")[0]


NAMES: dict[str, Callable[[str], str | None]] = {
    "the repository": lambda gun: gun,
    "the host and *": lambda gun: f"{prefix(gun)}/*",
    "a part of the repository and *": lambda gun: gun[:-1] + "*",
    "the repository and *": lambda gun: gun + "*",
    "*": lambda gun: "*",
    "the host without *": lambda gun: prefix(gun),
    "another repository": lambda gun: f"{prefix(gun)}/staging/acme/else",
    "another host and *": lambda gun: "elsewhere.example/*",
    "the repository in capitals": lambda gun: gun.upper(),
    "* at the beginning": lambda gun: "*" + gun[1:],
    "the repository, longer": lambda gun: gun + "x",
    "an empty name": lambda gun: None,
}


@each(list(NAMES), "a root certificate for {}")
def names(repository: Repository, name: str) -> Iterator[object]:
    key = any_key("ECDSA P-256").certified(NAMES[name](repository.gun))
    yield repository.publish(plain(repository.sim, usual(repository) | {ROOT: [key]}))


TIMES = {
    "that has expired": {"begin": timedelta(days=-30), "years": 0},
    "that begins in 12 hours": {"begin": timedelta(hours=12)},
    "that begins in 3 days": {"begin": timedelta(days=3)},
    "signed with SHA-384": {"digest": hashes.SHA384()},
    "of an authority (CA:TRUE)": {"ca": True},
}


@each(list(TIMES), "a root certificate {}")
def times(repository: Repository, form: str) -> Iterator[object]:
    key = any_key("ECDSA P-256").certified(repository.gun, **TIMES[form])
    yield repository.publish(plain(repository.sim, usual(repository) | {ROOT: [key]}))


@case("a root certificate signed with SHA-1")
def sha1(repository: Repository) -> Iterator[object]:
    """The library makes none: the name of the method is changed in one that it made. Nobody verifies its signature."""
    key = AnyKey(rsa_key(2048)).certified(repository.gun)
    der = x509.load_pem_x509_certificate(key.public.public).public_bytes(serialization.Encoding.DER)
    sha256_with_rsa = bytes.fromhex("06092a864886f70d01010b")
    assert der.count(sha256_with_rsa) == 2
    text = ssl.DER_cert_to_PEM_cert(der.replace(sha256_with_rsa, bytes.fromhex("06092a864886f70d010105")))
    root = AnyKey(key.crypto, PublicKey("rsa-x509", text.encode()))
    yield repository.publish(plain(repository.sim, usual(repository) | {ROOT: [root]}))


@each(["and its issuer behind it", "and its issuer before it", "twice", "and a text behind it"],
      "a root certificate {}")
def chains(repository: Repository, form: str) -> Iterator[object]:
    issuer = ec.generate_private_key(ec.SECP256R1())
    key = KINDS["ECDSA P-256"]()
    above, leaf = certified(issuer, "issuer", ca=True).public, certified(key, repository.gun, issuer=issuer).public
    pem = {
        "and its issuer behind it": leaf + above, "and its issuer before it": above + leaf, "twice": leaf + leaf,
        "and a text behind it": leaf + b"hello\n",
    }[form]  # fmt: skip
    root = AnyKey(key, PublicKey("ecdsa-x509", pem))
    yield repository.publish(plain(repository.sim, usual(repository) | {ROOT: [root]}))


@case("two root keys, of which one certificate is for another repository")
def one_fits(repository: Repository) -> Iterator[object]:
    keys = [any_key("ECDSA P-256").certified(name) for name in (repository.gun, "elsewhere.example/a")]
    yield repository.publish(plain(repository.sim, usual(repository) | {ROOT: keys}))
    yield repository.publish(plain(repository.sim, usual(repository) | {ROOT: list(reversed(keys))}))


@each(["only the one that fits", "only the one that does not"],
      "two root keys, one for another repository, and {} signs")
def one_signs(repository: Repository, which: str) -> Iterator[object]:
    keys = [any_key("ECDSA P-256").certified(name) for name in (repository.gun, "elsewhere.example/a")]
    files = plain(repository.sim, usual(repository) | {ROOT: keys})
    payload = files[ROOT][len(b'{"signed":') : files[ROOT].rindex(b',"signatures":')]
    signer = keys[0] if which.endswith("fits") else keys[1]
    files[ROOT] = published(payload, [signer.sign(payload)])
    yield repository.publish(files)


@each(["both", "the new one", "the old one"], "the root certificate is renewed for the same key, signed under {}")
def renewed(repository: Repository, under: str) -> Iterator[object]:
    sim = repository.published()
    old = sim.keys[ROOT][0]
    new = cast(PrivateKey, AnyKey(old.crypto).certified(repository.gun))
    sim.rotate_root_to(new)
    signing = {"both": [old, new], "the new one": [new], "the old one": [old]}[under]
    yield repository.publish({ROOT: edited(sim.build_root(), lambda signed: None, *signing)})
