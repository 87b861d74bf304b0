"""Examining an image: the same for the hub's worker and for `customhouse check` on a publisher's machine.

1. `examine_content` reads every layer of every platform once and runs all checks but those that need a run.
2. `examine_run` runs the platforms this machine can run, unless the content must not be started.
3. Content comes through a function that opens a blob by digest; the caller says where from.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from customhouse.advisories.matching import AdvisoryReport
from customhouse.catalogue.package import Package
from customhouse.catalogue.packages import READERS, WANTS, Catalogue, catalogue
from customhouse.certification.check import Check, Subject, wants
from customhouse.certification.findings import JSON, Finding, Outcome
from customhouse.certification.policy import Policy
from customhouse.certification.runner import run as run_checks
from customhouse.oci.image import Content, Image, load_platforms
from customhouse.oci.manifest import Manifest, parse_manifest
from customhouse.oci.scanner import Scanner, read_here
from customhouse.oci.wants import Wants
from customhouse.sandbox.runner import ImageLayer, ImageSource, Runner, RunProfile, RunRecord

Matcher = Callable[[Sequence[Package]], AdvisoryReport]
RUN = "RUN-"
# What a container must not be started with, whatever a policy says: content that is not what it claims to be.
UNSAFE_TO_START = frozenset({"MAN-DIGEST", "MAN-MEDIA", "TAR-SAFE"})


@dataclass(frozen=True)
class Material:
    """What is examined: a manifest or index in the publisher's bytes, and how to open what it names."""

    name: str
    content: Content
    manifest: bytes
    media_type: str
    reference: str
    tag: str


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
        self, material: Material, shown: Callable[[Image, Catalogue], None] = lambda image, packages: None
    ) -> tuple[list[Finding], dict[str, JSON]]:
        """Every check that needs no run: (findings, inputs of the verdict). `shown` sees each platform's image."""
        checks = [check for check in self.checks if not check.id.startswith(RUN)]
        found: list[Finding] = []
        unpacked: dict[str, JSON] = {}
        snapshots: dict[str, JSON] = {}  # by the manifest's digest: an import may come between two platforms
        inputs: dict[str, JSON] = {
            "checks": [check.id for check in checks], "unpacked": unpacked, "advisories": snapshots,
        }
        index = self._index(material)
        needed = wants(checks, *WANTS, readers=READERS)
        for image in self._images(material, needed):
            packages = catalogue(image)
            shown(image, packages)
            report = self.match(packages.packages)
            snapshots[str(image.manifest_digest)] = report.snapshot
            unpacked.update({str(scan.digest): scan.size for scan in image.layers})
            found += self._judge(checks, image, index, packages, report, None)
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
        for image in self._images(material, Wants(), layers=False):
            if unsafe:
                record = RunRecord(outcome="unavailable", reason=f"not started, because {', '.join(unsafe)} failed")
            else:
                record = self.runner.run(_source(material, image, known), profile)
            runs.append(record.to_json())
            found += self._judge(checks, image, index, Catalogue(), AdvisoryReport(), record)
        return found, {"checks": [check.id for check in checks], "runs": runs}

    def _judge(
        self, checks: Sequence[Check], image: Image, index: Manifest | None, packages: Catalogue,
        report: AdvisoryReport, record: RunRecord | None,
    ) -> list[Finding]:
        subject = Subject(
            image=image, tag=image.tag, index=index, catalogue=packages, advisories=report, run=record,
            now=self.clock(),
        )
        return run_checks(checks, subject, self.policy)

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


def _source(material: Material, image: Image, sizes: Mapping[str, JSON]) -> ImageSource:
    """The image for the sandbox; the sizes spare it a second reading of each layer."""
    layers = []
    for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids, strict=True):
        size = sizes.get(str(layer.digest))
        layers.append(ImageLayer(layer.digest, layer.size, diff_id, size if isinstance(size, int) else None))
    return ImageSource(
        submission=material.name, config=image.config_raw, layers=tuple(layers), content=material.content
    )
