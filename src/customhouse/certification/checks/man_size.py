"""MAN-SIZE: compressed and unpacked size within the limit of the image's class.

An image without shell and without package database is `static`, any other `app`, unless the policy names the class.
"""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotEvaluable, Subject, whole_filesystem
from customhouse.certification.findings import JSON, Severity

_NOT_STATIC = (
    *("bin/sh", "bin/bash", "usr/bin/bash", "usr/bin/python3", "usr/local/bin/python3", "usr/local/bin/node"),
    *("var/lib/dpkg/status", "lib/apk/db/installed", "usr/lib/sysimage/rpm", "var/lib/rpm", "usr/share/rpm"),
)
MEGABYTE = 1_000_000


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    layers = subject.image.layers
    kind = str(params["class"])
    if kind == "auto":
        fs = whole_filesystem(subject)
        kind = "app" if any(fs.exists(path) for path in _NOT_STATIC) else "static"
    for measure, total in (
        ("compressed", sum(scan.descriptor.size for scan in layers)),
        ("unpacked", sum(scan.size for scan in layers)),
    ):
        limit = params.get(f"{kind}_{measure}_mb")
        if not isinstance(limit, int | float):
            raise NotEvaluable(f"there is no limit for the class {kind!r}; classes are auto, static and app")
        if total > limit * MEGABYTE:
            largest = max(layers, key=lambda scan: scan.descriptor.size if measure == "compressed" else scan.size)
            evidence: dict[str, JSON] = {
                "key": measure,
                "class": kind,
                "bytes": total,
                "most": int(limit * MEGABYTE),
                "largest_layer": str(largest.digest),
            }
            message = f"{total / MEGABYTE:.1f} MB {measure}; an image of class {kind} may have {limit} MB"
            yield Failure(message, evidence)
    if not subject.image.complete:
        raise NotEvaluable("not every layer could be read, so the unpacked size is not known")


CHECK = Check(
    id="MAN-SIZE",
    title="Compressed and unpacked size within the limit of the image's class",
    why="Size is pull time, disk, and mostly things nobody needs but everybody has to patch.",
    remedy="Build in several stages, start from a smaller base, and look at the largest layer first.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    params={
        "class": "auto",
        "static_compressed_mb": 20,
        "static_unpacked_mb": 60,
        "app_compressed_mb": 300,
        "app_unpacked_mb": 900,
    },
    sources=("distroless", "Docker Scout"),
    not_evaluable="the class of the policy has no limit, or a layer could not be read",
)
