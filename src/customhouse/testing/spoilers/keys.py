"""Spoilers of who may sign: keys, key ids, thresholds and delegations. They stand in the file of the role above.

`{entry}` is the role whose keys are spoilt, `{role}` the file that says so: the root, or the delegating role.
"""

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from customhouse.keys import PrivateKey
from customhouse.testing.spoilers.fields import ALL, edited
from customhouse.testing.spoilers.signatures import NO_TIMESTAMP_KEY, too_few
from customhouse.testing.spoilers.spoiler import Apply, Spoiler, holder, malformed
from customhouse.testing.trust_simulator import DEEP, Document, TrustSimulator
from customhouse.trust.certificates import root_certificate
from customhouse.trust.names import RELEASES, ROOT, TARGETS, TIMESTAMP, TOP_ROLES, RoleName

DELEGATED = tuple(role for role in ALL if role.is_delegation)
NOBODY = "0" * 64
SHORT_RSA = (
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC2h5D8EpVzbupjVrCvQIUU2j3kPAJa66aJ+hcCZF4sV0fgGc6lIXrIRqrDaXmLEnh1shQkRPwp"
    "8Wys4IcQjWh3PO5Gnkuipvkyk+R0GxiptYf45LfX+S2U32wD617rhL/YWrIZNP9Wa5eVjEgNLAm6M29zVu3n/8vEg/3VC78ubQIDAQAB"
)


def _entry_of(change: Callable[[Document], object]) -> Apply:
    """Change the key ids and threshold of a role, where they stand."""

    def spoil(sim: TrustSimulator, role: RoleName) -> None:
        sim.edit(holder(role), lambda signed: change(_entry(signed, role)))

    return spoil


def _entry(signed: Document, role: RoleName) -> Document:
    if role in TOP_ROLES:
        found: Document = signed["roles"][role]
        return found
    return next(entry for entry in signed["delegations"]["roles"] if entry["name"] == role)


def _keys(signed: Document) -> Document:
    found: Document = signed["keys"] if "keys" in signed else signed["delegations"]["keys"]
    return found


def _with_key(change: Callable[[Document], object]) -> Apply:
    """A further key, listed under an id of zeros, changed from a right one."""

    def spoil(signed: Document) -> None:
        right = next(key for key in _keys(signed).values() if key["keytype"] == "ecdsa")
        key = {"keytype": right["keytype"], "keyval": dict(right["keyval"])}
        change(key)
        _keys(signed)[NOBODY] = key

    return edited(spoil)


def _public(keytype: str, public: str) -> Apply:
    return _with_key(lambda key: key.update(keytype=keytype, keyval={"private": None, "public": public}))


def _many(signed: Document) -> None:
    key = next(iter(_keys(signed).values()))
    _keys(signed).update({f"{number:064x}": key for number in range(513)})


def _entries() -> list[Spoiler]:
    threshold = "the threshold of {entry} should be a whole number, 1 or more"
    values: list[tuple[str, str, Callable[[Document], object], str]] = [
        ("threshold-zero", "nobody has to sign", lambda e: e.update(threshold=0), threshold),
        ("threshold-negative", "a threshold below 0", lambda e: e.update(threshold=-1), threshold),
        ("threshold-true", "a threshold of true", lambda e: e.update(threshold=True), threshold),
        ("threshold-text", "a threshold as text", lambda e: e.update(threshold="1"), threshold),
        ("threshold-null", "a threshold of null", lambda e: e.update(threshold=None), threshold),
        ("threshold-missing", "no threshold", lambda e: e.pop("threshold"), "{what} has no threshold"),
        ("keyid-twice", "one key is listed twice", lambda e: e.update(keyids=e["keyids"] * 2),
         "{entry} names a key twice"),
        ("keyid-unlisted", "a key that is not there", lambda e: e.update(keyids=[*e["keyids"], NOBODY]),
         "{entry} names the key '0000000000000000', which is not listed"),
        ("keyid-number", "a key id that is no text", lambda e: e.update(keyids=[1]), "keyids should be a text"),
        ("keyids-text", "key ids in one text", lambda e: e.update(keyids="".join(e["keyids"])),
         "keyids should be a list"),
        ("keyids-missing", "no key ids", lambda e: e.pop("keyids"), "{what} has no keyids"),
        ("entry-field", "an unknown field", lambda e: e.update(terminating=True),
         "{what} has the unknown field 'terminating'"),
    ]
    found = []
    for name, breaks, change, reason in values:
        for roles, what in ((TOP_ROLES, "{entry}"), (DELEGATED, "a delegation")):
            said = malformed(reason.replace("{what}", what))
            found.append(Spoiler(f"role-{name}", breaks, roles, _entry_of(change), said, holder))
    # Well-formed, and nobody can ever sign enough: the role itself is at fault.
    beyond, beyond_root = too_few(1, 3), too_few(1, 3, of_new_root=True)[1]
    nobody, nobody_root = too_few(0, 1), too_few(0, 1, of_new_root=True)[1]
    for name, breaks, values_, said, at_root in (
        ("threshold-beyond-keys", "three must sign and there is one", {"threshold": 3}, beyond[0], beyond_root),
        ("keyids-none", "there is nobody who could sign", {"keyids": []}, nobody[0], nobody_root),
        ("keyids-null", "there is nobody who could sign, as Go writes it", {"keyids": None}, nobody[0], nobody_root),
    ):
        apply = _entry_of(lambda entry, values_=values_: entry.update(values_))  # type: ignore[misc]
        found.append(
            Spoiler(
                f"role-{name}", breaks, ALL, apply, said,
                otherwise={
                    ("client", ROOT): at_root, ("server", ROOT): at_root, ("server", TIMESTAMP): NO_TIMESTAMP_KEY,
                },
            )
        )
    return found


