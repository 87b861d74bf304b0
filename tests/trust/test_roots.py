"""Root keys: which certificates speak for a repository, as Debian's notary-server judges them too, and rotation."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from customhouse.keys import CryptoPrivateKey, PrivateKey, PublicKey
from customhouse.remote import RemoteError
from customhouse.testing.trust_simulator import TrustSimulator, multipart
from customhouse.transport import Tls, Transport
from customhouse.trust.certificates import CertificateRefused
from customhouse.trust.names import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.verify import (
    NotEnoughSignatures,
    RootNotEnrolled,
    TrustedRepository,
    TrustError,
    verify_repository,
)
from tests.peers.certificates import LoopbackCertificate, loopback_certificate
from tests.peers.servers import Peer, notary_server

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
GUN = "localhost:5443/staging/acme/web"
PEM = serialization.Encoding.PEM


def certificate(
    key: CryptoPrivateKey, *names: str, at: datetime, authority: bool | None = False, days: int = 3650,
    issuer: tuple[CryptoPrivateKey, str] | None = None,
) -> bytes:
    """A certificate for these common names, signed by its own key or by an issuer's."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    signer, signer_name = issuer or (key, "")
    issued_by = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, signer_name)]) if issuer else subject
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issued_by).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(at).not_valid_after(at + timedelta(days=days))
    )  # fmt: skip
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    return builder.sign(signer, hashes.SHA256()).public_bytes(PEM)


def p256() -> CryptoPrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certified(pem: bytes, key: CryptoPrivateKey) -> PrivateKey:
    return PrivateKey(key, PublicKey.of_certificate(pem))


# -- which certificates speak for a repository ------------------------------------------------------------------------

Root = Callable[[TrustSimulator], None]


@dataclass(frozen=True)
class Case:
    """A root that is made so, and what is said of it; nothing is said of a good one. `theirs`: Debian's judgement."""

    name: str
    make: Root
    says: str = ""
    theirs: bool | None = None

    @property
    def accepted_there(self) -> bool:
        return self.theirs if self.theirs is not None else not self.says


def only(*names: str, key: Callable[[], CryptoPrivateKey] = p256, **options: object) -> Root:
    """The root key is the one of a certificate for these names (GUN stands for the repository's)."""

    def make(sim: TrustSimulator) -> None:
        made = key()
        their = [name.replace("GUN", sim.gun) for name in names]
        given = {"at": sim.now - timedelta(hours=1), **options}
        if "ago" in given:
            given["at"] = sim.now - timedelta(days=float(str(given.pop("ago"))))
        sim.keys[ROOT] = [certified(certificate(made, *their, **given), made)]  # type: ignore[arg-type]

    return make


def pem_as(change: Callable[[bytes], bytes]) -> Root:
    """The same certificate in another form of PEM."""

    def make(sim: TrustSimulator) -> None:
        only("GUN")(sim)
        (key,) = sim.keys[ROOT]
        sim.keys[ROOT] = [PrivateKey(key.crypto, PublicKey(key.public.keytype, change(key.public.public)))]

    return make


def chain(**of_authority: object) -> Root:
    """A leaf that an authority issued, and the authority's certificate behind it."""

    def make(sim: TrustSimulator) -> None:
        at, above, leaf = sim.now - timedelta(days=10), p256(), p256()
        of_leaf = certificate(leaf, sim.gun, at=at, issuer=(above, "Authority"))
        of_above = certificate(above, "Authority", at=at, **{"authority": True, **of_authority})  # type: ignore[arg-type]
        sim.keys[ROOT] = [certified(of_leaf + of_above, leaf)]

    return make


def reversed_chain(sim: TrustSimulator) -> None:
    chain()(sim)
    (key,) = sim.keys[ROOT]
    first, second = (each.public_bytes(PEM) for each in key.public.certificates)
    authority = p256()
    of_authority = certificate(authority, sim.gun, at=sim.now - timedelta(hours=1), authority=True)
    sim.keys[ROOT] = [certified(of_authority + first, authority)]


def signed_by_the_other(sim: TrustSimulator) -> None:
    """Two root keys of which one must sign; the one that did has a certificate for another repository."""
    mine, other = sim.certified(), sim.certified(common_name="localhost:1/other")
    sim.keys[ROOT] = [mine, other]
    sim.sign_with(ROOT, other)


def two_of_which_one_fits(sim: TrustSimulator) -> None:
    sim.keys[ROOT] = [sim.certified(), sim.certified(common_name="localhost:1/other")]


