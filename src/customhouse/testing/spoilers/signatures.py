"""Spoilers of signatures: the content is right, and too few of its keys say so."""

import base64
from collections.abc import Callable
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from customhouse.keys import PrivateKey
from customhouse.testing.spoilers.fields import ALL
from customhouse.testing.spoilers.spoiler import Apply, Said, Spoiler, malformed
from customhouse.testing.trust_simulator import Document, TrustSimulator
from customhouse.trust.certificates import root_certificate
from customhouse.trust.names import ROOT, TIMESTAMP, TOP_ROLES, RoleName
from customhouse.trust.update import UpdateRefused
from customhouse.trust.verify import NotEnoughSignatures

NO_TIMESTAMP_KEY = Said(
    UpdateRefused, "no timestamp keys exist on the server for the one that the root names", "ErrBadRoot"
)
BY_OLD_ROOT = " by the root keys of version {before}"


def too_few(valid: int, needed: int, *, of_new_root: bool = False) -> tuple[Said, Said]:
    """The answer, and the one to a root: it is counted by the keys of the root before it first."""
    text = f"{{role}} version {{version}} has {valid} of {needed} needed signatures"
    return Said(NotEnoughSignatures, text), Said(NotEnoughSignatures, text + ("" if of_new_root else BY_OLD_ROOT))


def _listed(change: Callable[[list[Document]], object]) -> Apply:
    return lambda sim, role: sim.edit_signatures(role, change)


def _each(**values: object) -> Apply:
    return _listed(lambda listed: [each.update(values) for each in listed])


def _transformed(change: Callable[[bytes], bytes]) -> Apply:
    def spoil(listed: list[Document]) -> None:
        for each in listed:
            each["sig"] = base64.b64encode(change(base64.b64decode(each["sig"]))).decode()

    return _listed(spoil)


