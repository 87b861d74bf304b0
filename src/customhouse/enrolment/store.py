"""Rows of enrolment: whose root keys we accept, who signs where the hub keeps the root, and what we have ever seen of
a staging GUN (invariant T4)."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Connection, LargeBinary, String, Table, Text, delete, insert, select, update

from customhouse.db import Store, UtcDateTime, metadata
from customhouse.enrolment.delegation import EnrolledSigner
from customhouse.keys import PublicKey

publisher_root = Table(
    "publisher_root",
    metadata,
    Column("publisher", String(64), primary_key=True),
    Column("key_id", String(64), primary_key=True),  # canonical: of the bare public key
    Column("pem", Text, nullable=False),  # empty where the key was enrolled by its id, which is a hash of it
    Column("source", Text, nullable=False),
    Column("enrolled_by", String(64), nullable=False),
    Column("enrolled", UtcDateTime, nullable=False),
)

publisher_key = Table(
    "publisher_key",
    metadata,
    Column("publisher", String(64), primary_key=True),
    Column("role", String(20), primary_key=True),  # root or targets, kept by the hub
    Column("keytype", String(20), nullable=False),
    Column("public", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created", UtcDateTime, nullable=False),
)

publisher_signer = Table(
    "publisher_signer",
    metadata,
    Column("publisher", String(64), primary_key=True),
    Column("key_id", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("keytype", String(20), nullable=False),
    Column("public", LargeBinary, nullable=False),
    Column("enrolled_by", String(64), nullable=False),
    Column("enrolled", UtcDateTime, nullable=False),
)

seen_gun = Table(
    "seen_gun",
    metadata,
    Column("gun", String(512), primary_key=True),  # of another server: PUBLISHER@GUN
    Column("root", LargeBinary, nullable=False),  # the newest root that verified: the anchor of the next look
    Column("versions", JSON, nullable=False),  # role (delegations: role@keys) -> highest version that verified
    Column("updated", UtcDateTime, nullable=False),
)


@dataclass(frozen=True)
class KeptKey:
    """A root or targets key that the hub keeps for a publisher; `sealed` opens in the hub's vault only."""

    role: str
    public: PublicKey
    sealed: bytes


class EnrolmentStore(Store):
    """Every method that takes `tx` works inside the caller's transaction."""

    def lock_roots(self, tx: Connection, publisher: str) -> None:
        """Nobody else adds a root of this publisher before the transaction ends."""
        self._database.lock(tx, f"roots:{publisher}")

    def roots(self, tx: Connection, publisher: str) -> list[dict[str, Any]]:
        """The enrolled root keys of a publisher."""
        rows = tx.execute(select(publisher_root).where(publisher_root.c.publisher == publisher))
        return [dict(row._mapping) for row in rows]

    def add_root(
        self, tx: Connection, publisher: str, key_id: str, *, pem: str, source: str, by: str, now: datetime
    ) -> bool:
        """Enrol one key; False if it was enrolled already."""
        known = select(publisher_root.c.key_id).where(
            publisher_root.c.publisher == publisher, publisher_root.c.key_id == key_id
        )
        if tx.execute(known).first():
            return False
        tx.execute(
            insert(publisher_root).values(
                publisher=publisher, key_id=key_id, pem=pem, source=source, enrolled_by=by, enrolled=now
            )
        )
        return True

    def remove_root(self, tx: Connection, publisher: str, key_id: str) -> bool:
        """End the enrolment of a key; False if it was not enrolled."""
        return (
            tx.execute(
                delete(publisher_root).where(
                    publisher_root.c.publisher == publisher, publisher_root.c.key_id == key_id
                )
            ).rowcount
            == 1
        )

    def seen(self, tx: Connection, gun: str) -> tuple[bytes, dict[str, int]] | None:
        """(newest verified root, role -> highest verified version), or None for a GUN never verified."""
        row = tx.execute(select(seen_gun).where(seen_gun.c.gun == gun)).one_or_none()
        return (bytes(row.root), dict(row.versions)) if row else None

    def remember(
        self, tx: Connection, gun: str, root: bytes, versions: dict[str, int], now: datetime,
        *, forgotten: Collection[str] = (),
    ) -> None:
        """Raise what was seen; versions never go down, and what is not read now keeps its own.

        `forgotten` are roles that ended. A look that is older than the memory says nothing of delegations: those that
        it saw may have ended since.
        """
        self._database.lock(tx, f"seen:{gun}")
        before = self.seen(tx, gun)
        if before is None:
            tx.execute(insert(seen_gun).values(gun=gun, root=root, versions=versions, updated=now))
            return
        if versions.get("timestamp", 0) < before[1].get("timestamp", 0):
            versions = {role: version for role, version in versions.items() if "@" not in role}
        known = {role: version for role, version in before[1].items() if role not in forgotten}
        merged = {role: max(version, known.get(role, 0)) for role, version in versions.items()}
        kept = root if versions.get("root", 0) >= before[1].get("root", 0) else before[0]
        values = {"root": kept, "versions": {**known, **merged}, "updated": now}
        tx.execute(update(seen_gun).where(seen_gun.c.gun == gun).values(values))

    def forget(self, tx: Connection, gun: str) -> bool:
        """Nothing was ever seen of this GUN; False if nothing was."""
        return tx.execute(delete(seen_gun).where(seen_gun.c.gun == gun)).rowcount == 1

    def kept(self, tx: Connection, publisher: str) -> list[KeptKey]:
        """The keys that the hub keeps for a publisher: none, or one for root and one for targets."""
        rows = tx.execute(select(publisher_key).where(publisher_key.c.publisher == publisher))
        return [KeptKey(row.role, PublicKey(row.keytype, row.public), row.sealed) for row in rows]

    def keepers(self, tx: Connection) -> frozenset[str]:
        """Publishers for whom the hub keeps keys."""
        return frozenset(tx.execute(select(publisher_key.c.publisher).distinct()).scalars())

    def keep(self, tx: Connection, publisher: str, key: KeptKey, now: datetime) -> None:
        """Store a key for good."""
        tx.execute(
            insert(publisher_key).values(
                publisher=publisher, role=key.role, keytype=key.public.keytype, public=key.public.public,
                sealed=key.sealed, created=now,
            )  # fmt: skip
        )

    def signers(self, tx: Connection, publisher: str) -> list[EnrolledSigner]:
        """The signers of a publisher, by name."""
        rows = tx.execute(
            select(publisher_signer)
            .where(publisher_signer.c.publisher == publisher)
            .order_by(publisher_signer.c.name, publisher_signer.c.key_id)
        )
        return [EnrolledSigner(row.name, PublicKey(row.keytype, row.public)) for row in rows]

    def add_signer(self, tx: Connection, publisher: str, signer: EnrolledSigner, *, by: str, now: datetime) -> None:
        """Enrol a key of a signer."""
        tx.execute(
            insert(publisher_signer).values(
                publisher=publisher, key_id=signer.key.key_id, name=signer.name, keytype=signer.key.keytype,
                public=signer.key.public, enrolled_by=by, enrolled=now,
            )  # fmt: skip
        )

    def remove_signer(self, tx: Connection, publisher: str, key_id: str) -> None:
        """End the enrolment of a signer's key."""
        tx.execute(
            delete(publisher_signer).where(
                publisher_signer.c.publisher == publisher, publisher_signer.c.key_id == key_id
            )
        )
