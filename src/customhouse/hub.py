"""The one wiring place: settings in, a hub out. Nothing else knows how the rooms are put together.

1. First start makes what is missing, each file whole or not at all: master key, hub keys, TLS, administrator.
2. One thread keeps the hub moving: heartbeat, sweep of dead executors, workflows for submissions that have none,
   renewal of timestamps and of signers' targets, end of quarantines, sweeps of content. What it does is idempotent,
   so any number of hubs may do it; when one duty fails the others are done all the same. How often is counted by a
   clock that nobody can set.
3. `close` stops within the seconds it is given; what is cut goes on at the next start.
"""

import fcntl
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from customhouse import faults, migrations, pipeline, tls
from customhouse.accounts.authorizer import Authorizer
from customhouse.accounts.clients import ClientWatch
from customhouse.accounts.passwords import Passwords
from customhouse.accounts.people import HUB
from customhouse.accounts.service import AccountsService
from customhouse.accounts.store import AccountsStore
from customhouse.accounts.tokens import TokenKey, TokenSigner
from customhouse.advisories.updates import Plan, open_advisories
from customhouse.audit import Audit
from customhouse.blobs.choice import open_blobs
from customhouse.certification.check import discover
from customhouse.certification.examination import Examiner
from customhouse.certification.malware.scanners import Scanners
from customhouse.certification.policy import Policy
from customhouse.certification.rehearsal import Rehearsal
from customhouse.certification.service import CertificationService
from customhouse.certification.steps import Steps
from customhouse.certification.store import CertificationStore
from customhouse.db import Database
from customhouse.enrolment.service import EnrolmentService
from customhouse.enrolment.signers import SignersService
from customhouse.enrolment.store import EnrolmentStore
from customhouse.errors import Conflict, CustomhouseError, Invalid, NotFound
from customhouse.hub_files import HubFiles, clear_spool, host_id
from customhouse.hub_keys import KeyFolder
from customhouse.incoming import Remote
from customhouse.keys import PublicKey
from customhouse.pkcs11 import Uri
from customhouse.processes import Place
from customhouse.publication.service import PublicationService
from customhouse.registry.collector import Pace
from customhouse.registry.service import RegistryService
from customhouse.registry.store import RegistryStore
from customhouse.registry.sweep import due_shards
from customhouse.replication.runner import Runner as Mirroring
from customhouse.replication.service import ReplicationService
from customhouse.replication.store import ReplicationStore
from customhouse.repositories.service import RepositoriesService
from customhouse.review.service import ReviewService, waivers_of
from customhouse.review.store import ReviewStore
from customhouse.sandbox.runner import AbsentEngine, Runner
from customhouse.scanning.contained import kept_in
from customhouse.settings import Settings, system_clock
from customhouse.signing import Vault
from customhouse.sources.service import SourcesService
from customhouse.sources.store import SourcesStore
from customhouse.trust.service import TrustService
from customhouse.trust.store import TrustStore
from customhouse.wholefile import write_whole
from customhouse.workflows import Workflows

IMPORTING = "importing"  # a file in the data directory, while an import is not finished
TICK_SECONDS = 2.0
RENEW_SECONDS, SWEEP_SECONDS, RETAIN_SECONDS = 60.0, 600.0, 2.0
SPOOL_SECONDS = 86_400.0
SWEEP_PACE = Pace(seconds=1.0, rest=8.0, batch=100)
_log = logging.getLogger("customhouse.hub")


