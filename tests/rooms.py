"""Every room put together as the hub does it, without container engine and workflows: the steps are called."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from customhouse.accounts.people import Principal, Role
from customhouse.advisories.service import AdvisoriesService
from customhouse.advisories.store import AdvisoriesStore
from customhouse.audit import Audit, Entry
from customhouse.blobs.files import FileBlobs
from customhouse.certification.check import discover
from customhouse.certification.examination import Examiner
from customhouse.certification.policy import Policy
from customhouse.certification.rehearsal import Rehearsal
from customhouse.certification.service import CertificationService
from customhouse.certification.steps import Steps
from customhouse.certification.store import CertificationStore
from customhouse.certification.submission import ACTIVE, State, Submission
from customhouse.db import Database
from customhouse.enrolment.service import EnrolmentService
from customhouse.enrolment.signers import SignersService
from customhouse.enrolment.store import EnrolmentStore
from customhouse.hub import Remote
from customhouse.keys import PrivateKey
from customhouse.publication.plan import HubKeys
from customhouse.publication.service import PublicationService
from customhouse.registry.service import RegistryService
from customhouse.registry.store import RegistryStore
from customhouse.replication.runner import Runner as Mirroring
from customhouse.replication.service import ReplicationService
from customhouse.replication.store import ReplicationStore
from customhouse.review.service import ReviewService, waivers_of
from customhouse.review.store import ReviewStore
from customhouse.sandbox.runner import AbsentEngine, Runner
from customhouse.settings import Settings
from customhouse.signing import Vault
from customhouse.sources.service import SourcesService
from customhouse.sources.store import SourcesStore
from customhouse.testing.images import BuiltImage, File, minimal_server_image
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust.certificates import root_certificate
from customhouse.trust.names import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun
from customhouse.trust.service import TrustService
from customhouse.trust.store import TrustStore
from customhouse.trust.update import TrustUpdate
from customhouse.trust.verify import TrustedRepository, verify_repository
from tests.conftest import Clock

HOST = "localhost:5443"
WEB = "staging/acme/web"
CHECKS = discover()
POLICY = Policy.default()
STRICT = replace(POLICY, review=replace(POLICY.review, when="always", approvals=2))


def user(name: str, role: str, *publishers: str) -> Principal:
    return Principal(name, "user", Role(role), frozenset(publishers), owner=name)


PAULA = user("paula", "publisher", "acme")
OTTO = user("otto", "publisher", "other")
CARL, CORA, ADMIN = user("carl", "certifier"), user("cora", "certifier"), user("admin", "administrator")
MACHINE = Principal("acme-ci", "token", Role.PUBLISHER, frozenset({"acme"}), frozenset({"pull", "push"}), "paula")
READER = Principal("acme-read", "token", Role.PUBLISHER, frozenset({"acme"}), frozenset({"pull"}), "paula")


class Rooms:
    """The attributes have the hub's names."""

    def __init__(
        self, database: Database, folder: Path, clock: Clock, *, policy: Policy = POLICY, runner: Runner | None = None
    ) -> None:
        self.database, self.clock, self.settings = database, clock, Settings(data=folder)
        self.audit = Audit(database)
        self.blobs = FileBlobs(folder / "blobs")
        self.registry = RegistryService(RegistryStore(database), self.blobs, self.audit, clock)
        self.trust = TrustService(TrustStore(database), Vault(b"m" * 32), self.audit, clock, listeners=(self,))
        self.sources = SourcesService(
            SourcesStore(database), Vault(b"m" * 32), self.audit, clock, host=HOST,
            publisher_exists={"acme", "other"}.__contains__,
        )
        self.remote = Remote(self.sources, self.registry, 10**9)
        self.enrolment = EnrolmentService(
            EnrolmentStore(database), self.trust, {"acme", "other"}.__contains__, self.audit, clock, HOST,
            self.remote.fetch,
        )
        self.signers = SignersService(
            EnrolmentStore(database), self.enrolment, self.trust, Vault(b"m" * 32), self.audit, clock, HOST
        )
        self.enrolment.before_verify = self.signers.align
        self.advisories = AdvisoriesService(AdvisoriesStore(database), self.audit, clock)
        self.policy = policy.bind(CHECKS)
        self.woken = 0
        self.examiner = Examiner(CHECKS, self.policy, self.advisories.match, runner or AbsentEngine(), clock)
        self.store, review_store = CertificationStore(database), ReviewStore(database)
        self.certification = CertificationService(
            self.store, audit=self.audit, clock=clock, host=HOST, wake=self._wake, offered=self.enrolment.offered
        )
        self.steps = Steps(
            self.store, submissions=self.certification, registry=self.registry, enrolment=self.enrolment,
            examiner=self.examiner, waivers=waivers_of(review_store, clock), bring=self.remote.bring,
            audit=self.audit, clock=clock,
        )
        self.enrolment.on_enrolled = self.certification.enrolled
        self.enrolment.after_enrolled = self._wake
        self.review = ReviewService(
            review_store, self.certification, self.audit, clock, self._wake, self.policy.required
        )
        self.rehearsal = Rehearsal(self.store, self.policy, CHECKS, waivers_of(review_store, clock), HOST, clock)
        root = PrivateKey.generate()
        self.keys = HubKeys(
            root.with_certificate(root_certificate(root, f"{HOST}/*", clock())), PrivateKey.generate(),
            PrivateKey.generate(), "customhouse",
        )
        self.publication = PublicationService(
            certification=self.certification, review=self.review, enrolment=self.enrolment, registry=self.registry,
            trust=self.trust, keys=self.keys, audit=self.audit, clock=clock,
        )
        self.replication = ReplicationService(
            ReplicationStore(database), self.registry, Vault(b"m" * 32), self.audit, clock, host=HOST, wake=self._wake
        )
        self.mirroring = Mirroring(
            self.replication, self.registry, self.publication, Vault(b"m" * 32), self.audit, clock
        )
        self.publisher: dict[str, TrustSimulator] = {}

    def _wake(self) -> None:
        self.woken += 1

    def accepted(self, tx: Any, update: TrustUpdate) -> None:
        self.enrolment.accepted(tx, update)
        self.certification.accepted(tx, update)

    def committed(self, update: TrustUpdate) -> None:
        self.certification.committed(update)

    # ---- what a publisher does

    def push(self, built: BuiltImage, tag: str = "1", repository: str = WEB) -> None:
        with self.database.write() as tx:
            for digest, raw in built.blobs.items():
                if digest not in {member.digest for member in built.members}:
                    self.blobs.add(raw)
                    self.registry.attach_blob(tx, repository, digest, self.clock())
        for member in built.members:
            self.registry.push_manifest(repository, str(member.digest), member.manifest_raw, member.media_type)
        self.registry.push_manifest(repository, tag, built.manifest_raw, built.media_type)

    def simulator(self, repository: str = WEB) -> TrustSimulator:
        """The publisher's keys for a repository, with the server's snapshot and timestamp keys."""
        if repository not in self.publisher:
            made = TrustSimulator(f"{HOST}/{repository}", self.clock())
            made.use_server_keys({role: self.trust.key(made.gun, role, "paula") for role in (SNAPSHOT, TIMESTAMP)})
            self.publisher[repository] = made
        return self.publisher[repository]

    def sign(self, built: BuiltImage, tag: str = "1", repository: str = WEB, author: str = "paula") -> Submission:
        sim = self.simulator(repository)
        sim.bump(TARGETS)
        sim.sign_tag(tag, built.manifest_raw)
        self.trust.publish(sim.gun, sim.upload(), author)
        return self.certification.latest(ADMIN, repository, tag)

    def unsign(self, tag: str = "1", repository: str = WEB) -> None:
        sim = self.simulator(repository)
        sim.bump(TARGETS)
        sim.remove_tag(tag)
        self.trust.publish(sim.gun, sim.upload(TARGETS), "paula")

    def enrol(self, repository: str = WEB) -> None:
        """By the certificate, as `publisher enrol --root-cert` does."""
        certificate = self.simulator(repository).keys[ROOT][0].public.public
        self.enrolment.enrol_certificate(CARL, repository.split("/")[1], certificate)

    def submit(self, built: BuiltImage, tag: str = "1", repository: str = WEB, author: str = "paula") -> Submission:
        """Pushed and signed by an enrolled publisher."""
        self.simulator(repository)
        self.enrol(repository)
        self.push(built, tag, repository)
        return self.sign(built, tag, repository, author)

    # ---- what a workflow does

    def go(self, submission: str | Submission, until: str = "") -> Submission:
        """Run the steps until it rests, or until after the step named."""
        name = submission if isinstance(submission, str) else submission.id
        steps: list[Callable[[str], str]] = [
            self.steps.verify, self.steps.examine, self.steps.run, self.steps.judge, self.publication.publish
        ]
        while self.certification.get(name).state in ACTIVE:
            for step in steps:
                step(name)
                if step.__name__ == until:
                    return self.certification.get(name)
        return self.certification.get(name)

    def let_move(self, repositories: str = "acme/web", tags: str = "*") -> None:
        """Tags that match are not locked any more."""
        self.registry.rules.add(ADMIN, repositories, tags, locked=False)

    def publish(self, built: BuiltImage, tag: str = "1", repository: str = WEB) -> Submission:
        done = self.go(self.submit(built, tag, repository))
        assert done.state is State.PUBLISHED, done.reason
        return done

    # ---- what others see

    def official(self, repository: str = "acme/web") -> TrustedRepository:
        """As a consumer who pinned the hub's root sees it now."""
        gun = Gun.parse(f"{HOST}/{repository}")
        return verify_repository(
            self.trust.repository_files(gun), self.trust.root_versions(gun), gun=gun,
            enrolled=frozenset({self.keys.root.public.canonical_id}), seen={}, now=self.clock(),
        )

    def log(self, action: str = "") -> list[Entry]:
        with self.database.read() as tx:
            self.audit.verify(tx)
            return [entry for entry in self.audit.entries(tx) if entry.action.startswith(action)]

    def records(self) -> dict[str, str]:
        """Submission -> state of its certification record."""
        with self.database.read() as tx:
            return {record["submission"]: record["state"] for record in self.certification.records(tx)}

    def events(self, submission: str) -> list[str]:
        return [event["step"] for event in self.certification.events(submission, 0)]


def image(text: str = "1", **changes: Any) -> BuiltImage:
    """A small image that passes every check; `text` makes it another one."""
    return minimal_server_image(files={"etc/release": File(text.encode())}, **changes)


def doubtful(text: str = "1") -> BuiltImage:
    """One without a health-check: the shipped policy wants a person to look at it."""
    return image(text, Healthcheck=None)
