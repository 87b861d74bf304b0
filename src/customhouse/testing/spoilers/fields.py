"""Spoilers of single fields, validly signed: what `signed` says is wrong, and every hash and signature is right."""

from collections.abc import Callable
from typing import Any

from customhouse.testing.spoilers.spoiler import Apply, Said, Spoiler, malformed
from customhouse.testing.trust_simulator import ALICE, DEEP, Document, TrustSimulator
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, RoleName
from customhouse.trust.update import UpdateRefused, VersionConflict
from customhouse.trust.verify import RoleExpired, RolledBack, TrustError

WITH_TARGETS = (TARGETS, RELEASES, DEEP, ALICE)
ALL = (ROOT, SNAPSHOT, TIMESTAMP, *WITH_TARGETS)
TWO_ROOTS = Said(TrustError, "there are two different roots of version {before}: the repository was begun anew")
EXPIRED = "{role} version {version} expired on "
STALE = Said(VersionConflict, "{role} of {gun} is at version {before} now; version {before} cannot follow it")


def edited(change: Callable[[Document], object]) -> Apply:
    """Change the `signed` object of the role."""
    return lambda sim, role: sim.edit(role, change)


def given(**values: Any) -> Apply:
    """Give fields of `signed` other values."""
    return edited(lambda signed: signed.update(values))


def without(name: str) -> Apply:
    """Leave a field of `signed` out."""
    return edited(lambda signed: signed.pop(name))


def _versions() -> list[Spoiler]:
    number = "version should be a whole number, 1 or more"
    values: list[tuple[str, Any, str]] = [
        ("version-zero", 0, number),
        ("version-negative", -1, number),
        ("version-true", True, number),
        ("version-text", "2", number),
        ("version-null", None, number),
        ("version-fraction", 1.5, "the number 1.5 is not an integer"),
        ("version-whole-fraction", 2.0, "the number 2.0 is not an integer"),
        ("version-beyond-floats", 2**53 + 1, "the number 9007199254740993 is beyond 2^53"),
        ("version-endless", 10**40, f"the number {10**29} is beyond 2^53"),
        ("version-beyond-31-bits", 2**31, "version 2147483648 is beyond 2147483647"),
    ]
    found = [
        Spoiler(name, f"version is {value!r}", ALL, given(version=value), malformed(reason))
        for name, value, reason in values
    ]
    seen = Said(RolledBack, "{role} version {before} is older than version {version}, which was seen before")
    found.append(
        Spoiler(
            "rolled-back", "the version before, with other content", ALL,
            edited(lambda signed: signed.update(version=signed["version"] - 1, expires="2028-01-31T12:00:00Z")), seen,
            otherwise={"server": STALE, ("client", ROOT): TWO_ROOTS},
        )
    )
    far = "{role} version 1000000 is too far ahead of {before}"
    root = Said(UpdateRefused, "Root modifications must increment the version. Current {before}, new 1000000")
    found.append(
        Spoiler(
            "far-ahead", "a version so high that few could follow", ALL, given(version=1_000_000),
            Said(UpdateRefused, far), otherwise={"client": None, ("server", ROOT): root},
        )
    )
    return found


