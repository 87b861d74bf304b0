"""VUL-MALPKG: no package that is itself the attack (OSV's MAL- records).

1. A record that lists versions is about these only; one without is about every version of that name.
2. Only where anybody may publish are there such packages, so an image with packages of a distribution alone has no
   answer to give. None found passes only if those ecosystems are covered and the list of packages is complete.
"""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._vulnerability import evidence, of_libraries, require_knowledge
from customhouse.certification.findings import JSON, Severity


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    malicious = [match for match in subject.advisories.matches if match.malicious]
    for match in malicious:
        package = match.package
        yield Failure(
            f"{package.name} {package.version} is malicious ({match.id}): leave it out", evidence(subject, match)
        )
    if not malicious:
        require_knowledge(subject, of_libraries)


CHECK = Check(
    id="VUL-MALPKG",
    title="No package that is malicious",
    why="Whoever published it wrote it to steal or to destroy; it has run already where the image was built.",
    remedy="Take the package out, look for what brought it in, and treat every secret of the machine that built the "
    "image as known to others.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
)
