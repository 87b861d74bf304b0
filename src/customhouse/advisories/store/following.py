"""How far a mirror was followed, and who follows it now: one row is the lease."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from customhouse.advisories.feed import in_batches
from customhouse.advisories.store.tables import advisory, advisory_holding, advisory_update
from customhouse.db import Store

CHUNK = 500


class Following(Store):
    """Every method works inside the caller's transaction."""

    def begin(self, tx: Connection, mirror: str, now: datetime, lease: timedelta) -> datetime | None:
        """Take the lease; when another holds it, until when."""
        self._database.lock(tx, "advisories.update")
        held: datetime | None = tx.execute(select(advisory_update.c.held_until)).scalar()
        if held is not None and held > now:
            return held
        values = {"mirror": mirror, "began": now, "held_until": now + lease, "outcome": None}
        if not tx.execute(update(advisory_update).values(values)).rowcount:
            tx.execute(insert(advisory_update).values(id=1, **values))
        return None

    def keep(self, tx: Connection, until: datetime) -> None:
        """Hold the lease for longer."""
        tx.execute(update(advisory_update).values(held_until=until))

    def end(self, tx: Connection, finished: datetime | None, outcome: str) -> None:
        """Give the lease up; `finished` if all of it was brought."""
        values: dict[str, object] = {"held_until": None, "outcome": outcome}
        if finished is not None:
            values["finished"] = finished
        tx.execute(update(advisory_update).values(values))

    def state(self, tx: Connection) -> dict[str, object] | None:
        """The last update: mirror, began, held_until, finished, outcome."""
        row = tx.execute(select(advisory_update)).mappings().one_or_none()
        return dict(row) if row else None

    def modified(self, tx: Connection, names: Collection[str]) -> dict[str, datetime]:
        """When the records of these names were modified, of those that are held."""
        found: dict[str, datetime] = {}
        for part in in_batches(sorted(names), CHUNK):
            rows = tx.execute(select(advisory.c.id, advisory.c.modified).where(advisory.c.id.in_(part)))
            found.update((row.id, row.modified) for row in rows)
        return found

    def note(self, tx: Connection, names: Collection[str], cursor: datetime) -> None:
        """The source of these ecosystems was followed up to this moment."""
        for part in in_batches(sorted(names), CHUNK):
            tx.execute(update(advisory_holding).where(advisory_holding.c.ecosystem.in_(part)).values(cursor=cursor))
