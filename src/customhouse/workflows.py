"""The port to the durable engine (DBOS): start a workflow once, resume it after a crash, sweep dead executors.

1. A workflow has an id and one text argument; starting the same id twice starts it once.
2. A step's result is recorded; after a crash the workflow runs again and recorded steps are not repeated. The
   step that was cut runs again, so every step is idempotent.
3. Secrets never enter: arguments and results are ids and state names.
4. Nothing waits for a person in here: a submission at rest is a row, and a decision starts a new workflow
   (docs/adr/0002). A workflow that waited would hold a thread and a place in the queue.
5. Each process has an executor id of its own and a heartbeat; survivors take over the work of the dead. Work of our
   own that nobody executes (its thread died of something unforeseen) is queued again.
6. What others cannot answer (`Undetermined`) is asked a few times, then the step gives up.
7. A full disk, ours or the engine's, makes a step wait until there is room; it never makes a submission fail.
"""

import logging
import os
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from dbos import DBOS, DBOSClient, DBOSConfig, SetWorkflowID, _dbos
from sqlalchemy import Column, Engine, String, Table, create_engine, delete, event, insert, select, update
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from customhouse.db import Database, UtcDateTime, metadata
from customhouse.errors import StorageFull, Unavailable, Undetermined
from customhouse.faults import point

Step = Callable[[str, Callable[[str], str], str], str]
"""`step(name, function, argument)` runs `function(argument)` durably and gives its result."""
Body = Callable[[Step, str], str]

QUEUE = "submissions"
VERSION = "1"  # pinned: the engine's own choice, a hash of the source, would strand work over an upgrade
BEAT_SECONDS, DEAD_SECONDS = 2, 8
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 15.0
STUBBORN = 250  # attempts, about an hour, at what may pass by itself but need not
POLITE = 5  # attempts at what others do not answer, over about 8 seconds beside the time that they take
_FULL = "database or disk is full"
_log = logging.getLogger("customhouse.workflows")

executor_beat = Table(
    "executor_beat",
    metadata,
    Column("executor", String(120), primary_key=True),
    Column("beat", UtcDateTime, nullable=False),
)


class Stopping(BaseException):
    """The process ends: a step that waits for better times gives up unrecorded, and the next process repeats it."""


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
        self._idle: set[str] = set()
        self._url, self._launched = url, False
        self._client: DBOSClient | None = None

    def define(self, name: str, body: Body) -> None:
        """Give the engine a workflow by name; before `launch`."""

        def run(argument: str) -> str:
            if self._stopping.is_set():
                raise Stopping
            return body(self._step, argument)

        run.__qualname__ = f"workflow_{name}"
        self._bodies[name] = DBOS.workflow(name=name, max_recovery_attempts=None)(run)

    def launch(self) -> None:
        """Start executing: our own work at once, the work of the dead as soon as they are known to be.

        Raises StorageFull where the engine cannot write."""
        try:
            DBOS.launch()
            DBOS.register_queue(
                QUEUE, worker_concurrency=self._workers, polling_interval_sec=0.15, on_conflict="always_update"
            )
        except OperationalError as error:
            if _FULL in str(error):
                hint = "Free disk space, then start again; nothing is lost."
                raise StorageFull("there is no room left for the workflow engine", hint=hint) from error
            raise
        self._launched = True
        self.beat()
        self.sweep()

    def start(self, name: str, workflow_id: str, argument: str) -> None:
        """Enqueue; nothing happens if this id was started before."""
        point("workflow.start")
        with SetWorkflowID(workflow_id):
            DBOS.enqueue_workflow(QUEUE, self._bodies[name], argument)
        point("workflow.started")

    def state(self, workflow_id: str) -> str | None:
        """None when unknown, else "live", "done" or "broken"."""
        status = self._status(workflow_id)
        if status is None:
            return None
        if status.status in ("PENDING", "ENQUEUED", "DELAYED"):
            return "live"
        return "done" if status.status == "SUCCESS" else "broken"

    def _status(self, workflow_id: str) -> Any:
        if self._launched:
            return DBOS.get_workflow_status(workflow_id)
        if self._client is None:  # a process that only serves
            self._client = DBOSClient(
                system_database_url=self._url, system_database_engine=self._engine, serializer=_serializer()
            )
        return next(iter(self._client.list_workflows(workflow_ids=[workflow_id])), None)

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
        self._requeue_stranded()
        return dead

    def close(self, seconds: int) -> None:
        """Take no new work and wait so long for steps that run; what is cut is resumed at the next start."""
        self._stopping.set()
        deadline = time.monotonic() + seconds
        while self._executing() and time.monotonic() < deadline:
            time.sleep(0.05)
        if self._client is not None:
            self._client.destroy()
        DBOS.destroy()
        if self._engine is not None:
            self._engine.dispose()

    def _executing(self) -> set[str]:
        """Ids of the workflows that this process executes now, until their outcome is recorded."""
        instance = _dbos._dbos_global_instance
        return set(instance._active_workflows_set.activeList()) if instance is not None else set()

    def _requeue_stranded(self) -> None:
        """Ours by the engine's tables, and executed by nobody at two looks: its thread died without an outcome."""
        pending = DBOS.list_workflows(status="PENDING", executor_id=self.executor, load_input=False, load_output=False)
        idle = {item.workflow_id for item in pending} - self._executing()
        for workflow_id in sorted(idle & self._idle):
            _log.warning("workflow %s was left by its thread; it goes on", workflow_id)
            DBOS.resume_workflow(workflow_id, queue_name=QUEUE)
        self._idle = idle - self._idle

    def _step(self, name: str, function: Callable[[str], str], argument: str) -> str:
        def persevere(argument: str) -> str:
            pause, attempts = PAUSE_SECONDS, 0
            while True:
                try:
                    result = function(argument)
                    break
                except (StorageFull, Unavailable, Undetermined, OSError, SQLAlchemyError) as error:
                    attempts += 1
                    most = POLITE if isinstance(error, Undetermined) else STUBBORN
                    if not isinstance(error, StorageFull | Unavailable) and attempts >= most:
                        raise
                    _log.warning("step %s of %s waits %.1f s: %s", name, argument, pause, error)
                    if self._stopping.wait(pause):
                        raise Stopping from error
                    pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            point("workflow.step.done")
            return result

        result = DBOS.run_step({"name": name}, persevere, argument)
        point("workflow.step.recorded")
        return result


def _serializer() -> Any:
    from dbos import DBOSPortableJSONSerializer

    return DBOSPortableJSONSerializer()


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": 30, "isolation_level": "IMMEDIATE"})

    def prepare(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "handle_error", _full_is_busy)
    return engine


def _full_is_busy(context: ExceptionContext) -> None:
    """The engine waits for a locked database and gives up on a full one; to us both will pass."""
    said = str(context.original_exception)
    if _FULL in said or "disk I/O error" in said:
        _log.warning("there is no room left for the workflow engine: %s", said)
        busy = sqlite3.OperationalError(f"database is locked, for {said}")
        raise OperationalError(context.statement, None, busy) from context.original_exception
