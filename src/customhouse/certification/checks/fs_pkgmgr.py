"""FS-PKGMGR: no package manager, for policies that ask for hardened images."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._files import UNREAD, at_file, texts
from customhouse.certification.checks._programs import programs
from customhouse.certification.findings import JSON, Severity


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    for name, entry in programs(subject, texts(params["managers"])):
        yield Failure(f"the package manager {name} is installed", at_file(subject, entry, name=name))


CHECK = Check(
    id="FS-PKGMGR",
    title="There is no package manager",
    why="What it could install, an attacker installs; a container is updated by a new image, never inside.",
    remedy="Copy the application into a distroless or empty base in the last stage of the build.",
    severity=Severity.INFO,
    evaluate=evaluate,
    params={
        "managers": [
            *("apt", "apt-get", "aptitude", "dpkg", "apk", "rpm", "yum", "dnf", "microdnf", "tdnf", "zypper", "pacman"),
            *("pip", "pip3", "npm", "yarn", "gem", "conda", "composer"),
        ]
    },
    sources=("Chainguard", "distroless"),
    not_evaluable=UNREAD,
)