def sha1(sim: TrustSimulator) -> None:
    """The library signs no certificate with SHA-1 any more, so one says that it is; nobody looks at its signature."""
    key = rsa.generate_private_key(65537, 2048)
    made = x509.load_pem_x509_certificate(certificate(key, sim.gun, at=sim.now - timedelta(hours=1)))
    with_sha256, with_sha1 = (bytes.fromhex(f"2a864886f70d0101{end}") for end in ("0b", "05"))
    der = made.public_bytes(serialization.Encoding.DER)
    assert der.count(with_sha256) == 2
    again = x509.load_der_x509_certificate(der.replace(with_sha256, with_sha1))
    sim.keys[ROOT] = [certified(again.public_bytes(PEM), key)]


CASES = [
    Case("exact", only("GUN")),
    Case("wildcard", only("localhost:*")),
    Case("asterisk", only("*")),
    Case("no-constraints", only("GUN", authority=None)),
    Case("rsa", only("GUN", key=lambda: rsa.generate_private_key(65537, 2048))),
    Case("p384", only("GUN", key=lambda: ec.generate_private_key(ec.SECP384R1()))),
    Case("p521", only("GUN", key=lambda: ec.generate_private_key(ec.SECP521R1()))),
    Case("begins-tomorrow", only("GUN", ago=-0.9)),
    Case("chain", chain()),
    Case("two-of-which-one-fits", two_of_which_one_fits),
    Case("other-name", only("localhost:1/other"), "one is for 'localhost:1/other'"),
    Case("name-in-capitals", only("LOCALHOST:*"), "one is for 'LOCALHOST:*'"),
    Case("prefix-without-asterisk", only("localhost"), "one is for 'localhost'"),
    Case("asterisk-inside", only("localhost:*/acme"), "one is for 'localhost:*/acme'"),
    Case("two-names", only("GUN", "other"), "one is for ''"),
    Case("two-names-last-fits", only("other", "GUN"), "one is for ''", theirs=True),  # which is meant is a guess
    Case("two-asterisks", only("localhost:**"), "one is for 'localhost:**'", theirs=True),
    Case("authority", only("GUN", authority=True),
         "one belongs to an authority (CA:TRUE), and docker wants the key's own"),
    Case("expired", only("GUN", ago=3651), "one expired on "),
    Case("begins-in-two-days", only("GUN", ago=-2), "one is valid only from "),
    Case("sha1", sha1, "one is signed with SHA-1 or MD5"),
    Case("chain-behind-authority", reversed_chain,
         "one belongs to an authority (CA:TRUE), and docker wants the key's own"),
    Case("two-leaves", chain(authority=False), "one has two leaf certificates"),
    Case("chain-expired", chain(days=1), "one has an intermediate that is no longer valid"),
    Case("pem-with-crlf", pem_as(lambda pem: pem.replace(b"\n", b"\r\n")), "one is in a form of PEM that docker "),
    Case("pem-with-text", pem_as(lambda pem: b"CN=acme\n" + pem), "one is in a form of PEM that docker "),
    Case("pem-without-end", pem_as(lambda pem: pem.rstrip()), "one is in a form of PEM that docker "),
    Case("signed-by-the-other", signed_by_the_other,
         "root version 1 has 0 of 1 needed signatures by root keys that hold a certificate for "),
]  # fmt: skip
EACH_CASE = [pytest.param(case, id=case.name) for case in CASES]


def judged(sim: TrustSimulator, **options: object) -> TrustedRepository:
    files = sim.files()
    given = {"gun": sim.gun, "enrolled": None, "seen": {}, "now": sim.now, **options}
    return verify_repository(files, given.pop("roots", sim.roots), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", EACH_CASE)
def test_a_certificate_speaks_for_a_repository_or_is_refused_with_the_reason(case: Case) -> None:
    sim = TrustSimulator(GUN, NOW)
    case.make(sim)
    if not case.says:
        assert judged(sim).root.version == 1
        return
    with pytest.raises((CertificateRefused, NotEnoughSignatures)) as refused:
        judged(sim)
    wanted = case.says if "needed" in case.says else f"no root certificate is valid for {GUN}: {case.says}"
    assert refused.value.message.startswith(wanted), refused.value.message


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> LoopbackCertificate:
    return loopback_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory, tls: LoopbackCertificate) -> Iterator[Peer]:
    server = notary_server(tmp_path_factory.mktemp("notary"), tls)
    yield server
    server.stop()


