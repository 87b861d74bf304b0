"""MAN-DIGEST: every blob is the content of its digest, and the config names the layers that are there."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotEvaluable, Subject
from customhouse.certification.findings import JSON, Severity
from customhouse.oci.digest import Digest
from customhouse.oci.layer import LayerScan


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    image = subject.image
    declared = image.manifest.config
    if declared is not None:
        computed = Digest.of(image.config_raw, declared.digest.algorithm)
        if computed != declared.digest:
            message = f"the config's bytes are {computed}, the manifest names {declared.digest}"
            yield Failure(message, {"key": "config", "expected": str(declared.digest), "found": str(computed)})
        if len(image.config_raw) != declared.size:
            message = f"the config has {len(image.config_raw)} bytes, the manifest says {declared.size}"
            yield Failure(message, {"key": "config-size", "expected": declared.size, "found": len(image.config_raw)})
    diff_ids = image.config.diff_ids
    if len(diff_ids) != len(image.layers):
        message = f"the config names {len(diff_ids)} layers (rootfs.diff_ids), the manifest {len(image.layers)}"
        yield Failure(message, {"key": "layers", "expected": len(image.layers), "found": len(diff_ids)})
    unread = []
    for position, scan in enumerate(image.layers):
        yield from _blob(position, scan)
        if scan.descriptor.foreign:
            unread.append(str(scan.digest))
        elif scan.damage is not None:
            message = f"layer {position} ({scan.digest}) cannot be unpacked: {scan.damage}"
            yield Failure(message, {"key": f"damage:{position}", "layer": str(scan.digest), "value": scan.damage})
        elif scan.diff_id is None:
            unread.append(str(scan.digest))
        elif position < len(diff_ids) and scan.diff_id != diff_ids[position]:
            message = f"layer {position} unpacks to {scan.diff_id}, the config's diff_id is {diff_ids[position]}"
            evidence: dict[str, JSON] = {
                "key": f"diff_id:{position}",
                "layer": str(scan.digest),
                "expected": str(diff_ids[position]),
                "found": str(scan.diff_id),
            }
            yield Failure(message, evidence)
    if unread:
        raise NotEvaluable(f"not read to the end: {', '.join(unread)}")


def _blob(position: int, scan: LayerScan) -> Iterator[Failure]:
    evidence: dict[str, JSON] = {"layer": str(scan.digest)}
    if scan.computed is not None and scan.compressed_size != scan.descriptor.size:
        more = "more than " if scan.compressed_size > scan.descriptor.size else ""
        found = min(scan.compressed_size, scan.descriptor.size) if more else scan.compressed_size
        message = f"layer {position} has {more}{found} bytes, the manifest says {scan.descriptor.size}"
        yield Failure(message, {"key": f"size:{position}", **evidence, "expected": scan.descriptor.size})
    elif scan.computed is not None and scan.computed != scan.digest:
        message = f"the bytes of layer {position} are {scan.computed}, the manifest names {scan.digest}"
        yield Failure(message, {"key": f"digest:{position}", **evidence, "found": str(scan.computed)})


CHECK = Check(
    id="MAN-DIGEST",
    title="Every blob matches its digest and size, and the config's diff_ids match the layers",
    why="A layer that is not what the manifest and the config name is damaged or was exchanged; engines refuse it.",
    remedy="Build and push the image again; if it happens again, look for a proxy or disk that changes bytes.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
    sources=("OCI image-spec",),
    not_evaluable="a layer could not be read to its end, or is kept elsewhere",
)