def _expiries() -> list[Spoiler]:
    past = [
        ("expired", "2026-11-23T11:00:00Z", "2026-11-23 11:00 UTC"),
        ("expired-this-second", "2026-11-23T12:00:00Z", "2026-11-23 12:00 UTC"),
        ("expired-in-year-1", "0001-01-01T00:00:00Z", "0001-01-01 00:00 UTC"),
    ]
    found = [
        Spoiler(name, f"expires is {text}", ALL, given(expires=text), Said(RoleExpired, EXPIRED + shown))
        for name, text, shown in past
    ]
    forms = {
        "word": "tomorrow", "empty": "", "date-only": "2027-01-31", "no-zone": "2027-01-31T12:00:00",
        "offset-zero": "2027-01-31T12:00:00+00:00", "other-zone": "2027-01-31T12:00:00+02:00",
        "small-z": "2027-01-31T12:00:00z", "small-t": "2027-01-31t12:00:00Z", "space": "2027-01-31 12:00:00Z",
        "trailing-zero": "2027-01-31T12:00:00.100Z", "zero-fraction": "2027-01-31T12:00:00.0Z",
        "ten-digits": "2027-01-31T12:00:00.1234567891Z", "comma": "2027-01-31T12:00:00,1Z",
        "no-such-day": "2027-02-30T12:00:00Z", "hour-24": "2027-01-31T24:00:00Z", "leap": "2027-01-31T12:00:60Z",
        "year-0": "0000-01-31T12:00:00Z", "year-5-digits": "12027-01-31T12:00:00Z",
        "other-digits": "\u0662027-01-31T12:00:00Z", "line-end": "2027-01-31T12:00:00Z ",
    }  # fmt: skip
    found += [
        Spoiler(
            f"expires-{name}", f"expires is {text!r}", ALL, given(expires=text),
            malformed(f"expires {text!r} should read like 2027-01-31T12:00:00Z"),
        )
        for name, text in forms.items()
    ]
    found += [
        Spoiler(f"expires-{name}", f"expires is {value!r}", ALL, given(expires=value), malformed(reason))
        for name, value, reason in (
            ("null", None, "expires should be a text"), ("number", 1801396800, "expires should be a text"),
        )
    ]
    return found


def _shapes() -> list[Spoiler]:
    kind = malformed("its _type should be {kind}")
    found = [
        Spoiler("type-lower", "_type in small letters", ALL, edited(_lower), kind),
        Spoiler("type-other", "_type of another kind", ALL, given(_type="Mirrors"), kind),
        Spoiler("type-number", "_type is no text", ALL, given(_type=1), kind),
        Spoiler("field-unknown", "a field nobody knows", ALL, given(spec_version="1"),
                malformed("signed has the unknown field 'spec_version'")),
        Spoiler("field-other-case", "a field that only Go would read", ALL, given(Version=9),
                malformed("signed has the unknown field 'Version'")),
        Spoiler("text-with-control", "a control character in a text", ALL, given(note="a\nb"),
                malformed(r"the text 'a\nb' holds a control character")),
    ]
    fields = {
        ALL: ("_type", "expires", "version"),
        (ROOT,): ("consistent_snapshot", "keys", "roles"),
        WITH_TARGETS: ("delegations", "targets"),
        (SNAPSHOT, TIMESTAMP): ("meta",),
    }
    for roles, names in fields.items():
        for name in names:
            found.append(
                Spoiler(f"missing-{name}", f"no {name}", roles, without(name), malformed(f"signed has no {name}"))
            )
    shapes: list[tuple[tuple[RoleName, ...], str, Any, str]] = [
        ((ROOT,), "consistent_snapshot", "false", "consistent_snapshot should be true or false"),
        ((ROOT,), "consistent_snapshot", None, "consistent_snapshot should be true or false"),
        ((ROOT,), "keys", [], "keys should be an object"),
        ((ROOT,), "keys", None, "keys should be an object"),
        ((ROOT,), "roles", [], "roles should be an object"),
        (WITH_TARGETS, "targets", [], "targets should be an object"),
        (WITH_TARGETS, "targets", None, "targets should be an object"),
        (WITH_TARGETS, "delegations", None, "delegations should be an object"),
        (WITH_TARGETS, "delegations", [], "delegations should be an object"),
        ((SNAPSHOT, TIMESTAMP), "meta", None, "meta should be an object"),
        ((SNAPSHOT, TIMESTAMP), "meta", [], "meta should be an object"),
    ]
    for roles, name, value, reason in shapes:
        found.append(
            Spoiler(f"{name}-is-{value!r}", f"{name} is {value!r}", roles, given(**{name: value}), malformed(reason))
        )
    return found


def _lower(signed: Document) -> None:
    signed["_type"] = signed["_type"].lower()


def _target(change: Callable[[Document], object]) -> Apply:
    """Change the entry of the one tag of a role, under its own name."""

    def spoil(sim: TrustSimulator, role: RoleName) -> None:
        sim.edit(role, lambda signed: change(next(iter(signed["targets"].values()))))

    return spoil


def _named(name: str) -> Apply:
    return edited(lambda signed: signed["targets"].update({name: next(iter(signed["targets"].values()))}))