HOLDERS = (ROOT, TARGETS, RELEASES)


def _key_table() -> list[Spoiler]:
    unusable = "the key '0000000000000000' is not usable: "
    other = PrivateKey.generate()
    curve = PrivateKey(ec.generate_private_key(ec.SECP256K1()))
    values: list[tuple[str, str, Apply, str]] = [
        ("key-under-other-id", "a key under an id that is not its own", _with_key(lambda key: None),
         "the key '0000000000000000' stands under an id that is not its own"),
        ("key-private", "a private key is published", _with_key(lambda key: key["keyval"].update(private="c2VjcmV0")),
         "it holds a private key, which must now be replaced: rotate that key"),
        ("key-private-empty", "private is an empty text", _with_key(lambda key: key["keyval"].update(private="")),
         "it holds a private key, which must now be replaced: rotate that key"),
        ("key-type-unknown", "a type nobody knows", _public("dsa", other.public.encoded),
         unusable + "its type 'dsa' is not one of ecdsa, rsa, ed25519, ecdsa-x509, rsa-x509"),
        ("key-type-upper", "the type in capitals", _public("ECDSA", other.public.encoded),
         unusable + "its type 'ECDSA' is not one of ecdsa, rsa, ed25519, ecdsa-x509, rsa-x509"),
        ("key-type-other", "an ECDSA key that is called RSA", _public("rsa", other.public.encoded),
         unusable + "its bytes are not a key of type rsa"),
        ("key-type-certified", "a bare key that is called a certificate", _public("ecdsa-x509", other.public.encoded),
         unusable + "it should be PEM certificates and is not"),
        ("key-ed25519-short", "an Ed25519 key of 3 bytes", _public("ed25519", "AAAA"),
         unusable + "its bytes are not a key of type ed25519"),
        ("key-rsa-short", "an RSA key of 1024 bits", _public("rsa", SHORT_RSA),
         unusable + "RSA of 1024 bits is too short; use ECDSA P-256, or RSA of 2048 bits or more"),
        ("key-curve", "a curve that docker cannot read", _public("ecdsa", curve.public.encoded),
         unusable + "the curve secp256k1 is not one that docker reads; use ECDSA P-256"),
        ("key-not-base64", "no base64", _public("ecdsa", "!"), unusable + "its public part is not base64"),
        ("key-loose-base64", "base64 without its end", _public("ecdsa", other.public.encoded.rstrip("=") + "A"),
         unusable + "its public part is not base64"),
        ("key-huge", "a key of 64 KiB and more", _public("ecdsa", "A" * (64 * 1024 + 4)),
         unusable + "it is longer than 64 KiB"),
        ("key-public-null", "no public part", _with_key(lambda key: key["keyval"].update(public=None)),
         "public should be a text"),
        ("key-field", "an unknown field", _with_key(lambda key: key.update(scheme="x")),
         "a key has the unknown field 'scheme'"),
        ("key-value-field", "an unknown field inside", _with_key(lambda key: key["keyval"].update(extra=1)),
         "keyval has the unknown field 'extra'"),
        ("key-null", "a key of null", edited(lambda signed: _keys(signed).update({NOBODY: None})),
         "a key should be an object"),
        ("keys-513", "more keys than anybody needs", edited(_many), "{where} holds more than 512 keys"),
    ]
    found = []
    for name, breaks, apply, reason in values:
        for roles, where in (((ROOT,), "keys"), ((TARGETS, RELEASES), "delegations.keys")):
            found.append(Spoiler(name, breaks, roles, apply, malformed(reason.replace("{where}", where))))
    return found