def _der(value: bytes) -> bytes:
    half = len(value) // 2
    return encode_dss_signature(int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big"))


def _by_another_role(sim: TrustSimulator, role: RoleName) -> None:
    other = next(name for name in ALL if name != role and name not in sim.server)
    sim.sign_with(role, sim.keys[other][0])


def _of_history(sim: TrustSimulator, role: RoleName) -> None:
    """The signatures of the version before, under the present content."""
    signatures = sim.history[-1][role].partition(b',"signatures":')[2].removesuffix(b"}")
    sim.edit_bytes(role, lambda raw: raw.partition(b',"signatures":')[0] + b',"signatures":' + signatures + b"}")


def _stranger_with_right_id(sim: TrustSimulator, role: RoleName) -> None:
    mine = sim.keys[role][0].public.key_id
    sim.swap_key(role)
    sim.edit_signatures(role, lambda listed: listed[0].update(keyid=mine))


def require(sim: TrustSimulator, role: RoleName, keys: list[PrivateKey], threshold: int) -> None:
    """From now on the role needs so many of these keys; what names them is signed accordingly."""
    if role in TOP_ROLES:
        before = list(sim.keys[role])
        sim.keys[role], sim.thresholds[role] = keys, threshold
        if role == ROOT:  # the root before must vouch for it, whatever else is wrong
            sim.sign_with(ROOT, *dict.fromkeys([*before, *keys]))
    else:
        sim.delegate(role, signers=keys, threshold=threshold)


def _one_of_two(sim: TrustSimulator, role: RoleName) -> None:
    first, second = sim.keys[role][0], _like(sim, role, PrivateKey.generate())
    require(sim, role, [first, second], 2)
    sim.sign_with(role, first)


def _one_twice_of_two(sim: TrustSimulator, role: RoleName) -> None:
    _one_of_two(sim, role)
    sim.repeat_signature(role)


def _one_key_two_certificates(sim: TrustSimulator, role: RoleName) -> None:
    key = sim.keys[role][0]
    bare = PrivateKey(key.crypto)
    begins = (sim.now - timedelta(hours=1), sim.now - timedelta(hours=2))
    certified = [bare.with_certificate(root_certificate(bare, sim.gun, begin)) for begin in begins]
    known = key if role == ROOT else certified[1]
    require(sim, role, [certified[0], known], 2)
    sim.sign_with(role, certified[0], known)


def _like(sim: TrustSimulator, role: RoleName, key: PrivateKey) -> PrivateKey:
    return key.with_certificate(root_certificate(key, sim.gun, sim.now)) if role == ROOT else key


def _table() -> list[Spoiler]:
    unsigned, root_unsigned = too_few(0, 1)
    not_counted: list[tuple[str, str, Apply]] = [
        ("no-signature", "the list of signatures is empty", _listed(list.clear)),
        ("signature-dropped", "its only signature is gone", lambda sim, role: sim.drop_signature(role)),
        ("signed-by-stranger", "signed by a key that nobody listed", lambda sim, role: sim.swap_key(role)),
        ("signed-by-stranger-as-own", "a stranger's signature under the right key id", _stranger_with_right_id),
        ("signed-by-other-role", "signed by the key of another role", _by_another_role),
        ("forged", "a signature of other bytes", lambda sim, role: sim.forge(role)),
        ("signature-of-version-before", "the signature of the version before", _of_history),
        ("method-other", "the method of another kind of key", _each(method="rsapss")),
        ("method-unknown", "a method nobody knows", _each(method="none")),
        ("signature-empty", "an empty signature", _each(sig="")),
        ("signature-zero", "r and s are 0", _transformed(lambda value: bytes(len(value)))),
        ("signature-truncated", "the last byte is gone", _transformed(lambda value: value[:-1])),
        ("signature-padded", "a byte more", _transformed(lambda value: value + b"\0")),
        ("signature-der", "r and s in DER", _transformed(_der)),
        ("signature-swapped", "s and r", _transformed(lambda value: value[32:] + value[:32])),
        ("keyid-other", "a key id of nobody", _each(keyid="0" * 64)),
    ]
    found = [
        Spoiler(
            name, breaks, ALL, apply, unsigned,
            otherwise={("client", ROOT): root_unsigned, ("server", ROOT): root_unsigned},
        )
        for name, breaks, apply in not_counted
    ]
    broken: list[tuple[str, str, Apply, str]] = [
        ("signatures-65", "65 signatures", _listed(lambda listed: listed.extend(listed * 64)),
         "it has more than 64 signatures"),
        ("method-upper", "the method in capitals", _each(method="ECDSA"),
         "a signature has a malformed keyid or method"),
        ("method-number", "a method that is no text", _each(method=1), "method should be a text"),
        ("keyid-upper", "the key id in capitals", _listed(lambda listed: listed[0].update(
            keyid=listed[0]["keyid"].upper())), "a signature has a malformed keyid or method"),
        ("keyid-short", "half of a key id", _each(keyid="ab" * 16), "a signature has a malformed keyid or method"),
        ("keyid-null", "no key id", _each(keyid=None), "keyid should be a text"),
        ("signature-not-base64", "no base64", _each(sig="!"), "sig should be base64"),
        ("signature-url-base64", "base64 of URLs", _each(sig="-_" * 42 + "-w=="), "sig should be base64"),
        ("signature-unpadded", "base64 without its end", _listed(lambda listed: listed[0].update(
            sig=listed[0]["sig"].rstrip("="))), "sig should be base64"),
        ("signature-loose-base64", "base64 with spare bits", _each(sig="A" * 85 + "B=="),
         "sig is not in the one form of base64 that others write"),
        ("signature-null", "a signature of null", _each(sig=None), "sig should be a text"),
        ("signature-field", "an unknown field", _each(key="x"), "a signature has the unknown field 'key'"),
        ("signature-without-method", "no method", _listed(lambda listed: listed[0].pop("method")),
         "a signature has no method"),
        ("signature-list", "a signature that is no object", _listed(lambda listed: listed.append([])),  # type: ignore[arg-type]
         "a signature should be an object"),
    ]  # fmt: skip
    found += [Spoiler(name, breaks, ALL, apply, malformed(reason)) for name, breaks, apply, reason in broken]
    counted: list[tuple[str, str, Apply]] = [
        ("one-of-two", "two must sign and one did", _one_of_two),
        ("one-twice-of-two", "two must sign and one did so twice", _one_twice_of_two),
        ("one-key-two-certificates", "two must sign, and one key did by two certificates", _one_key_two_certificates),
    ]
    one_of_two = too_few(1, 2)[0]
    found += [
        Spoiler(name, breaks, ALL, apply, one_of_two, otherwise={("server", TIMESTAMP): NO_TIMESTAMP_KEY})
        for name, breaks, apply in counted
    ]
    return found


SIGNATURES = tuple(_table())
