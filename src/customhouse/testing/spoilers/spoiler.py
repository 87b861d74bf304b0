"""What a spoiler is: one thing that is wrong with a repository, and the refusal that it must meet.

1. `apply` spoils one role of a simulator that stands at its second version (`TrustSimulator.complete`).
2. `at_client` is what a returning client says, who has seen that second version and knows the first root; None where
   every client of this wire accepts it, and only the server, who sees what came before, can refuse.
3. A delegation that is malformed, under-signed or expired is left out rather than refused: its tags do not resolve.
4. `at_server` is what an upload of the spoilt file meets: the same sentence, as UpdateRefused of the kind that clients
   know for the role, where the table says nothing else. A client's timestamp is ignored: None.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from customhouse.errors import Conflict, CustomhouseError
from customhouse.testing.trust_simulator import TrustSimulator, above
from customhouse.trust.fields import InvalidMetadata
from customhouse.trust.names import ROOT, SNAPSHOT, TIMESTAMP, TOP_ROLES, RoleName
from customhouse.trust.update import UpdateRefused
from customhouse.trust.verify import Altered, NotEnoughSignatures, RoleExpired

LEFT_OUT = (InvalidMetadata, NotEnoughSignatures, RoleExpired)

Apply = Callable[[TrustSimulator, RoleName], object]
Door = Literal["client", "server"]


@dataclass(frozen=True)
class Said:
    """An error's class and its sentence, as a template.

    `{role}` is the file at fault and `{entry}` the role that was spoilt: they differ when an entry in the file of its
    parent is spoilt. `{version}` and `{before}` are the file's and its predecessor's, `{above}` names it by hash.
    `kind` is the server's name for it, where it is not the one of the file at fault.
    """

    error: type[CustomhouseError]
    template: str
    kind: str = ""


@dataclass(frozen=True)
class Refusal:
    """The class of an error and its whole sentence; `kind` is the name that a server's refusal carries on the wire."""

    error: type[CustomhouseError]
    sentence: str
    role: RoleName
    left_out: bool = False
    kind: str = ""

    def fits(self, error: CustomhouseError) -> bool:
        """Is this the error that was to be raised? A sentence that ends in … goes on in the words of a library."""
        start, open_end, _ = self.sentence.partition("…")
        said = error.message.startswith(start) if open_end else error.message == self.sentence
        return type(error) is self.error and said and getattr(error, "kind", "") == self.kind


@dataclass(frozen=True)
class Spoiler:
    """One way of breaking a role: `breaks` says it in words, `says` is the answer to it.

    `otherwise` holds what differs, by door or by door and role; None there means that the door accepts it.
    """

    name: str
    breaks: str
    roles: tuple[RoleName, ...]
    apply: Apply
    says: Said
    blames: Callable[[RoleName], RoleName] = lambda role: role
    otherwise: Mapping[Door | tuple[Door, RoleName], Said | None] = field(default_factory=dict)

    def at_client(self, sim: TrustSimulator, role: RoleName) -> Refusal | None:
        """What a client must say to `role` so spoilt."""
        said, blamed = self._said("client", role), self.blames(role)
        if said is None:
            return None
        left_out = blamed.is_delegation and issubclass(said.error, LEFT_OUT)
        return Refusal(said.error, self._text(sim, role, said), blamed, left_out)

    def at_server(self, sim: TrustSimulator, role: RoleName) -> Refusal | None:
        """What the server must say to an upload with `role` so spoilt."""
        said, blamed = self._said("server", role), self.blames(role)
        if said is None or (self.judged_in(role) == TIMESTAMP and ("server", role) not in self.otherwise):
            return None
        text = self._text(sim, role, said)
        if blamed == ROOT and said.error is NotEnoughSignatures:
            text = f"could not rotate trust to a new trusted root: {text}"
        if issubclass(said.error, Conflict):
            return Refusal(said.error, text, blamed)
        return Refusal(UpdateRefused, text, blamed, kind=said.kind or wire_kind(self.judged_in(role)))

    def judged_in(self, role: RoleName) -> RoleName:
        """The role whose file tells: what names hashes is the file above, and whoever signs that one must judge."""
        return above(role) if issubclass(self.says.error, Altered) else self.blames(role)

    def _said(self, door: Door, role: RoleName) -> Said | None:
        everywhere = self.otherwise.get(door, self.says)
        return self.otherwise.get((door, role), everywhere)

    def _text(self, sim: TrustSimulator, role: RoleName, said: Said) -> str:
        blamed = self.blames(role)
        return said.template.format(
            role=blamed, entry=role, gun=sim.gun, above=above(blamed), kind=_kind(blamed),
            version=sim.version(blamed), before=sim.version(blamed) - 1,
        )  # fmt: skip


def malformed(reason: str) -> Said:
    """A file that breaks the format."""
    return Said(InvalidMetadata, "the {role} metadata is not well-formed: " + reason)


def holder(role: RoleName) -> RoleName:
    """The role whose file says who signs `role`."""
    return ROOT if role in TOP_ROLES else role.parent


def wire_kind(role: RoleName) -> str:
    """The name that clients know for a refusal of this role."""
    if role.has_targets:
        return "ErrBadTargets"
    return {ROOT: "ErrBadRoot", SNAPSHOT: "ErrBadSnapshot"}.get(role, "ErrValidation")


def _kind(role: RoleName) -> str:
    return "Targets" if role.has_targets else role.capitalize()
