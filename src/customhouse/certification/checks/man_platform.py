"""MAN-PLATFORM: the config's platform is a known one and is the one the index promises."""

from collections import Counter
from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.findings import JSON, Severity
from customhouse.oci.image import is_attestation
from customhouse.oci.manifest import Descriptor, Platform

OPERATING_SYSTEMS = frozenset({"linux", "windows", "freebsd", "darwin"})
ARCHITECTURES = frozenset(
    {"386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64"}
    | {"s390x", "wasm"}
)
# What a platform is when nobody says its variant.
_USUAL_VARIANT = {"arm64": "v8", "arm": "v7", "amd64": "v1"}


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    image = subject.image
    mine = image.platform
    for key, value, known in (("os", mine.os, OPERATING_SYSTEMS), ("architecture", mine.architecture, ARCHITECTURES)):
        if value not in known:
            message = f"the config says {key} {value!r}, which is none" if value else f"the config says no {key}"
            yield Failure(message, {"key": key, "value": value})
    if subject.index is None:
        return
    members = [member for member in subject.index.manifests if not is_attestation(member)]
    own = [member for member in members if member.digest == image.manifest_digest]
    if not own:
        message = f"the index does not name this image ({image.manifest_digest})"
        yield Failure(message, {"key": "index", "value": str(image.manifest_digest)})
    for member in own:
        yield from _promised(member, mine)
    counted = Counter(_normal(member.platform) for member in members if member.platform is not None)
    if counted[_normal(mine)] > 1:
        message = f"the index names {counted[_normal(mine)]} images for {mine}; which one runs is left to chance"
        yield Failure(message, {"key": "twice", "value": str(mine)})


def _promised(member: Descriptor, mine: Platform) -> Iterator[Failure]:
    if member.platform is None:
        yield Failure(f"the index does not say for which platform {member.digest} is", {"key": "platform"})
    elif _normal(member.platform) != _normal(mine):
        message = f"the index promises {member.platform}, the image is {mine}"
        evidence: dict[str, JSON] = {"key": "platform", "expected": str(member.platform), "found": str(mine)}
        yield Failure(message, evidence)


def _normal(platform: Platform) -> tuple[str, str, str]:
    variant = platform.variant or _USUAL_VARIANT.get(platform.architecture, "")
    return platform.os, platform.architecture, variant


CHECK = Check(
    id="MAN-PLATFORM",
    title="The platform of the config is known and is the one that the index names",
    why="An engine chooses by the index and runs what the config says; where they differ, it runs the wrong program.",
    remedy="Build with the right --platform, and let the build tool write the index.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    sources=("Docker certification",),
)
