"""The trust server's rules that change something: publish, commit, keys, renewal, deletion.

1. Every change of a GUN holds its lock, judges the whole result (update.py) and is one transaction: files, key
   states, changefeed, listeners, audit. Of two racing publishers one gets VersionConflict.
2. Listeners are told inside that transaction (`accepted`) and again after it (`committed`).
3. Timestamps with less than half of their life left are signed anew when they are asked for, and by `renew_all`.
   When that cannot be written, the stored one is served as long as it is valid.
4. Keys are P-256, made on demand, sealed in the vault under "trust-key:GUN:role"; one pending key per (GUN, role).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from sqlalchemy import Connection

from customhouse.audit import Audit
from customhouse.errors import CustomhouseError, Invalid, NotFound, StorageFull, Unavailable
from customhouse.faults import point
from customhouse.keys import PrivateKey, PublicKey
from customhouse.signing import SealedSigner, Vault
from customhouse.trust.documents import SNAPSHOT_LIFETIME, TIMESTAMP_LIFETIME
from customhouse.trust.metadata import AnyBody, Signed, parse_root
from customhouse.trust.names import ROOT, SNAPSHOT, TIMESTAMP, Gun, RoleName
from customhouse.trust.store import Change, StoredFile, StoredKey, TrustStore
from customhouse.trust.update import (
    Admitted,
    Stored,
    TrustUpdate,
    VersionConflict,
    admit,
    difference,
    renewal,
)
from customhouse.trust.verify import TrustedRepository

log = logging.getLogger(__name__)

SERVER_ROLES = (SNAPSHOT, TIMESTAMP)
SHORT = 64 * 1024  # so many bytes of a row are read without a thread
FOREVER = datetime.max.replace(tzinfo=UTC)


class MetadataUnknown(NotFound):
    """The GUN has no such file."""

    def __init__(self, gun: str, what: str) -> None:
        super().__init__(f"{gun} has no {what} metadata", hint="Sign and push the image first.")
        self.gun = gun
        self.what = what


class NotAServerRole(Invalid):
    """Keys are held for snapshot and timestamp only."""

    def __init__(self, role: str) -> None:
        super().__init__(f"this server holds no key for {role}; only for snapshot and timestamp")


class TrustListener(Protocol):
    """Whoever must know of accepted publishes."""

    def accepted(self, tx: Connection, update: TrustUpdate) -> None:
        """Inside the publish's transaction; an error refuses the publish."""

    def committed(self, update: TrustUpdate) -> None:
        """After the commit."""