class Hub:
    """Every room of one hub, put together. `start` begins the work, `close` ends it."""

    def __init__(
        self, settings: Settings, clock: Callable[[], datetime] = system_clock, *, place: Place | None = None
    ) -> None:
        """`place`: this is one of several processes, and their parent holds the data directory."""
        self.settings, self.clock, self._place = settings, clock, place
        self._duties = settings.role == "all" and (place is None or place.first)
        faults.arm(settings.fault)
        self._lock = hold_whole(settings.data) if place is None else None
        self.database = Database(settings.database_url)
        migrations.upgrade(self.database)
        self._files = HubFiles(self.database, settings.data, clock)
        self.vault = Vault(master_key(settings, known=self._files.any()))
        self._awake, self._stopping = threading.Event(), threading.Event()
        self._unswept = False  # is a sweep under way?
        self._looked: datetime | None = None
        self._thread: threading.Thread | None = None
        host = settings.host

        self.audit = Audit(self.database)
        self.keys = KeyFolder(settings.data / "keys", self.vault, host)
        with self._files.alike(self.vault):
            hub_keys = self.keys.load(settings.hub_name, clock())
            signer = TokenSigner(TokenKey.parse(self.keys.other_pem("token")), settings.url)
            self.tls = _certificates(settings, clock())
        self.accounts = AccountsService(
            AccountsStore(self.database), self.audit, signer, Passwords(), clock, settings.anonymous_pull
        )
        self.authorizer = Authorizer(signer, f"{settings.url}/token", host, clock)
        self.clients = ClientWatch(host, settings.unverifying_clients)
        self.blobs = open_blobs(settings.data / "blobs", settings)
        self._files.same_blobs(self.blobs, self.keys.keys("root")[0].signer.public.canonical_id)
        self.registry = RegistryService(RegistryStore(self.database), self.blobs, self.audit, clock)
        self.trust = TrustService(TrustStore(self.database), self.vault, self.audit, clock, listeners=(self,))
        self.sources = SourcesService(
            SourcesStore(self.database), self.vault, self.audit, clock,
            publisher_exists=self._publisher_exists, host=host,
        )
        remote = Remote(self.sources, self.registry, settings.source_gigabytes * 10**9)
        self.enrolment = EnrolmentService(
            EnrolmentStore(self.database), self.trust, self._publisher_exists, self.audit, clock, host, remote.fetch
        )
        self.signers = SignersService(
            EnrolmentStore(self.database), self.enrolment, self.trust, self.vault, self.audit, clock, host
        )
        self.enrolment.before_verify = self.signers.align
        self.advisories, self.advisory_updates = open_advisories(
            self.database, self.audit, clock, Plan.of(settings), settings.data / "spool"
        )
        checks = Scanners.of(str(settings.malware_rules or ""), settings.clamd).into(discover())
        self.policy = Policy.load(settings.policy).bind(checks)
        self.runner, self.scanner = _runner(settings, clock), kept_in(
            settings.analysis_cache or settings.data / "analysis", settings.analysis_cache_gigabytes
        )
        review_store, certification_store = ReviewStore(self.database), CertificationStore(self.database)
        self.certification = CertificationService(
            certification_store, audit=self.audit, clock=clock, host=host, wake=self.wake,
            offered=self.enrolment.offered,
        )
        self.repositories = RepositoriesService(
            self.registry, self.certification, self.audit, clock, settings.anonymous_pull, self.accounts.publisher
        )
        self.steps = Steps(
            certification_store,
            submissions=self.certification,
            registry=self.registry,
            enrolment=self.enrolment,
            examiner=Examiner(
                checks, self.policy, lambda found: self.advisories.match(found, self.policy.advisories_max_age),
                self.runner, clock, self.scanner,
            ),
            waivers=waivers_of(review_store, clock),
            bring=remote.bring,
            audit=self.audit,
            clock=clock,
        )
        self.enrolment.on_enrolled = self.certification.enrolled
        self.enrolment.after_enrolled = self.wake
        self.review = ReviewService(
            review_store, self.certification, self.audit, clock, self.wake, self.policy.required
        )
        self.rehearsal = Rehearsal(
            certification_store, self.policy, checks, waivers_of(review_store, clock), host, clock
        )
        self.publication = PublicationService(
            certification=self.certification, review=self.review, enrolment=self.enrolment, registry=self.registry,
            trust=self.trust, keys=hub_keys, audit=self.audit, clock=clock,
        )  # fmt: skip
        self.publication.before_signing = self._follow_keys
        self.replication = ReplicationService(
            ReplicationStore(self.database), self.registry, self.vault, self.audit, clock, host=host, wake=self.wake
        )
        self.mirroring = Mirroring(self.replication, self.registry, self.publication, self.vault, self.audit, clock)
        self.workflows = Workflows(
            self.database,
            settings.workflow_database_url,
            clock=clock,
            workers=settings.workers,
            sole=self.database.dialect == "sqlite",
        )
        pipeline.define(self.workflows, self.steps, self.publication)

    # The hub is the trust server's listener, because certification is made after it.

    def accepted(self, tx: object, update: object) -> None:
        """A trust update, inside its transaction."""
        self.enrolment.accepted(tx, update)  # type: ignore[arg-type]
        self.certification.accepted(tx, update)  # type: ignore[arg-type]

    def committed(self, update: object) -> None:
        """A trust update, after its commit."""
        self.certification.committed(update)  # type: ignore[arg-type]

    def start(self) -> None:
        """First administrator, leftovers of a crash, then the workers. Of several processes the first does that."""
        self.accounts.others_count = self._place is not None or self.database.dialect == "postgresql"
        if not self._duties:
            return
        if self._place:
            self._place.on_wake(self._awake.set)
        self._add_first_administrator()
        # Uploads that a crash cut; where other processes may be receiving some, those of yesterday.
        before = self.clock().timestamp() - SPOOL_SECONDS if self._place else math.inf
        clear_spool(self.settings.data / "spool", before)
        try:
            self.runner.cleanup()
        except CustomhouseError as error:  # no engine now: the checks say so, submission by submission
            _log.warning("the container engine does not answer: %s", error.message)
        self.workflows.launch()
        self._thread = threading.Thread(target=self._keep_moving, name="hub", daemon=True)
        self._thread.start()
        self.wake()

    def wake(self) -> None:
        """There may be a submission without a workflow: look now."""
        if self._place and not self._duties:
            self._place.wake()
        self._awake.set()

    def rotate_key(self, role: str, device: Uri | None = None) -> None:
        """Make the hub's next key of a role, or take it from a device; the next start signs with it."""
        now = self.clock()

        def announce(number: int, key: PublicKey) -> None:
            detail = {"key": key.canonical_id, "number": number}
            with self.database.write() as tx:
                self.audit.append(tx, actor="hub", action="hub-key.rotate", subject=role, detail=detail, now=now)

        self.keys.rotate(role, now, announce, device)
        with self._files.alike(self.vault):
            pass  # the other hosts take it from there, before they sign again

    def _follow_keys(self) -> bool:
        """Sign with what another host rotated; was there something? Raises OtherHubsFile."""
        if not self._files.changed():
            return False
        with self._files.alike(self.vault):
            self.publication.use(self.keys.load(self.settings.hub_name, self.clock()))
        return True

    def _align_with_others(self) -> None:
        if self._follow_keys():
            _log.warning("the hub's keys were rotated on another host; this one signs with the new ones")
            self.publication.align_all(self.clock())

    def close(self, seconds: int) -> None:
        """Stop taking work; steps that run get so many seconds."""
        self._stopping.set()
        self._awake.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
        self.mirroring.close(1)
        self.advisory_updates.close(1)
        self.workflows.close(seconds)
        self.scanner.close()
        self.blobs.close()
        self.database.close()
        if self._lock:
            self._lock.close()

    def _add_first_administrator(self) -> None:
        with self.accounts.store.read() as tx:
            if self.accounts.store.administrators(tx):
                return  # a password file that the operator removed stays away
        if not self.accounts.add_administrator_if_none(_administrator_password(self.settings)):
            # Another host was first, and has the right one.
            (self.settings.data / "admin-password").unlink(missing_ok=True)

    def _publisher_exists(self, name: str) -> bool:
        try:
            self.accounts.publisher(HUB, name)
        except NotFound:
            return False
        return True

    def _keep_moving(self) -> None:
        self._do(lambda: self.publication.align_all(self.clock()))
        swept = time.monotonic()
        renewed = swept - RENEW_SECONDS  # at once: the hub may have slept for longer than a timestamp lives
        while not self._stopping.is_set():
            self._awake.wait(TICK_SECONDS)
            self._awake.clear()
            if self._stopping.is_set():
                return
            self._do(self.workflows.beat)
            self._do(self.workflows.sweep)
            if time.monotonic() - renewed >= RENEW_SECONDS:
                renewed = time.monotonic()
                self._do(lambda: self.trust.renew_all(self.clock()))
                self._do(self.signers.align_all)
            self._do(self._align_with_others)
            self._do(lambda: pipeline.start_waiting(self.workflows, self.certification))
            self._do(self.mirroring.start_due)
            self._do(self.advisory_updates.start_due)
            if time.monotonic() - swept >= SWEEP_SECONDS:
                swept = time.monotonic()
                self._do(self._let_go)
                self._do(lambda: self.repositories.retain(RETAIN_SECONDS))
                self._do(lambda: self.publication.renew_all(self.clock()))
                self._unswept = True
            if self._unswept:
                self._do(self._sweep)

    def _sweep(self) -> None:
        """A second's work at most; what is left is gone on with at the next turn, after the other duties."""
        self._unswept = False  # what fails is tried again by the clock, not without pause
        now = self.clock()
        swept = self.registry.sweep(now, shards=due_shards(self._looked, now), pace=SWEEP_PACE)
        self._unswept = swept.more
        if not swept.more:
            self._looked = now

    def _let_go(self) -> None:
        self.steps.release(self.clock() - timedelta(days=self.settings.quarantine_days))

    def _do(self, duty: Callable[[], object]) -> None:
        try:
            duty()
        except CustomhouseError as error:
            _log.warning("%s %s", error.message, error.hint)
        except Exception:  # the thread must outlive whatever one turn meets; the next turn tries again
            _log.exception("a duty of the hub failed")


