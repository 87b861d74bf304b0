"""VUL-HIGHPROFILE: none of the flaws that everybody has heard of.

1. `cves` are the names; a policy may have others. A flaw is recognised by each of its names, whatever its severity,
   whether or not there is a fix, and without days of grace.
2. None found passes only if every ecosystem of the image is covered and the list of packages is complete.
"""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._vex import standing
from customhouse.certification.checks._vulnerability import evidence, require_knowledge, way_out
from customhouse.certification.findings import JSON, Severity

FAMOUS: dict[str, str] = {
    "CVE-2014-0160": "Heartbleed",
    "CVE-2014-6271": "Shellshock",
    "CVE-2021-44228": "Log4Shell",
    "CVE-2021-45046": "Log4Shell",
    "CVE-2022-22965": "Spring4Shell",
    "CVE-2023-38545": "curl's SOCKS5 overflow",
    "CVE-2023-44487": "HTTP/2 rapid reset",
    "CVE-2023-4911": "Looney Tunables",
    "CVE-2024-3094": "the backdoor in xz",
    "CVE-2024-6387": "regreSSHion",
    "CVE-2024-47076": "CUPS",
    "CVE-2024-47175": "CUPS",
    "CVE-2024-47176": "CUPS",
    "CVE-2024-47177": "CUPS",
}


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    wanted = params["cves"]
    names = {str(each) for each in wanted} if isinstance(wanted, list) else set()
    found = False
    for match in standing(subject):
        hit = sorted(names & match.names)
        if hit:
            found = True
            called = f" ({FAMOUS[hit[0]]})" if hit[0] in FAMOUS else ""
            package = match.package
            yield Failure(
                f"{hit[0]}{called} in {package.name} {package.version}: {way_out(match)}", evidence(subject, match)
            )
    if not found:
        require_knowledge(subject)


CHECK = Check(
    id="VUL-HIGHPROFILE",
    title="None of the flaws that everybody knows",
    why="Tools that try these flaws on every address are run by anybody, and whoever finds one in an official image "
    "trusts none of the others.",
    remedy="Update the package to a fixed version and publish again at once; where there is none, leave it out.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
    params={"cves": [*FAMOUS]},
)
