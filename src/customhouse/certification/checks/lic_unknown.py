"""LIC-UNKNOWN: every package says under which licence it is, in words that SPDX knows.

Debian's packages say it in a copyright file, not in their database; what the catalogue read of it counts.
"""

from collections.abc import Iterator, Mapping

from customhouse.catalogue.licences import together
from customhouse.certification.check import Check, Failure, NotApplicable, Subject, of_package, whole_catalogue
from customhouse.certification.findings import JSON, Severity

MOST_NAMED = 50


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    packages = [package for package in subject.catalogue.packages if package.kind != "binary"]
    if not packages and not subject.catalogue.problems:
        raise NotApplicable("there is no package in the image")
    told = 0
    for package in packages:
        found, unknown = together(package.licenses)
        if found is not None and not unknown:
            continue
        told += 1
        if told > MOST_NAMED:
            break
        said = f"says {', '.join(unknown)[:200]!r}, which SPDX does not know" if unknown else "names no licence"
        evidence: dict[str, JSON] = {
            **of_package(subject, package),
            "declared": [*package.licenses],
        }
        yield Failure(f"{package.name} {package.version} {said}", evidence)
    whole_catalogue(subject)


CHECK = Check(
    id="LIC-UNKNOWN",
    title="Every package names its licence in the words of SPDX",
    why="Whoever may not use some licences must know all of them.",
    remedy="Ask the package's author to state an SPDX expression; for your own packages set it in their metadata.",
    severity=Severity.LOW,
    evaluate=evaluate,
    not_applicable="there is no package in the image",
    not_evaluable="the list of packages is not complete",
)
