"""PKG-PROHIBITED: no package that has no business in a container.

Libraries of languages are not looked at: one of the same name is another thing. Malicious ones are VUL-MALPKG's matter.
"""

import re
from collections.abc import Iterator, Mapping
from fnmatch import translate

from customhouse.certification.check import (
    Check,
    Failure,
    NotApplicable,
    NotEvaluable,
    Subject,
    of_package,
    whole_catalogue,
)
from customhouse.certification.checks._files import UNREAD, texts
from customhouse.certification.findings import JSON, Severity


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    names = [name.lower() for name in texts(params["packages"])[:2000]]
    exact = {name for name in names if not set("*?[") & set(name)}
    patterns = [re.compile(translate(name)) for name in names if name not in exact]
    catalogue = subject.catalogue
    for package in catalogue.packages:
        name = package.name.lower() if package.kind != "library" else ""
        if name and (name in exact or any(pattern.match(name) for pattern in patterns)):
            message = f"the package {package.name} {package.version} has no business in a container"
            yield Failure(message, of_package(subject, package))
    whole_catalogue(subject)
    if not subject.image.complete:
        raise NotEvaluable(UNREAD)
    if not catalogue.packages:
        raise NotApplicable("there is no package in the image")


CHECK = Check(
    id="PKG-PROHIBITED",
    title="No package of kernels, boot loaders, miners or attackers",
    why="A container has no kernel and no boot of its own; tools for mining and attack are there for somebody else.",
    remedy="Remove the package, or install what needs it without its recommended packages.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    params={
        "packages": [
            *("grub", "grub2", "grub-*", "grub2-*", "syslinux", "linux-image-*", "linux-headers-*", "linux-modules-*"),
            *("kernel", "kernel-core", "kernel-debug*", "kernel-devel", "kernel-doc", "kernel-modules*"),
            *("kernel-tools*", "linux-lts", "linux-virt", "linux-firmware", "firmware-*", "kmod-kvdo", "dkms"),
            *("kpatch*", "xmrig", "cgminer", "cpuminer*", "minerd", "ethminer", "bfgminer", "nicehash*"),
            *("metasploit*", "sqlmap", "hydra", "thc-hydra", "aircrack-ng", "john", "hashcat", "nikto", "mimikatz"),
        ]
    },
    sources=("preflight HasNoProhibitedPackages",),
    not_applicable="there is no package in the image",
    not_evaluable="the list of packages is not complete",
)