def _targets() -> list[Spoiler]:
    short, tag = "tuKkRlOWYQ30VDVZ+vhEtZY/q9Gkxw85ggsc+Z39lQ==", "{tag}"
    sha512 = {"sha512": "A" * 86 + "=="}
    entries: list[tuple[str, str, Callable[[Document], object], str]] = [
        ("sha512-only", "a tag without sha256", lambda e: e.update(hashes=sha512),
         f"the target '{tag}' has no sha256, without which docker cannot pull it"),
        ("no-hash", "a tag without hashes", lambda e: e.update(hashes={}), f"{tag} has no hash"),
        ("hashes-missing", "a tag without the field hashes", lambda e: e.pop("hashes"), f"{tag} has no hashes"),
        ("hash-unknown", "a hash of a kind nobody knows", lambda e: e["hashes"].update(md5="AAAA"),
         f"{tag} has a hash of the unknown kind 'md5'"),
        ("hash-short", "a sha256 of 31 bytes", lambda e: e["hashes"].update(sha256=short),
         f"{tag} has a sha256 of the wrong length"),
        ("hash-hexadecimal", "a sha256 in hexadecimal", lambda e: e["hashes"].update(sha256="ab" * 32),
         f"{tag} has a sha256 of the wrong length"),
        ("hash-not-base64", "a sha256 in no base64", lambda e: e["hashes"].update(sha256="!"),
         "sha256 should be base64"),
        ("hash-number", "a sha256 that is no text", lambda e: e["hashes"].update(sha256=1), "sha256 should be a text"),
        ("length-negative", "a length below 0", lambda e: e.update(length=-1),
         "length should be a whole number, 0 or more"),
        ("length-true", "a length of true", lambda e: e.update(length=True),
         "length should be a whole number, 0 or more"),
        ("length-text", "a length as text", lambda e: e.update(length="1"),
         "length should be a whole number, 0 or more"),
        ("length-fraction", "a length of 1.5", lambda e: e.update(length=1.5), "the number 1.5 is not an integer"),
        ("length-huge", "a length beyond 2^53", lambda e: e.update(length=2**53 + 1),
         "the number 9007199254740993 is beyond 2^53"),
        ("length-missing", "no length", lambda e: e.pop("length"), f"{tag} has no length"),
        ("entry-field", "an unknown field", lambda e: e.update(size=1), f"{tag} has the unknown field 'size'"),
        ("custom-null", "custom is null", lambda e: e.update(custom=None),
         f"the custom part of {tag} is null or holds one of < > &"),
        ("custom-html", "custom with < > &", lambda e: e.update(custom={"a": "<b>&"}),
         f"the custom part of {tag} is null or holds one of < > &"),
        ("custom-fraction", "custom with a fraction", lambda e: e.update(custom=[0.5]),
         "the number 0.5 is not an integer"),
        ("custom-deep", "custom that is nested too deep", lambda e: e.update(custom=_nested(40)),
         "it is nested deeper than 32"),
    ]
    found = []
    for name, breaks, change, reason in entries:
        for role, its in zip(WITH_TARGETS, ("1", "r", "d", "a"), strict=True):
            said = malformed(reason.replace(tag, its))
            found.append(Spoiler(f"target-{name}", breaks, (role,), _target(change), said))
    found += [
        Spoiler("target-name-empty", "a tag without a name", WITH_TARGETS, _named(""),
                malformed("the name of a target is empty or too long")),
        Spoiler("target-name-long", "a name of 1025 letters", WITH_TARGETS, _named("n" * 1025),
                malformed("the name of a target is empty or too long")),
        Spoiler("target-name-control", "a name with a zero byte", WITH_TARGETS, _named("a\0"),
                malformed(r"the text 'a\x00' holds a control character")),
        Spoiler("targets-too-many", "100,001 tags", (TARGETS, RELEASES), edited(_many),
                malformed("it lists more than 100000 targets")),
    ]  # fmt: skip
    return found


def _nested(depth: int) -> list[Any]:
    return [_nested(depth - 1)] if depth else []


def _many(signed: Document) -> None:
    entry = next(iter(signed["targets"].values()))
    signed["targets"] = {f"t{number}": entry for number in range(100_001)}


FIELDS = (*_versions(), *_expiries(), *_shapes(), *_targets())
