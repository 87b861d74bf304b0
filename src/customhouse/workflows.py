"""The port to the durable engine (DBOS): start a workflow once, resume it after a crash, sweep dead executors.

1. A workflow has an id and one text argument; starting the same id twice starts it once.
2. A step's result is recorded; after a crash the workflow runs again and recorded steps are not repeated. The
   step that was cut runs again, so every step is idempotent.
3. Secrets never enter: arguments and results are ids and state names.
4. Nothing waits for a person in here: a submission at rest is a row, and a decision starts a new workflow
   (docs/adr/0002). A workflow that waited would hold a thread and a place in the queue.
5. Each process has an executor id of its own and a heartbeat; survivors take over the work of the dead.
"""

import os
import socket
import threading
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from dbos import DBOS, DBOSConfig, SetWorkflowID
from sqlalchemy import Column, Engine, String, Table, create_engine, delete, event, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from customhouse.db import Database, UtcDateTime, metadata
from customhouse.errors import StorageFull, Unavailable

Step = Callable[[str, Callable[[str], str], str], str]
"""`step(name, function, argument)` runs `function(argument)` durably and gives its result."""
Body = Callable[[Step, str], str]

QUEUE = "submissions"
VERSION = "1"  # pinned: the engine's own choice, a hash of the source, would strand work over an upgrade
BEAT_SECONDS, DEAD_SECONDS = 2, 8

executor_beat = Table(
    "executor_beat",
    metadata,
    Column("executor", String(120), primary_key=True),
    Column("beat", UtcDateTime, nullable=False),
)


class Workflows:
    """The engine of one process. `define` the bodies, `launch`, then `start` work; `close` at the end."""

    def __init__(
        self, database: Database, url: str, *, clock: Callable[[], datetime], workers: int, sole: bool
    ) -> None:
        """`sole`: no other process can be alive on this hub, so every other executor found is dead."""
        self.executor = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._database, self._clock, self._workers, self._sole = database, clock, workers, sole
        self._engine = _sqlite_engine(url) if url.startswith("sqlite") else None
        config = DBOSConfig(
            name="customhouse",
            system_database_url=url,
            executor_id=self.executor,
            application_version=VERSION,
            log_level="ERROR",
            serializer=_serializer(),
        )
        if self._engine is not None:
            config["system_database_engine"] = self._engine
        DBOS.destroy(destroy_registry=True)
        DBOS(config=config)
        self._bodies: dict[str, Callable[[str], str]] = {}
        self._stopping = threading.Event()

    def define(self, name: str, body: Body) -> None:
        """Give the engine a workflow by name; before `launch`."""

        def run(argument: str) -> str:
            return body(_step, argument)

        run.__qualname__ = f"workflow_{name}"
        self._bodies[name] = DBOS.workflow(name=name, max_recovery_attempts=None)(run)

    def launch(self) -> None:
        """Start executing: our own work at once, the work of the dead as soon as they are known to be."""
        DBOS.launch()
        DBOS.register_queue(
            QUEUE, worker_concurrency=self._workers, polling_interval_sec=0.15, on_conflict="always_update"
        )
        self.beat()
        self.sweep()

    def start(self, name: str, workflow_id: str, argument: str) -> None:
        """Enqueue; nothing happens if this id was started before."""
        with SetWorkflowID(workflow_id):
            DBOS.enqueue_workflow(QUEUE, self._bodies[name], argument)

    def state(self, workflow_id: str) -> str | None:
        """None when unknown, else "live", "done" or "broken"."""
        status = DBOS.get_workflow_status(workflow_id)
        if status is None:
            return None
        if status.status in ("PENDING", "ENQUEUED", "DELAYED"):
            return "live"
        return "done" if status.status == "SUCCESS" else "broken"

    def beat(self) -> None:
        """Say that this process is alive."""
        now = self._clock()
        with self._database.write() as tx:
            changed = tx.execute(
                update(executor_beat).where(executor_beat.c.executor == self.executor).values(beat=now)
            ).rowcount
            if not changed:
                tx.execute(insert(executor_beat).values(executor=self.executor, beat=now))

    def sweep(self) -> list[str]:
        """Take over the workflows of executors that stopped beating; returns those executors."""
        limit = self._clock() - timedelta(seconds=DEAD_SECONDS)
        others = select(executor_beat.c.executor).where(executor_beat.c.executor != self.executor)
        if not self._sole:
            others = others.where(executor_beat.c.beat < limit)
        with self._database.read() as tx:
            dead = [row.executor for row in tx.execute(others)]
        if dead:
            # Recover first, forget after: dying between the two repeats the recovery, which changes nothing.
            DBOS._recover_pending_workflows(dead)
            with self._database.write() as tx:
                tx.execute(delete(executor_beat).where(executor_beat.c.executor.in_(dead)))
        return dead

    def close(self, seconds: int) -> None:
        """Take no new work and wait so long for steps that run; what is cut is resumed at the next start."""
        DBOS.destroy(workflow_completion_timeout_sec=seconds)
        if self._engine is not None:
            self._engine.dispose()


def _step(name: str, function: Callable[[str], str], argument: str) -> str:
    return DBOS.run_step(
        {
            "name": name,
            "retries_allowed": True,
            "max_attempts": 14,  # with the pause doubling: about an hour, a disk to be freed, a database to come back
            "interval_seconds": 0.5,
            "backoff_rate": 2.0,
            "should_retry": _passing,
        },
        function,
        argument,
    )


def _passing(error: BaseException) -> bool:
    """What may pass by itself is tried again; a defect or a refusal would be the same each time."""
    return isinstance(error, Unavailable | StorageFull | OSError | SQLAlchemyError)


def _serializer() -> Any:
    from dbos import DBOSPortableJSONSerializer

    return DBOSPortableJSONSerializer()


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": 30, "isolation_level": "IMMEDIATE"})

    def prepare(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", prepare)
    return engine
