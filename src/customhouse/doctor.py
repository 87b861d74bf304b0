"""Reads a whole hub and names every broken invariant; changes nothing, and may run beside a working hub.

P1 official tag <=> signed targets <=> certification record · P3, T1 every GUN verifies as a fresh client sees it ·
P6 one publication and one audit entry per certification · S1 every submission that is not final has a workflow or
waits for a person · S3 what is examined, in review or to be published is pinned · R1, R2, R4 (and so P2) rows, links
and bytes agree · A1 the audit chain proves itself.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from customhouse.accounts.access import Kind, kind_of
from customhouse.certification.submission import PINNED, State, Submission
from customhouse.errors import CustomhouseError, NotFound
from customhouse.hub import Hub
from customhouse.oci.digest import Digest
from customhouse.registry.sweep import Breach
from customhouse.trust.names import RELEASES, Gun
from customhouse.trust.verify import RoleExpired, TrustedRepository, verify_repository

HASHING_THREADS = 4
MOST_CONCERNED = 200
ORPHAN_AFTER = timedelta(hours=1)  # bytes come before their row, by as much as an upload's end takes
START_WITHIN = timedelta(seconds=10)  # a submission may wait so long for its workflow to begin


@dataclass(frozen=True)
class Break:
    """One broken invariant: which, of what, and how."""

    invariant: str
    subject: str
    what: str

    def as_json(self) -> dict[str, str]:
        """Names and values, as plain text: a subject may be a digest or a GUN, which are kinds of text."""
        return {name: str(value) for name, value in asdict(self).items()}


def examine(hub: Hub, *, rehash: bool = False, running: bool = False) -> list[Break]:
    """Every break; empty for a sound hub. `rehash` also re-reads every byte. `running`: workflows are live."""
    found = [Break(item.invariant, item.subject, item.message) for item in hub.registry.breaches(rehash)]
    found += _official(hub)
    found += _guns(hub, running)
    found += _submissions(hub, running)
    found += _audit(hub)
    return found


def verify_piece(hub: Hub, after: str = "", *, discard: bool = False) -> dict[str, Any]:
    """One step of reading every stored byte again (R1, R4): what is wrong, whom it concerns and what to do.

    The answer's `next` is the `after` of the next step; it is None at the end. `total` comes with the first step. With
    `discard`, altered bytes are thrown away, so that the next push of the image stores them. Raises Invalid.
    """
    integrity = hub.registry.integrity
    piece = integrity.piece(after, HASHING_THREADS, hub.clock() - ORPHAN_AFTER)
    found: list[dict[str, Any]] = []
    for breach in piece.breaches:
        known = Digest.well_formed(breach.subject)
        gone = discard and known and integrity.discard(Digest(breach.subject), hub.clock())
        asked = known and len(found) < MOST_CONCERNED  # where so much is broken, the rest is of the same cause
        users = integrity.users(Digest(breach.subject)) if asked else [] if known else [breach.subject]
        found.append({
            "invariant": breach.invariant, "subject": str(breach.subject), "what": breach.message, "concerns": users,
            "discarded": gone, "remedy": _remedy(breach, users, gone),
        })
    answer: dict[str, Any] = {
        "breaks": found, "items": piece.items, "bytes": piece.size, "next": piece.next,
        "orphans": len(piece.orphans), "orphan_examples": piece.orphans[:20],
    }
    if not after:
        amount = integrity.amount()
        answer["total"] = {"items": amount.items, "bytes": amount.size}
    return answer


def _remedy(breach: Breach, users: Sequence[str], discarded: bool) -> str:
    if breach.invariant == "R2":
        return "nothing is lost: it only takes room"
    if breach.invariant == "R5":
        return "set the publisher's quota again, as it is (`publisher quota`): then its staging is counted anew"
    if breach.invariant != "R1":
        return "push this image again; an official or quarantined one: restore the database from a backup"
    if "in the database" in breach.message:
        return "restore the database from a backup"
    staged = [user for user in users if user.startswith(f"{Kind.STAGING}/")]
    again = f"push {staged[0]} again" if staged else "push the image to staging again"
    if "altered" in breach.message and not discarded:
        return f"restore this blob from a backup; or run `storage verify --discard`, then {again}"
    return f"restore this blob from a backup, or {again}"


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
        yield from _published_once(hub, tx)
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


def _published_once(hub: Hub, tx: Connection) -> Iterator[Break]:
    told: Counter[str] = Counter()
    after = 0
    while batch := list(hub.audit.entries(tx, after=after)):
        after = batch[-1].seq
        told.update(str(entry.detail.get("submission")) for entry in batch if entry.action == "publication.publish")
    recorded = {str(item["submission"]) for item in hub.certification.records(tx)}
    for submission in sorted(recorded | set(told)):
        if (told[submission], submission in recorded) != (1, True):
            records = "a" if submission in recorded else "no"
            yield Break("P6", submission, f"has {records} certification record and {told[submission]} audit entries")


def _signed(hub: Hub, tx: Connection, repository: str, tags: dict[str, Digest]) -> Iterator[Break]:
    gun = Gun(f"{hub.settings.host}/{repository}")
    try:
        trusted = _verified(hub, tx, gun)
    except CustomhouseError:
        if tags or hub.trust.root_versions(gun, tx):  # which rule it breaks is named once, by `_guns`
            yield Break("P1", gun, "its tags are not signed in a way that clients accept")
        return
    signed = {name: tag.digest for name, tag in trusted.tags.items()}
    yield from _same(repository, "tags", tags, "signed targets", signed)
    for name, tag in trusted.tags.items():
        if tags.get(name) == tag.digest and (size := _size(hub, repository, tag.digest)) != tag.length:
            yield Break("P1", f"{repository}:{name}", f"the manifest has {size} bytes, and {tag.length} are signed")
    signer = f"targets/{hub.settings.hub_name}"
    listed = {str(role): body.body.targets for role, body in trusted.targets.items()}
    if listed.get(str(RELEASES), {}) != listed.get(signer, {}):
        yield Break("P1", gun, f"{RELEASES} and {signer} list different tags")
    for role in trusted.targets:
        if role not in ("targets", RELEASES, signer):
            yield Break("P1", gun, f"{role} is signed by somebody else than the hub")


def _size(hub: Hub, repository: str, digest: Digest) -> int | None:
    try:
        return hub.registry.manifest(repository, digest).size
    except NotFound:
        return None


def _guns(hub: Hub, running: bool) -> Iterator[Break]:
    """T1, P3: as a fresh client would see it, at all times."""
    with hub.database.read() as tx:
        for gun in hub.trust.guns(tx):
            try:
                trusted = _verified(hub, tx, gun)
            except CustomhouseError as error:
                yield Break("T1", gun, error.message)
                continue
            if hub.signers.misaligned(tx, gun) and not (running and _aligned_soon(hub, gun)):
                yield Break("T1", gun, "its targets name other signers than are enrolled")
            ends = min(each.expires for each in trusted.targets.values())
            ends = min(ends, trusted.timestamp.expires, trusted.snapshot.expires)
            if running and kind_of(gun.repository) is Kind.OFFICIAL and ends <= hub.clock():
                yield Break("T1", gun, f"something of it expired on {ends:%Y-%m-%d %H:%M} UTC and was not signed anew")


def _aligned_soon(hub: Hub, gun: Gun) -> bool:
    """Signers are rows first and metadata a moment later: is that moment over?"""
    for _ in range(10):
        time.sleep(0.5)
        with hub.database.read() as tx:
            if not hub.signers.misaligned(tx, gun):
                return True
    return False


def _verified(hub: Hub, tx: Connection, gun: Gun) -> TrustedRepository:
    """By the client's rules, at the last moment at which nothing had expired: time passes over a hub that is stopped,
    and over a publisher who does not sign, and breaks nothing."""
    files, chain, moment = hub.trust.repository_files(gun, tx), hub.trust.root_versions(gun, tx), hub.clock()
    while True:
        try:
            return verify_repository(files, chain, gun=gun, enrolled=None, seen={}, now=moment)
        except RoleExpired as error:
            moment = error.expires - timedelta(seconds=1)


def _submissions(hub: Hub, running: bool) -> Iterator[Break]:
    for row in hub.certification.active() if running else ():
        young = hub.clock() - row.updated < START_WITHIN
        if not young and hub.workflows.state(row.workflow) != "live" and _still(hub, row):
            yield Break("S1", row.id, f"is {row.state.value} and has no live workflow")
    with hub.database.read() as tx:
        pinned = hub.certification.in_states(tx, *PINNED)
    for row in pinned:
        if _size(hub, row.quarantine, row.digest) is None and _still(hub, row):
            yield Break("S3", row.id, f"is {row.state.value} and its content is not in {row.quarantine}")


def _still(hub: Hub, row: Submission) -> bool:
    """Is it where it was, or did it move on while we looked?"""
    now = hub.certification.get(row.id)
    return (now.state, now.round) == (row.state, row.round)


def _audit(hub: Hub) -> Iterator[Break]:
    with hub.database.read() as tx:
        try:
            hub.audit.verify(tx)
        except CustomhouseError as error:
            yield Break("A1", "audit", error.message)
