"""MAN-MEDIA: known media types that say what the bytes are, and nothing that is kept elsewhere."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.findings import JSON, Severity
from customhouse.oci.manifest import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    Descriptor,
)

_COMPRESSION = {
    OCI_LAYER: "none",
    DOCKER_LAYER: "none",
    OCI_LAYER_GZIP: "gzip",
    DOCKER_LAYER_GZIP: "gzip",
    OCI_LAYER_ZSTD: "zstd",
}


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    manifest = subject.image.manifest
    if manifest.config is not None:
        if manifest.config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
            message = f"the config is of type {manifest.config.media_type}, which is no image config"
            yield Failure(message, {"key": "config", "value": manifest.config.media_type})
        yield from _elsewhere("config", "the config", manifest.config)
    for position, scan in enumerate(subject.image.layers):
        layer = scan.descriptor
        yield from _elsewhere(f"layer:{position}", f"layer {position}", layer)
        if layer.foreign:
            continue
        evidence: dict[str, JSON] = {"key": f"type:{position}", "layer": str(layer.digest), "value": layer.media_type}
        expected = _COMPRESSION.get(layer.media_type)
        if expected is None:
            yield Failure(f"layer {position} is of the unknown type {layer.media_type}", evidence)
        elif scan.compression not in (expected, "unknown"):
            found = "not compressed" if scan.compression == "none" else f"compressed with {scan.compression}"
            message = f"layer {position} says {layer.media_type} and is {found}"
            yield Failure(message, {**evidence, "found": scan.compression})


def _elsewhere(key: str, what: str, descriptor: Descriptor) -> Iterator[Failure]:
    evidence: dict[str, JSON] = {"key": f"foreign:{key}", "layer": str(descriptor.digest)}
    if descriptor.urls:
        urls: list[JSON] = [url[:500] for url in descriptor.urls[:5]]
        message = f"{what} is to be fetched from {descriptor.urls[0][:200]}"
        yield Failure(message, {**evidence, "urls": urls})
    elif descriptor.foreign:
        message = f"{what} is of the type {descriptor.media_type}, which is not kept in registries"
        yield Failure(message, {**evidence, "value": descriptor.media_type})


CHECK = Check(
    id="MAN-MEDIA",
    title="Known media types only, and no layer that is kept elsewhere",
    why="What is fetched from another place, or read differently by different engines, cannot be certified.",
    remedy="Push every layer to the registry, with a tool that writes docker schema 2 or OCI media types.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
    sources=("OCI image-spec layer.md",),
)
