"""Spoilers of how files belong together: each file is right, and the set is not."""

from collections.abc import Callable

from customhouse.testing.spoilers.fields import ALL, WITH_TARGETS, edited
from customhouse.testing.spoilers.spoiler import Apply, Said, Spoiler, malformed
from customhouse.testing.trust_simulator import ALICE, DEEP, Document, TrustSimulator, above
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, RoleName
from customhouse.trust.update import UpdateRefused
from customhouse.trust.verify import Altered, RoleMissing, RolledBack

NAMED = tuple(role for role in ALL if role != TIMESTAMP)
OTHER = {"hash": "the hash of {role} is not the one that {above} names",
         "length": "the length of {role} is not the one that {above} names"}  # fmt: skip


def _named(change: Callable[[Document], object]) -> Apply:
    """Change how the file above names this one."""
    return lambda sim, role: sim.edit(above(role), lambda signed: change(signed["meta"][role]))


def _by_above(role: RoleName) -> RoleName:
    return above(role)


def _hashes() -> list[Spoiler]:
    other, short = "A" * 43 + "=", "A" * 42 + "=="
    wrong: list[tuple[str, str, Apply, str]] = [
        ("hash-other", "another hash", lambda sim, role: sim.change_hash(role), "hash"),
        ("hash-sha256-other", "another sha256 beside the right sha512",
         _named(lambda meta: meta["hashes"].update(sha256=other)), "hash"),
        ("hash-sha512-other", "another sha512 beside the right sha256",
         _named(lambda meta: meta["hashes"].update(sha512="A" * 86 + "==")), "hash"),
        ("length-other", "a byte more", lambda sim, role: sim.change_length(role), "length"),
        ("length-less", "a byte less", _named(lambda meta: meta.update(length=meta["length"] - 1)), "length"),
        ("length-zero", "no bytes", _named(lambda meta: meta.update(length=0)), "length"),
        ("length-huge", "2^53 bytes", _named(lambda meta: meta.update(length=2**53)), "length"),
    ]
    found = [
        Spoiler(f"named-{name}", f"the file above names {breaks}", NAMED, apply, Said(Altered, OTHER[what]))
        for name, breaks, apply, what in wrong
    ]
    broken: list[tuple[str, str, Callable[[Document], object], str]] = [
        ("sha512-only", "no sha256", lambda meta: meta["hashes"].pop("sha256"), "it has no sha256 for {entry}"),
        ("no-hash", "no hash", lambda meta: meta["hashes"].clear(), "{entry} has no hash"),
        ("hash-unknown", "a hash of an unknown kind", lambda meta: meta["hashes"].update(sha1="AAAA"),
         "{entry} has a hash of the unknown kind 'sha1'"),
        ("hash-short", "a sha256 of 31 bytes", lambda meta: meta["hashes"].update(sha256=short),
         "{entry} has a sha256 of the wrong length"),
        ("length-negative", "a length below 0", lambda meta: meta.update(length=-1),
         "length should be a whole number, 0 or more"),
        ("length-text", "a length as text", lambda meta: meta.update(length="1"),
         "length should be a whole number, 0 or more"),
        ("length-missing", "no length", lambda meta: meta.pop("length"), "{entry} has no length"),
        ("custom", "a custom part", lambda meta: meta.update(custom={}), "{entry} has the unknown field 'custom'"),
    ]
    found += [
        Spoiler(f"named-{name}", f"the file above names {breaks}", NAMED, _named(change), malformed(reason), _by_above)
        for name, breaks, change, reason in broken
    ]
    return found


def _meta() -> list[Spoiler]:
    def with_entry(name: str) -> Apply:
        return edited(lambda signed: signed["meta"].update({name: next(iter(signed["meta"].values()))}))

    both = malformed("it should name root and targets")
    named = "it names '{name}', which does not belong there"
    found = [
        Spoiler(f"meta-without-{name}", f"{name} is not named", (SNAPSHOT,),
                edited(lambda signed, name=name: signed["meta"].pop(name)), both)  # type: ignore[misc]
        for name in (ROOT, TARGETS)
    ]
    found += [
        Spoiler(f"meta-with-{name}", f"{name} is named", (SNAPSHOT,), with_entry(name),
                malformed(named.replace("{name}", name)))
        for name in (SNAPSHOT, TIMESTAMP)
    ]
    found += [
        Spoiler("meta-with-stranger", "something is named that is no role", (SNAPSHOT,), with_entry("targets/A"),
                malformed("it names 'targets/A', which is not a role")),
        Spoiler("meta-null", "an entry of null", (SNAPSHOT,),
                edited(lambda signed: signed["meta"].update(targets=None)), malformed("targets should be an object")),
        Spoiler("meta-without-snapshot", "the snapshot is not named", (TIMESTAMP,),
                edited(lambda signed: signed["meta"].clear()), malformed("meta has no snapshot")),
        Spoiler("meta-with-more", "more than the snapshot is named", (TIMESTAMP,), with_entry("root"),
                malformed("meta has the unknown field 'root'")),
    ]  # fmt: skip
    left_out = Said(UpdateRefused, "the snapshot leaves out {entry}")
    found += [
        Spoiler("delegation-left-out", "the snapshot does not name a delegation", (role,),
                lambda sim, role: sim.edit(SNAPSHOT, lambda signed: signed["meta"].pop(role)), left_out, _by_above,
                {"client": None})
        for role in (RELEASES, DEEP, ALICE)
    ]  # fmt: skip
    return found


def _newer(sim: TrustSimulator, role: RoleName) -> None:
    """A validly signed file of the next version, which the files above do not know yet."""
    later = sim.copy()
    later.bump(role)
    sim.replace(role, later.files()[role])


def _replay(sim: TrustSimulator, role: RoleName) -> None:
    for name, raw in sim.history[-1].items():
        sim.replace(name, raw)


def _mixes() -> list[Spoiler]:
    hashes = Said(Altered, OTHER["hash"])
    unsent = Said(
        UpdateRefused, "the root names a snapshot key that this server does not hold, and no snapshot was sent",
        "ErrBadHierarchy",
    )  # fmt: skip
    lower = Said(RolledBack, "{role} version {before} is older than version {version}, which was seen before")
    return [
        Spoiler("missing", "the file is not there", (SNAPSHOT, *WITH_TARGETS),
                lambda sim, role: sim.replace(role, None), Said(RoleMissing, "there is no {role} metadata"),
                otherwise={"server": None, ("server", SNAPSHOT): unsent}),
        Spoiler("mixed-older", "the file of the version before, in a set of now", (SNAPSHOT, *WITH_TARGETS),
                lambda sim, role: sim.replace(role, sim.history[-1][role]), hashes,
                otherwise={("server", SNAPSHOT): unsent}),
        Spoiler("mixed-newer", "a newer file than the files above know", (SNAPSHOT, *WITH_TARGETS), _newer, hashes),
        Spoiler("replayed", "everything as it was a version ago", (TIMESTAMP,), _replay, lower, lambda role: ROOT,
                {"server": None}),
    ]  # fmt: skip


SETS = (*_hashes(), *_meta(), *_mixes())