def _roles() -> list[Spoiler]:
    exactly = "roles should be exactly root, targets, snapshot and timestamp"
    found = [
        Spoiler(f"roles-without-{role}", f"nobody signs {role}", (ROOT,),
                edited(lambda signed, role=role: signed["roles"].pop(role)), malformed(exactly))  # type: ignore[misc]
        for role in TOP_ROLES
    ]
    found += [
        Spoiler("roles-extra", "a fifth role", (ROOT,),
                edited(lambda signed: signed["roles"].update(mirror=signed["roles"]["root"])), malformed(exactly)),
        Spoiler("roles-entry-null", "a role of null", (ROOT,),
                edited(lambda signed: signed["roles"].update(snapshot=None)),
                malformed("snapshot should be an object")),
    ]  # fmt: skip
    return found


def _delegations() -> list[Spoiler]:
    def first(change: Callable[[Document], object]) -> Apply:
        return edited(lambda signed: change(signed["delegations"]["roles"][0]))

    def twice(signed: Document) -> None:
        signed["delegations"]["roles"].append(dict(signed["delegations"]["roles"][0]))

    def named(name: Any) -> Apply:
        return first(lambda entry: entry.update(name=name))

    values: list[tuple[str, str, Apply, str]] = [
        ("elsewhere", "a role that is not below its parent", named("targets/x/y/z"),
         "targets/x/y/z is not directly below {role}"),
        ("itself", "the role itself", edited(lambda signed: None), "{role} is not directly below {role}"),
        ("top", "a top role", named("snapshot"), "snapshot is not directly below {role}"),
        ("bad-name", "a name that is no role's", named("targets/Bob"), "'targets/Bob' is not the name of a role"),
        ("upward", "a name with ..", named("targets/../root"), "'targets/../root' is not the name of a role"),
        ("slash", "a name with a slash at its end", named("targets/a/"), "'targets/a/' is not the name of a role"),
        ("name-null", "no name", named(None), "name should be a text"),
        ("twice", "a delegation that stands there twice", edited(twice), "a delegation is listed twice"),
        ("paths-empty", "paths that are there and empty", first(lambda entry: entry.update(paths=[])),
         "the empty paths of {child} should be left out"),
        ("paths-text", "paths in one text", first(lambda entry: entry.update(paths="v1")), "paths should be a list"),
        ("path-number", "a path that is no text", first(lambda entry: entry.update(paths=[1])),
         "paths should be a text"),
        ("entry-null", "a delegation of null", edited(
            lambda signed: signed["delegations"]["roles"].append(None)), "a delegation should be an object"),
        ("roles-object", "delegations that are no list", edited(
            lambda signed: signed["delegations"].update(roles={})), "delegations.roles should be a list"),
        ("keys-list", "keys that are no object", edited(
            lambda signed: signed["delegations"].update(keys=[])), "delegations.keys should be an object"),
        ("keys-missing", "no keys", edited(
            lambda signed: signed["delegations"].pop("keys")), "delegations has no keys"),
        ("field", "an unknown field", edited(
            lambda signed: signed["delegations"].update(x=1)), "delegations has the unknown field 'x'"),
    ]  # fmt: skip
    found = []
    for name, breaks, apply, reason in values:
        for role, child in ((TARGETS, RELEASES), (RELEASES, DEEP)):
            spoil = named(str(role)) if name == "itself" else apply
            found.append(
                Spoiler(f"delegation-{name}", breaks, (role,), spoil, malformed(reason.replace("{child}", child)))
            )
    return found


def _certificate_of_other_key(sim: TrustSimulator, role: RoleName) -> None:
    """The role's key id stands over the certificate of a stranger's key."""
    stranger = PrivateKey.generate()
    pem = stranger.with_certificate(root_certificate(stranger, sim.gun, sim.now)).public

    def spoil(signed: Document) -> None:
        _keys(signed)[NOBODY] = {"keytype": "ecdsa-x509", "keyval": {"private": None, "public": pem.encoded}}

    sim.edit(role, spoil)


KEYS = (
    *_entries(), *_key_table(), *_roles(), *_delegations(),
    Spoiler("key-certificate-of-another", "the certificate of another key under this id", HOLDERS,
            _certificate_of_other_key, malformed("the key '0000000000000000' stands under an id that is not its own")),
)  # fmt: skip
