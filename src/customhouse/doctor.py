"""Reads a whole hub and names every broken invariant; changes nothing, and may run beside a working hub.

P1 official tag <=> signed targets <=> certification record · P3, T1 every
GUN verifies as a fresh client sees it · P6 one publication per certification · S1 every submission that is not final
has a workflow or waits for a person · R1, R4 (and so P2) rows, links and bytes agree ·
A1 the audit chain proves itself.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from sqlalchemy import Connection

from customhouse.accounts.access import Kind, kind_of
from customhouse.certification.submission import ACTIVE, State
from customhouse.errors import CustomhouseError
from customhouse.hub import Hub
from customhouse.oci.digest import Digest
from customhouse.trust.names import RELEASES, Gun
from customhouse.trust.verify import TrustedRepository, verify_repository


@dataclass(frozen=True)
class Break:
    """One broken invariant: which, of what, and how."""

    invariant: str
    subject: str
    what: str

    def as_json(self) -> dict[str, str]:
        """Names and values."""
        return asdict(self)


def examine(hub: Hub, *, rehash: bool = False, running: bool = False) -> list[Break]:
    """Every break; empty for a sound hub. `rehash` also re-reads every byte. `running`: workflows are live."""
    found = [Break(item.invariant, item.subject, item.message) for item in hub.registry.breaches(rehash)]
    found += _official(hub)
    found += _guns(hub)
    found += _submissions(hub, running)
    found += _audit(hub)
    return found


def _official(hub: Hub) -> Iterator[Break]:
    """P1, P2, P6, in one consistent view: nothing that is being published can look half done."""
    with hub.database.read() as tx:
        records = hub.certification.published(tx)
        by_tag = {(item["repository"], item["tag"]): item for item in records}
        if len(by_tag) != len(records):
            yield Break("P6", "certification", "two records stand under one tag")
        tags: dict[str, dict[str, Digest]] = {item["repository"]: {} for item in records}
        for name in (gun.repository for gun in hub.trust.guns(tx)):
            tags.setdefault(name, {})
        for name, tag, digest in hub.registry.all_tags(tx):
            tags.setdefault(name, {})[tag] = digest
        for repository in sorted(name for name in tags if kind_of(name) is Kind.OFFICIAL):
            standing = {tag: Digest(item["digest"]) for (name, tag), item in by_tag.items() if name == repository}
            yield from _same(repository, "tags", tags[repository], "certification records", standing)
            yield from _signed(hub, tx, repository, tags[repository])
        for item in records:
            row = hub.certification.current(tx, item["submission"])
            if row.state is not State.PUBLISHED or row.digest != item["digest"]:
                yield Break("P1", row.id, f"its record is published and it is {row.state.value}")


def _same(
    repository: str, left_name: str, left: dict[str, Digest], right_name: str, right: dict[str, Digest]
) -> Iterator[Break]:
    for tag in sorted(set(left) | set(right)):
        if left.get(tag) != right.get(tag):
            said = f"{left_name} say {left.get(tag)}, {right_name} say {right.get(tag)}"
            yield Break("P1", f"{repository}:{tag}", said)


def _signed(hub: Hub, tx: Connection, repository: str, tags: dict[str, Digest]) -> Iterator[Break]:
    gun = Gun(f"{hub.settings.host}/{repository}")
    try:
        trusted = _verified(hub, tx, gun)
    except CustomhouseError as error:
        yield Break("T1", gun, error.message)
        return
    signed = {name: tag.digest for name, tag in trusted.tags.items()}
    yield from _same(repository, "tags", tags, "signed targets", signed)
    signer = f"targets/{hub.settings.hub_name}"
    listed = {str(role): set(body.body.targets) for role, body in trusted.targets.items()}
    if listed.get(str(RELEASES), set()) != listed.get(signer, set()):
        yield Break("P1", gun, f"{RELEASES} and {signer} list different tags")
    for role in trusted.targets:
        if role not in ("targets", RELEASES, signer):
            yield Break("P1", gun, f"{role} is signed by somebody else than the hub")


def _guns(hub: Hub) -> Iterator[Break]:
    """T1, P3: as a fresh client would see it, at all times."""
    with hub.database.read() as tx:
        for gun in hub.trust.guns(tx):
            try:
                _verified(hub, tx, gun)
            except CustomhouseError as error:
                yield Break("T1", gun, error.message)


def _verified(hub: Hub, tx: Connection, gun: Gun) -> TrustedRepository:
    return verify_repository(
        hub.trust.repository_files(gun, tx),
        hub.trust.root_versions(gun, tx),
        gun=gun,
        enrolled=None,
        seen={},
        now=hub.clock(),
    )


def _submissions(hub: Hub, running: bool) -> Iterator[Break]:
    for row in hub.certification.active():
        idle = running and hub.workflows.state(row.workflow) != "live"
        if idle and hub.certification.get(row.id).state in ACTIVE:
            yield Break("S1", row.id, f"is {row.state.value} and has no live workflow")


def _audit(hub: Hub) -> Iterator[Break]:
    with hub.database.read() as tx:
        try:
            hub.audit.verify(tx)
        except CustomhouseError as error:
            yield Break("A1", "audit", error.message)
