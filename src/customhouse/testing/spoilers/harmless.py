"""Changes that must not be refused: forms that Go clients write, and what the format leaves open."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from customhouse.testing.spoilers.fields import ALL, WITH_TARGETS, edited, given
from customhouse.testing.spoilers.spoiler import Apply
from customhouse.testing.trust_simulator import ALICE, DEEP, Document
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, RoleName


@dataclass(frozen=True)
class Harmless:
    """A change that every reader must accept."""

    name: str
    why: str
    roles: tuple[RoleName, ...]
    apply: Apply


def _target(change: Callable[[Document], object]) -> Apply:
    return edited(lambda signed: change(next(iter(signed["targets"].values()))))


def _declared(signed: Document) -> None:
    """A delegation without keys or paths, as Go leaves one when the last of both is taken away."""
    name = "targets/nobody"
    signed["delegations"]["roles"].append({"keyids": None, "name": name, "threshold": 1})


def _table() -> list[Harmless]:
    expiries: list[tuple[str, Any]] = [
        ("nanoseconds", "2029-11-22T03:10:04.348302371Z"), ("tenth", "2029-11-22T03:10:04.1Z"),
        ("last-year", "9999-12-31T23:59:59Z"), ("a-second-from-now", "2026-11-23T12:00:01Z"),
    ]
    leaves = (DEEP, ALICE)
    return [
        *(Harmless(f"expires-{name}", "Go writes it, or it is far away", ALL, given(expires=text))
          for name, text in expiries),
        Harmless("versions-skipped", "docker's first targets is version 2", (TARGETS, RELEASES), given(version=10)),
        Harmless("consistent-snapshot", "has no effect", (ROOT,), given(consistent_snapshot=True)),
        Harmless("roles-null", "Go leaves null after the last removal", leaves,
                 edited(lambda signed: signed["delegations"].update(roles=None))),
        Harmless("keys-null", "Go leaves null after the last removal", leaves,
                 edited(lambda signed: signed["delegations"].update(keys=None))),
        Harmless("keyids-null", "Go leaves null after the last removal", (TARGETS,), edited(_declared)),
        Harmless("paths-left-out", "a role that may sign nothing", (TARGETS,),
                 edited(lambda signed: signed["delegations"]["roles"][1].pop("paths"))),
        Harmless("custom", "any JSON of texts and whole numbers", WITH_TARGETS,
                 _target(lambda entry: entry.update(custom={"a": [1, True, None, "\u00e9"]}))),
        Harmless("custom-false", "falsehood is not absence", WITH_TARGETS,
                 _target(lambda entry: entry.update(custom=False))),
        Harmless("sha512-too", "notary writes both", WITH_TARGETS,
                 _target(lambda entry: entry["hashes"].update(sha512="A" * 86 + "=="))),
        Harmless("length-zero", "nobody reads it", WITH_TARGETS, _target(lambda entry: entry.update(length=0))),
        Harmless("sha256-only", "sha512 may be left out", (SNAPSHOT,),
                 edited(lambda signed: [entry["hashes"].pop("sha512") for entry in signed["meta"].values()])),
        Harmless("stale-entry", "Go servers keep entries of delegations that are gone", (SNAPSHOT,),
                 edited(lambda signed: signed["meta"].update({"targets/gone": signed["meta"]["targets"]}))),
        Harmless("name-with-html", "escaped outside, signed raw", WITH_TARGETS, edited(
            lambda signed: signed["targets"].update({"a<b>&\u2028": next(iter(signed["targets"].values()))}))),
        Harmless("no-tags", "all were taken away", WITH_TARGETS, given(targets={})),
    ]  # fmt: skip


HARMLESS = tuple(_table())
