"""Examining an image: the same for the hub's worker and for `customhouse check` on a publisher's machine.

1. `examine_content` reads every layer of every platform once and runs all checks but those that need a run.
2. `examine_run` runs the platforms this machine can run, unless the content must not be started.
3. Content comes through a function that opens a blob by digest; the caller says where from.
4. What the publisher attached (a run profile, structure tests) counts as part of the image: a document that cannot be
   used is a failure with its line, never ignored.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from customhouse.advisories.matching import AdvisoryReport
from customhouse.catalogue.package import Package
from customhouse.catalogue.packages import READERS, WANTS, Catalogue, catalogue
from customhouse.certification.check import Check, Subject, wants
from customhouse.certification.findings import JSON, Finding, Outcome
from customhouse.certification.policy import Policy
from customhouse.certification.runner import run as run_checks
from customhouse.certification.structure_tests import InvalidStructureTests, StructureTests
from customhouse.oci.digest import Digest
from customhouse.oci.image import Content, Image, load_platforms
from customhouse.oci.manifest import Manifest, parse_manifest
from customhouse.oci.scanner import Scanner, read_here
from customhouse.oci.wants import Wants
from customhouse.sandbox.runner import ImageLayer, ImageSource, Runner, RunProfile, RunRecord
from customhouse.sandbox.setup import MEDIA_TYPE, TESTS_MEDIA_TYPE, Companion, InvalidSetup, Setup

Matcher = Callable[[Sequence[Package]], AdvisoryReport]
Tests = StructureTests | InvalidStructureTests | None
RUN = "RUN-"
# What a container must not be started with, whatever a policy says: content that is not what it claims to be.
UNSAFE_TO_START = frozenset({"MAN-DIGEST", "MAN-MEDIA", "TAR-SAFE"})


def _nobody(companion: Companion) -> None:
    """The companions of material that has none."""


@dataclass(frozen=True)
class Material:
    """What is examined: a manifest or index in the publisher's bytes, and how to open what it names.

    `attached` are the publisher's documents by media type (sandbox.setup). `companion` gives the image that a run
    profile wants beside this one, or None where it is not to be had or not allowed.
    """

    name: str
    content: Content
    manifest: bytes
    media_type: str
    reference: str
    tag: str
    attached: Mapping[str, bytes] = field(default_factory=dict)
    companion: Callable[[Companion], "Material | None"] = _nobody


@dataclass(frozen=True)
class Examiner:
    """Checks, policy and the sources of facts, put together once."""

    checks: Sequence[Check]
    policy: Policy
    match: Matcher
    runner: Runner
    clock: Callable[[], datetime]
    scanner: Scanner = read_here

    def content(
        self, material: Material, shown: Callable[[Subject], None] = lambda subject: None
    ) -> tuple[list[Finding], dict[str, JSON]]:
        """Every check that needs no run: (findings, inputs of the verdict). `shown` sees each platform afterwards."""
        checks = [check for check in self.checks if not check.id.startswith(RUN)]
        found: list[Finding] = []
        unpacked: dict[str, JSON] = {}
        snapshots: dict[str, JSON] = {}  # by the manifest's digest: an import may come between two platforms
        inputs: dict[str, JSON] = {
            "checks": [check.id for check in checks], "unpacked": unpacked, "advisories": snapshots,
            "attached": _digests(material),
        }
        tests = _tests(material)
        index = self._index(material)
        looked_into = tests.needs if isinstance(tests, StructureTests) else ()
        needed = wants(checks, *WANTS, *looked_into, readers=READERS)
        for image in self._images(material, needed):
            packages = catalogue(image)
            report = self.match(packages.packages)
            snapshots[str(image.manifest_digest)] = report.snapshot
            unpacked.update({str(scan.digest): scan.size for scan in image.layers})
            subject = self._subject(image, index, packages, report, None, tests)
            found += run_checks(checks, subject, self.policy)
            shown(subject)
        return found, inputs

    def run(
        self, material: Material, content_findings: Sequence[Finding], content_inputs: Mapping[str, JSON]
    ) -> tuple[list[Finding], dict[str, JSON]]:
        """Run each platform and give the findings of the RUN checks: (findings, inputs of the verdict)."""
        checks = [check for check in self.checks if check.id.startswith(RUN)]
        found: list[Finding] = []
        runs: list[JSON] = []
        index = self._index(material)
        unsafe = sorted({
            item.check for item in content_findings
            if item.check in UNSAFE_TO_START and item.outcome not in (Outcome.PASS, Outcome.NOT_APPLICABLE)
        })
        sizes = content_inputs.get("unpacked")
        started = next((check for check in checks if check.id == "RUN-START"), None)
        profile = RunProfile.parse(self.policy.params(started)) if started else RunProfile()
        known = sizes if isinstance(sizes, dict) else {}
        tests = _tests(material)
        for image in self._images(material, Wants(), layers=False):
            if unsafe:
                record = RunRecord(outcome="unavailable", reason=f"not started, because {', '.join(unsafe)} failed")
            else:
                record = self._started(material, image, known, profile, tests)
            runs.append(record.to_json())
            subject = self._subject(image, index, Catalogue(), AdvisoryReport(), record, tests)
            found += run_checks(checks, subject, self.policy)
        return found, {"checks": [check.id for check in checks], "runs": runs, "attached": _digests(material)}

    def _started(
        self, material: Material, image: Image, sizes: Mapping[str, JSON], profile: RunProfile, tests: Tests
    ) -> RunRecord:
        """The run of one platform, set up as the publisher says. What he says and cannot be done is his failure: it
        must not be a way around the run."""
        try:
            setup = Setup.parse(material.attached[MEDIA_TYPE]) if MEDIA_TYPE in material.attached else Setup()
        except InvalidSetup as error:
            return RunRecord(outcome="failed", reason=error.message)
        if isinstance(tests, StructureTests):
            setup = replace(setup, commands=tuple(command.test for command in tests.commands))
        beside = {}
        for companion in setup.companions:
            source = self._beside(material, companion, image)
            if source is None:
                reason = f"its companion {companion.reference} for {image.platform} is not official at this hub"
                return RunRecord(outcome="failed", reason=reason)
            beside[companion.name] = source
        return self.runner.run(replace(_source(material, image, sizes), beside=beside), profile, setup)

    def _beside(self, material: Material, companion: Companion, image: Image) -> ImageSource | None:
        other = material.companion(companion)
        if other is None:
            return None
        found = (one for one in self._images(other, Wants(), layers=False) if one.platform == image.platform)
        fitting = next(found, None)
        return None if fitting is None else _source(other, fitting, {})

    def _subject(
        self, image: Image, index: Manifest | None, packages: Catalogue, report: AdvisoryReport,
        record: RunRecord | None, tests: Tests,
    ) -> Subject:
        return Subject(
            image=image, tag=image.tag, index=index, catalogue=packages, advisories=report, run=record,
            now=self.clock(), tests=tests,
        )

    def _images(self, material: Material, needed: Wants, *, layers: bool = True) -> Iterator[Image]:
        return load_platforms(
            material.content,
            material.manifest,
            needed,
            media_type=material.media_type,
            reference=material.reference,
            tag=material.tag,
            layers=layers,
            scanner=self.scanner,
        )

    def _index(self, material: Material) -> Manifest | None:
        top = parse_manifest(material.manifest, material.media_type)
        return top if top.kind == "index" else None


def _tests(material: Material) -> Tests:
    raw = material.attached.get(TESTS_MEDIA_TYPE)
    if raw is None:
        return None
    try:
        return StructureTests.parse(raw)
    except InvalidStructureTests as error:
        return error


def _digests(material: Material) -> dict[str, JSON]:
    return {media_type: str(Digest.of(raw)) for media_type, raw in sorted(material.attached.items())}


def _source(material: Material, image: Image, sizes: Mapping[str, JSON]) -> ImageSource:
    """The image for the sandbox; the sizes spare it a second reading of each layer."""
    layers = []
    for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids, strict=True):
        size = sizes.get(str(layer.digest))
        layers.append(ImageLayer(layer.digest, layer.size, diff_id, size if isinstance(size, int) else None))
    return ImageSource(
        submission=material.name, config=image.config_raw, layers=tuple(layers), content=material.content
    )
