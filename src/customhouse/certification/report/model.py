"""The report of an examination: the verdict, and what each platform of the image is made of.

1. It holds what a page can show by itself: layers with their line of the build history, sizes and waste, packages by
   ecosystem, how the run went. It is made from the same facts as the findings and decides nothing.
2. The same image, policy, advisories and moment give the same report, byte for byte, in every form.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from customhouse.certification.check import Subject
from customhouse.certification.findings import JSON
from customhouse.certification.policy import Policy
from customhouse.certification.verdict import Verdict
from customhouse.oci.image import Image

MOST_WASTE = 30
LONGEST_LINE = 500


@dataclass(frozen=True)
class Layer:
    """`stored` and `unpacked` are bytes; `wasted` those of its files that a later layer replaces or hides."""

    digest: str
    command: str
    stored: int
    unpacked: int
    files: int
    wasted: int


@dataclass(frozen=True)
class Waste:
    """A path written by several layers; `size` is the sum of its copies in bytes."""

    path: str
    size: int
    times: int


@dataclass(frozen=True)
class PlatformReport:
    """`efficiency` is 0.0 to 1.0; `packages` counts by ecosystem; `problems` are what could not be catalogued."""

    platform: str
    digest: str
    system: str
    layers: tuple[Layer, ...]
    efficiency: float
    wasted: int
    waste: tuple[Waste, ...]
    packages: Mapping[str, int]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """`made` is an RFC 3339 time; `runs` are the records of the sandbox, one for each platform in order."""

    reference: str
    digest: str
    made: str
    version: str
    policy: str
    policy_digest: str
    verdict: Verdict
    actions: Mapping[str, str]
    platforms: tuple[PlatformReport, ...] = ()
    runs: JSON = None

    def as_json(self) -> dict[str, JSON]:
        """The document of `customhouse check --format json`; the keys of the verdict stand at its top."""
        verdict = self.verdict.as_json()
        return {
            "reference": self.reference,
            "digest": self.digest,
            "verdict": verdict.pop("value"),
            **{key: verdict[key] for key in ("grade", "score", "grade_steps", "reason", "findings")},
            "policy": {"name": self.policy, "digest": self.policy_digest},
            "made": self.made,
            "customhouse": self.version,
            "platforms": [_platform(each) for each in self.platforms],
            "runs": self.runs,
        }


def describe(subject: Subject) -> PlatformReport:
    """One platform of the image."""
    image, packages, figures = subject.image, subject.catalogue, subject.efficiency
    made = [line.created_by for line in image.config.history if not line.empty_layer]
    lines = made if len(made) == len(image.layers) else [""] * len(image.layers)
    layers = []
    for position, (scan, line) in enumerate(zip(image.layers, lines, strict=True)):
        files = [entry for entry in scan.entries if entry.kind == "file"]
        kept = {entry.path for entry in files if _standing(image, entry.path) == position}
        layers.append(
            Layer(
                digest=str(scan.digest), command=line[:LONGEST_LINE], stored=scan.descriptor.size, unpacked=scan.size,
                files=len(files), wasted=sum(entry.size for entry in files if entry.path not in kept),
            )
        )
    return PlatformReport(
        platform=str(image.platform),
        digest=str(image.manifest_digest),
        system=str(packages.distro) if packages.distro else "",
        layers=tuple(layers),
        efficiency=round(figures.efficiency, 4),
        wasted=figures.wasted_bytes,
        waste=tuple(Waste(each.path, each.size, each.times) for each in figures.waste[:MOST_WASTE]),
        packages=dict(sorted(Counter(each.ecosystem or "without advisories" for each in packages.packages).items())),
        problems=tuple(str(each) for each in packages.problems),
    )


def actions(verdict: Verdict, policy: Policy) -> dict[str, str]:
    """What each finding of the verdict does, by fingerprint: block, review, note, waived; absent for none."""
    found = {}
    for item in verdict.findings:
        action = policy.action(item)
        if action is not None:
            found[item.fingerprint] = "waived" if item.waived else action.value
    return found


def _standing(image: Image, path: str) -> int | None:
    entry = image.fs.entry(path, follow=False)
    return None if entry is None else entry.layer


def _platform(each: PlatformReport) -> JSON:
    return {
        "platform": each.platform,
        "digest": each.digest,
        "system": each.system,
        "efficiency": each.efficiency,
        "wasted_bytes": each.wasted,
        "packages": dict(each.packages),
        "problems": list(each.problems),
        "layers": [
            {
                "digest": layer.digest, "command": layer.command, "stored_bytes": layer.stored,
                "unpacked_bytes": layer.unpacked, "files": layer.files, "wasted_bytes": layer.wasted,
            }
            for layer in each.layers
        ],
        "waste": [{"path": item.path, "bytes": item.size, "times": item.times} for item in each.waste],
    }