@pytest.mark.needs("notary-server")
@pytest.mark.parametrize("case", EACH_CASE)
def test_the_go_server_judges_the_same_certificates_alike(case: Case, peer: Peer, tls: LoopbackCertificate) -> None:
    transport = Transport(f"https://{peer.host}", tls=Tls(ca_file=tls.ca))
    gun = f"localhost:1/acme/{case.name}"
    sim = TrustSimulator(gun, datetime.now(UTC))
    base = f"/v2/{gun}/_trust/tuf/"
    for role in (SNAPSHOT, TIMESTAMP):
        document = json.loads(transport.request("GET", f"{base}{role}.key").body)
        sim.use_server_keys({role: PublicKey.parse(document["keytype"], document["keyval"]["public"])})
    case.make(sim)
    body, kind = multipart(sim.upload())
    try:
        transport.request("POST", base, body=body, headers={"Content-Type": kind})
    except RemoteError as error:
        assert error.status == 400
        assert "could not validate the path to a trusted root" in error.message
        accepted = False
    else:
        accepted = True
    assert accepted == case.accepted_there


# -- rotation ---------------------------------------------------------------------------------------------------------


def rotated(times: int) -> tuple[TrustSimulator, list[str]]:
    """A repository whose root key was replaced so many times, and the canonical ids of all its root keys."""
    sim = TrustSimulator(GUN, NOW)
    ids = [sim.keys[ROOT][0].public.canonical_id, *(sim.rotate_root().public.canonical_id for _ in range(times))]
    sim.build_root()
    return sim, ids


@pytest.mark.parametrize("number", range(5))
def test_whichever_key_of_a_whole_chain_is_enrolled_leads_to_the_newest(number: int) -> None:
    sim, ids = rotated(4)
    found = judged(sim, enrolled=frozenset({ids[number]}))
    assert (found.root.version, found.root_keys) == (5, {ids[4]})


def test_a_key_of_nobody_leads_nowhere() -> None:
    sim, ids = rotated(4)
    with pytest.raises(RootNotEnrolled) as refused:
        judged(sim, enrolled=frozenset({"0" * 64}))
    assert refused.value.message == f"the root key {ids[4][:12]} is not one that was enrolled"


def test_a_chain_without_one_of_its_links_says_which_keys_did_not_sign() -> None:
    sim, ids = rotated(4)
    del sim.roots[2]
    with pytest.raises(NotEnoughSignatures) as refused:
        judged(sim, enrolled=frozenset({ids[0]}))
    assert refused.value.message == "root version 4 has 0 of 1 needed signatures by the root keys of version 2"


def test_roots_in_any_order_and_twice_are_one_chain() -> None:
    sim, ids = rotated(3)
    given = [*reversed(sim.roots), *sim.roots]
    assert judged(sim, roots=given, enrolled=frozenset({ids[0]})).root.version == 4


def test_only_the_newest_root_must_be_unexpired() -> None:
    sim = TrustSimulator(GUN, NOW)
    first = sim.keys[ROOT][0].public.canonical_id
    for _ in range(3):
        sim.expire(ROOT)
        sim.rotate_root()
        sim.mend(ROOT)
    assert judged(sim, enrolled=frozenset({first})).root.version == 4
    sim.roots.pop()
    sim.expire(ROOT)
    with pytest.raises(TrustError, match="^root version 4 expired on 2026-11-23 11:00 UTC$"):
        judged(sim, enrolled=frozenset({first}))


def test_the_certificate_of_an_older_root_may_have_ended() -> None:
    sim = TrustSimulator(GUN, NOW)
    key = p256()
    sim.keys[ROOT] = [certified(certificate(key, GUN, at=NOW - timedelta(days=10), days=9), key)]
    old = sim.keys[ROOT][0]
    with pytest.raises(CertificateRefused, match="one expired on 2026-11-22"):
        judged(sim)
    sim.rotate_root_to(sim.certified(), signers=[old])
    sim.sign_with(ROOT, old, sim.keys[ROOT][0])
    assert judged(sim, enrolled=frozenset({old.public.canonical_id})).root.version == 2


def test_a_renewed_certificate_of_the_same_key_needs_no_new_enrolment() -> None:
    sim = TrustSimulator(GUN, NOW)
    old = sim.keys[ROOT][0]
    renewed = sim.certified(old, at=NOW - timedelta(minutes=1))
    sim.rotate_root_to(renewed, signers=[old, renewed])
    found = judged(sim, enrolled=frozenset({old.public.canonical_id}))
    assert (found.root.version, found.root_keys) == (2, {old.public.canonical_id})
    assert list(found.root.body.roles[ROOT].key_ids) == [renewed.public.key_id]


def test_a_renewed_certificate_is_announced_under_the_old_one() -> None:
    sim = TrustSimulator(GUN, NOW)
    sim.rotate_root_to(sim.certified(sim.keys[ROOT][0], at=NOW - timedelta(minutes=1)))
    with pytest.raises(NotEnoughSignatures) as refused:
        judged(sim)
    assert refused.value.message == "root version 2 has 0 of 1 needed signatures by the root keys of version 1"


