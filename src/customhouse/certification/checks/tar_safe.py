"""TAR-SAFE: no entry that leaves the image, no device, no trick by which two tools see two images, no bomb."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotEvaluable, Subject, at_layer
from customhouse.certification.findings import JSON, Severity

MOST_AMBIGUOUS = 20


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    image = subject.image
    for position, scan in enumerate(image.layers):
        for found in scan.violations:
            evidence: dict[str, JSON] = {
                "key": found.kind,
                "path": found.path,
                "kind": found.kind,
                "value": found.value,
                **at_layer(subject, position),
            }
            yield Failure(f"layer {position}: {found.message}", evidence)
    for layer, path, link in image.fs.ambiguous[:MOST_AMBIGUOUS]:
        evidence = {
            "key": "ambiguous",
            "path": path,
            "kind": "ambiguous",
            "value": link,
            **at_layer(subject, layer),
        }
        message = f"layer {layer}: {path!r} lies below {link!r}, a link or file of a lower layer; engines differ on it"
        yield Failure(message, evidence)
    unread = [str(scan.digest) for scan in image.layers if not scan.complete and not scan.violations]
    if unread:
        raise NotEvaluable(f"not read to the end: {', '.join(unread)}")


CHECK = Check(
    id="TAR-SAFE",
    title="The layers hold nothing that could harm who unpacks them",
    why="A layer is unpacked with high rights on every host that pulls it; its entries must stay inside the image and "
    "mean the same to every tool.",
    remedy="Build with a current build tool, from sources that hold no devices, sparse files or hand-made archives.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
    sources=("OCI image-spec layer.md",),
    not_evaluable="a layer could not be read to its end",
)