def hold_data(data: Path) -> BinaryIO:
    """One process per data directory: two on one SQLite file would each take the other's work."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = (data / "lock").open("ab")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise Conflict(
            f"another hub is running on {data}", hint="Stop it first, or give each its own --data directory."
        ) from error
    return held


def hold_whole(data: Path) -> BinaryIO:
    """Hold the data of a hub that is to run. Raises Conflict."""
    held = hold_data(data)
    if (data / IMPORTING).exists():
        held.close()
        raise Conflict("an import into this data was not finished", hint="Run `customhouse storage import` again.")
    return held


def master_key(settings: Settings, *, known: bool = False) -> bytes:
    """What seals the hub's secrets; made at first start, unless the database has `known` keys. Raises Invalid."""
    path = settings.master_key_file or settings.data / "master-key"
    if settings.master_key_file is None and not path.exists():
        if known:
            raise Conflict(
                f"this database belongs to a hub, and its master key is not at {path}",
                hint="Copy it from the host that the hub was first started on, or name it: master_key_file.",
            )
        write_whole(path, secrets.token_hex(32).encode())
    try:
        return bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise Invalid(f"{path} does not hold a master key", hint="It holds 64 hexadecimal digits.") from error


def _runner(settings: Settings, clock: Callable[[], datetime]) -> Runner:
    """The container engine by setting; several hubs may share one, so each marks what is its own."""
    if settings.engine == "none":
        return AbsentEngine()
    url = settings.engine
    if url == "auto":
        if not Path("/var/run/docker.sock").exists():
            return AbsentEngine("there is no container engine on this machine")
        url = "unix:///var/run/docker.sock"
    mark = host_id(settings.data)  # hosts of one hub may have their data at the same path
    from customhouse.sandbox.docker_engine import DockerEngine  # its library is slow to load, and not always needed

    return DockerEngine(clock, url=url, hub=f"customhouse-{mark}")


def _administrator_password(settings: Settings) -> str:
    """Given by the operator, or made once and left in a file that only he can read."""
    if settings.admin_password:
        return settings.admin_password
    path = settings.data / "admin-password"
    if not path.exists():
        write_whole(path, secrets.token_urlsafe(18).encode() + b"\n")
    return path.read_text().strip()


def _certificates(settings: Settings, now: datetime) -> tls.Certificates:
    """The operator's own, or those of the local authority."""
    if settings.tls_certificate and settings.tls_key:
        return tls.Certificates(None, settings.tls_certificate, settings.tls_key)
    return tls.ensure(settings.data / "tls", settings.host_name, now)