class TrustService:
    """One trust server. `clock` gives aware UTC."""

    def __init__(
        self,
        store: TrustStore,
        vault: Vault,
        audit: Audit,
        clock: Callable[[], datetime],
        listeners: Sequence[TrustListener] = (),
        *,
        timestamp_lifetime: timedelta = TIMESTAMP_LIFETIME,
    ) -> None:
        self._store = store
        self._vault = vault
        self._audit = audit
        self._clock = clock
        self.recall = store.answers.recall  # `at_once`, where rows are not local
        self._listeners = tuple(listeners)
        self._timestamp_lifetime = timestamp_lifetime

    def publish(self, gun: Gun, files: Mapping[RoleName, bytes], actor: str) -> TrustUpdate | None:
        """Accept an update as a whole; None when it changes nothing (no parts, or the stored files again).

        Raises UpdateRefused, VersionConflict.
        """
        now = self._clock()
        with self._store.write() as tx:
            self._store.lock(tx, gun)
            stored = self._stored(tx, gun)
            admitted = self._admit(tx, gun, stored, files, now)
            if admitted is None:
                return None
            update = difference(gun, actor, stored.repository(gun), admitted)
            point("trust.publish.store")
            self._save(tx, gun, admitted, now)
            point("trust.publish.accepted")
            for listener in self._listeners:
                listener.accepted(tx, update)
            detail = {"versions": {str(role): version for role, version in update.versions.items()}}
            detail_tags = {"changed": list(update.changed[:100]), "removed": list(update.removed[:100])}
            self._audit.append(
                tx, actor=actor, action="trust.publish", subject=gun, detail={**detail, **detail_tags}, now=now
            )
            point("trust.publish.commit")
        for listener in self._listeners:
            listener.committed(update)
        return update

    def commit(
        self, tx: Connection, gun: Gun, files: Mapping[RoleName, bytes], expected: Mapping[RoleName, int], step: int = 1
    ) -> TrustedRepository:
        """Store files for a GUN inside the caller's transaction, judged exactly as a publish.

        `expected`: the version that each role must have now (0: none). No listener is told; the caller audits.
        Raises VersionConflict when a role moved on, UpdateRefused.
        """
        now = self._clock()
        self._store.lock(tx, gun)
        stored = self._stored(tx, gun)
        for role, version in expected.items():
            if stored.version(role) != version:
                raise VersionConflict(gun, role, version + 1, stored.version(role))
        admitted = self._admit(tx, gun, stored, files, now, step)
        if admitted is None:
            raise Invalid(f"nothing would change in {gun}")
        point("trust.commit.store")
        self._save(tx, gun, admitted, now)
        point("trust.commit.stored")
        return admitted.repository

    def lock(self, tx: Connection, gun: Gun) -> None:
        """Keep others from changing this GUN until the caller's transaction ends."""
        self._store.lock(tx, gun)

    def current(self, gun: Gun, role: RoleName) -> StoredFile:
        """The current file; timestamp and snapshot are renewed first when that is due. Raises MetadataUnknown."""
        found = self._store.look(gun, role)
        if found is None:
            raise MetadataUnknown(gun, role)
        now = self._clock()
        if role in SERVER_ROLES and self._due(found) < now:
            try:
                self.resign(gun, now)
            except (StorageFull, Unavailable):
                if found.expires <= now:
                    raise
                return found
            with self._store.read() as tx:
                return self._store.current(tx, gun, role) or found
        return found

    def by_hash(self, gun: Gun, role: RoleName, digest: str) -> StoredFile:
        """A file by the sha256 of its bytes, lower-case hexadecimal. Raises MetadataUnknown."""
        found = self._store.look(gun, role, digest)
        if found is None:
            raise MetadataUnknown(gun, f"{role}.{digest}")
        return found

    def moment(self) -> tuple[datetime, int | None]:
        """Now, and a stamp that changes with every commit: what was right at the same stamp is right still, as far as
        time does not change it. None: commits are not counted."""
        return self._clock(), self._store.stamp()

    def at_once(self, gun: Gun, role: RoleName, digest: str = "") -> tuple[StoredFile, datetime] | None:
        """The current file, or the one of this sha256, if it can be given without waiting: rows are local, it is
        short or in memory, and nothing has to be signed anew first; and the moment until which that is so.
        None says: ask `current` or `by_hash`, in a thread."""
        if not self._store.answers.at_hand:
            return None
        found = self._store.look(gun, role, digest, at_most=SHORT)
        if found is None:
            return None
        until = FOREVER if digest or role not in SERVER_ROLES else self._due(found)
        return (found, until) if self._clock() < until else None

    def by_version(self, gun: Gun, role: RoleName, version: int) -> StoredFile:
        """A file by its version. Raises MetadataUnknown."""
        with self._store.read() as tx:
            found = self._store.by_version(tx, gun, role, version)
        if found is None:
            raise MetadataUnknown(gun, f"{version}.{role}")
        return found

    def key(self, gun: Gun, role: RoleName, actor: str, *, rotate: bool = False) -> PublicKey:
        """The key in use, or the pending one, or a new one. With `rotate`, always one that no root lists yet."""
        if role not in SERVER_ROLES:
            raise NotAServerRole(role)
        now = self._clock()
        with self._store.write() as tx:
            self._store.lock(tx, gun)
            key, made = self._key(tx, gun, role, now, rotate=rotate)
            if made:
                point("trust.key.commit")
                self._audit.append(
                    tx, actor=actor, action="trust.key", subject=gun, detail={"role": role, "key": key.key_id}, now=now
                )
        return key

    def server_keys(self, tx: Connection, gun: Gun) -> dict[RoleName, PublicKey]:
        """The snapshot and timestamp keys for a GUN's root, made when there are none yet."""
        self._store.lock(tx, gun)
        return {role: self._key(tx, gun, role, self._clock(), rotate=False)[0] for role in SERVER_ROLES}

    def resign(self, gun: Gun, now: datetime, ahead: int = 0) -> bool:
        """Renew timestamp and snapshot where it is due; False when nothing was. With `ahead`, in any case, and so many
        versions further: clients may have seen newer ones than these (a hub that was restored)."""
        with self._store.write() as tx:
            self._store.lock(tx, gun)
            stored = self._stored(tx, gun)
            made = renewal(stored, self._held(tx, gun), now, timestamp_lifetime=self._timestamp_lifetime, ahead=ahead)
            if not made:
                return False
            point("trust.resign.store")
            self._add(tx, gun, made, now)
            point("trust.resign.commit")
        return True

    def renew_all(self, now: datetime) -> int:
        """Renew every GUN whose timestamp or snapshot is in the second half of its life; how many were.

        One that cannot be renewed is logged and does not hold up the others.
        """
        with self._store.read() as tx:
            due = dict.fromkeys(self._store.due(tx, TIMESTAMP, now + self._timestamp_lifetime / 2))
            due.update(dict.fromkeys(self._store.due(tx, SNAPSHOT, now + SNAPSHOT_LIFETIME / 2)))
        return sum(self._renewed(Gun(gun), now) for gun in due)

    def expiring(self, role: RoleName, before: datetime) -> list[Gun]:
        """GUNs whose current file of this role expires before a moment, the nearest first."""
        with self._store.read() as tx:
            return [Gun(gun) for gun in self._store.due(tx, role, before)]

    def first_timestamp_ends(self, tx: Connection) -> datetime | None:
        """When the first timestamp ends if nobody renews it; None without any."""
        return self._store.first_end(tx, TIMESTAMP)

    def _renewed(self, gun: Gun, now: datetime) -> bool:
        try:
            return self.resign(gun, now)
        except CustomhouseError as error:
            log.error("the timestamp of %s cannot be renewed: %s", gun, error.message)
            return False

    def delete(self, gun: Gun, actor: str) -> None:
        """Forget all files of a GUN. Clients with a cache go on until their timestamp expires: this revokes nothing."""
        with self._store.write() as tx:
            if self.delete_within(tx, gun, actor):
                point("trust.delete.commit")

    def delete_within(self, tx: Connection, gun: Gun, actor: str) -> bool:
        """`delete` in the caller's transaction; False when there was nothing."""
        now = self._clock()
        self._store.lock(tx, gun)
        if not self._store.remove(tx, gun):
            return False
        point("trust.delete.change")
        self._store.add_change(tx, gun, 0, "", "deletion", now)
        self._audit.append(tx, actor=actor, action="trust.delete", subject=gun, now=now)
        return True

    def changefeed(self, gun: Gun | None, change_id: int | None, records: int) -> list[Change]:
        """Oldest first. `records` > 0: that many after `change_id`; < 0: that many before it (None: the last ones)."""
        with self._store.read() as tx:
            if records < 0:
                return self._store.changes_before(tx, gun, change_id, -records)
            return list(self._store.changes(tx, gun, change_id or 0, records))

    def repository_files(self, gun: Gun, tx: Connection | None = None) -> dict[RoleName, bytes]:
        """The current file of every role; empty when there is none. Within `tx` when one is given."""
        if tx is not None:
            return dict(self._stored(tx, gun).files)
        with self._store.read() as reading:
            return dict(self._stored(reading, gun).files)

    def root_versions(self, gun: Gun, tx: Connection | None = None) -> list[bytes]:
        """Every root, oldest first. Within `tx` when one is given."""
        if tx is not None:
            return self._store.roots(tx, gun)
        with self._store.read() as reading:
            return self._store.roots(reading, gun)

    def guns(self, tx: Connection) -> list[Gun]:
        """Every GUN with trust data, in order, as this transaction sees them."""
        return [Gun(gun) for gun in self._store.guns(tx)]

    def _stored(self, tx: Connection, gun: Gun) -> Stored:
        rows = {RoleName(row.role): row for row in self._store.current_files(tx, gun)}
        return Stored(
            {role: row.content for role, row in rows.items()},
            {role: row.version for role, row in rows.items()},
            {role: row.expires for role, row in rows.items()},
            self._store.roots(tx, gun),
        )

    def _admit(
        self, tx: Connection, gun: Gun, stored: Stored, files: Mapping[RoleName, bytes], now: datetime, step: int = 1
    ) -> Admitted | None:
        held = self._held(tx, gun)
        return admit(gun, stored, files, held, now, timestamp_lifetime=self._timestamp_lifetime, step=step)

    def _save(self, tx: Connection, gun: Gun, admitted: Admitted, now: datetime) -> None:
        self._store.retire(tx, gun, admitted.dropped)
        self._add(tx, gun, admitted.files, now)
        if ROOT in admitted.files:
            roles = admitted.repository.root.body.roles
            self._store.use_keys(tx, gun, {role: roles[role].key_ids for role in SERVER_ROLES})

    def _add(self, tx: Connection, gun: Gun, files: Mapping[RoleName, Signed[AnyBody]], now: datetime) -> None:
        for role, signed in files.items():
            self._store.add(tx, gun, role, signed.raw, signed.version, expires=signed.expires, now=now)
            point("trust.store.file")
        timestamp = files[TIMESTAMP]
        self._store.add_change(tx, gun, timestamp.version, timestamp.sha256, "update", now)

    def _held(self, tx: Connection, gun: Gun) -> dict[RoleName, dict[str, SealedSigner]]:
        return {
            role: {key.key_id: self._signer(gun, role, key) for key in self._store.keys(tx, gun, role)}
            for role in SERVER_ROLES
        }

    def _signer(self, gun: Gun, role: RoleName, key: StoredKey) -> SealedSigner:
        return SealedSigner(self._vault, PublicKey(key.keytype, key.public), key.sealed, _context(gun, role))

    def _key(
        self, tx: Connection, gun: Gun, role: RoleName, now: datetime, *, rotate: bool
    ) -> tuple[PublicKey, bool]:
        keys = self._store.keys(tx, gun, role)
        root = self._store.current(tx, gun, ROOT)
        used = parse_root(root.content).body.roles[role].key_ids if root and not rotate else ()
        pick = next((key for key in keys if key.key_id in used), None)
        pick = pick or next((key for key in keys if key.pending), None)
        if pick is not None:
            return PublicKey(pick.keytype, pick.public), False
        signer = SealedSigner.create(self._vault, PrivateKey.generate(), _context(gun, role))
        public = signer.public
        row = StoredKey(public.key_id, public.keytype, public.public, signer.sealed, pending=True)
        self._store.add_key(tx, gun, role, row, now)
        return public, True

    def _due(self, found: StoredFile) -> datetime:
        """From when on it is to be signed anew."""
        lifetime = self._timestamp_lifetime if found.role == TIMESTAMP else SNAPSHOT_LIFETIME
        return found.expires - lifetime / 2


def _context(gun: Gun, role: RoleName) -> str:
    return f"trust-key:{gun}:{role}"