def test_one_key_that_signs_all_along_bridges_missing_roots() -> None:
    sim = TrustSimulator(GUN, NOW)
    kept = sim.keys[ROOT][0]
    for _ in range(4):
        sim.rotate_root_to(kept, sim.certified(), signers=[kept])
    sim.build_root()
    del sim.roots[1:4]
    assert [*judged(sim).root.body.roles[ROOT].key_ids] == sorted(key.public.key_id for key in sim.keys[ROOT])


def test_two_keys_of_two_are_replaced_one_at_a_time() -> None:
    sim = TrustSimulator(GUN, NOW)
    first, second, third, fourth = (sim.certified() for _ in range(4))
    sim.keys[ROOT], sim.thresholds[ROOT] = [first, second], 2
    sim.rotate_root_to(second, third, signers=[first, second, third])
    sim.rotate_root_to(third, fourth, signers=[second, third, fourth])
    both = frozenset({first.public.canonical_id, second.public.canonical_id})
    assert judged(sim, enrolled=both).root.version == 3
    with pytest.raises(RootNotEnrolled):
        judged(sim, enrolled=frozenset({first.public.canonical_id}))


def test_one_of_two_old_keys_does_not_rotate() -> None:
    sim = TrustSimulator(GUN, NOW)
    first, second, third = (sim.certified() for _ in range(3))
    sim.keys[ROOT], sim.thresholds[ROOT] = [first, second], 2
    sim.rotate_root_to(second, third, signers=[second, third])
    with pytest.raises(NotEnoughSignatures) as refused:
        judged(sim)
    assert refused.value.message == "root version 2 has 1 of 2 needed signatures by the root keys of version 1"
    assert refused.value.missing == 1


def test_only_old_signatures_do_not_make_a_new_root() -> None:
    sim = TrustSimulator(GUN, NOW)
    old = sim.keys[ROOT][0]
    sim.rotate_root_to(sim.certified(), signers=[old])
    with pytest.raises(NotEnoughSignatures) as refused:
        judged(sim)
    assert refused.value.message == "root version 2 has 0 of 1 needed signatures"


def test_a_key_that_was_rotated_away_signs_no_newer_root_though_it_is_still_enrolled() -> None:
    sim = TrustSimulator(GUN, NOW)
    stolen = sim.keys[ROOT][0]
    sim.rotate_root()
    sim.rotate_root_to(stolen)
    with pytest.raises(NotEnoughSignatures) as refused:
        judged(sim, enrolled=frozenset({stolen.public.canonical_id}))
    assert refused.value.message == "root version 3 has 0 of 1 needed signatures by the root keys of version 2"


def test_a_signature_by_a_key_with_a_foreign_certificate_does_not_rotate() -> None:
    """Docker looks at the older root's certificates too: their names, not their expiry."""
    sim = TrustSimulator(GUN, NOW)
    mine, other = sim.certified(), sim.certified(common_name="localhost:1/other")
    sim.keys[ROOT] = [mine, other]
    new = sim.certified()
    sim.sign_with(ROOT, mine)
    sim.rotate_root_to(new, signers=[other, new])
    with pytest.raises(NotEnoughSignatures) as refused:
        judged(sim)
    assert refused.value.message == (
        "root version 2 has 0 of 1 needed signatures by the root keys of version 1 that hold a certificate for " + GUN
    )


def test_another_beginning_is_not_a_rotation() -> None:
    sim, ids = rotated(2)
    anew = TrustSimulator(GUN, NOW)
    with pytest.raises(TrustError, match="^there are two different roots of version 1: the repository was begun anew$"):
        judged(anew, roots=sim.roots, enrolled=frozenset({ids[0]}))


@pytest.mark.parametrize("role", [TARGETS, SNAPSHOT, TIMESTAMP])
def test_a_root_that_replaces_another_roles_key_ends_what_the_old_key_signed(role: RoleName) -> None:
    sim = TrustSimulator(GUN, NOW)
    sim.build_root()
    old = sim.keys[role]
    sim.keys[role] = [PrivateKey.generate()]
    sim.bump(ROOT)
    assert judged(sim).root.version == 2
    sim.sign_with(role, *old)
    with pytest.raises(NotEnoughSignatures) as refused:
        judged(sim)
    assert refused.value.message == f"{role} version 1 has 0 of 1 needed signatures"


def test_a_repository_of_another_name_is_not_this_one() -> None:
    sim, ids = rotated(1)
    with pytest.raises(NotEnoughSignatures) as refused:
        judged(sim, gun=Gun.parse("localhost:5443/staging/acme/other"), enrolled=frozenset({ids[0]}))
    assert "hold a certificate for localhost:5443/staging/acme/other" in refused.value.message

