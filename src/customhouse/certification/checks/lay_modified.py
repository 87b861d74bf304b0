"""LAY-MODIFIED: files of packages are those that the package brought.

1. A file of a package counts as altered when a later layer than that of its package writes it with another size or
   another time of change. The same bytes with other rights or owner (chmod, chown) are no alteration.
2. Settings and what packages themselves rewrite are excepted: etc, var, run, build ids, caches of fonts and loaders.
(Red Hat's preflight, HasModifiedFiles.)
"""

import re
from collections.abc import Iterator, Mapping

from customhouse.certification.check import (
    Check,
    Failure,
    NotApplicable,
    NotEvaluable,
    Subject,
    whole_catalogue,
    whole_filesystem,
)
from customhouse.certification.checks._files import UNREAD, at_file, named
from customhouse.certification.findings import JSON, Severity
from customhouse.oci.image import FileEntry

_EXCEPTED = re.compile(
    r"(?:etc|var|run|tmp|root|home|usr/tmp|usr/lib/\.build-id)/.*|.*\.(?:pyc|cache)|usr/share/(?:info/dir|mime/.*)"
    r"|.*/(?:fonts\.(?:dir|scale)|icon-theme\.cache|gschemas\.compiled|locale-archive|ca-bundle\.crt|cacerts)"
)


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    whole_filesystem(subject)
    catalogue = subject.catalogue
    system = [package for package in catalogue.packages if package.kind == "os"]
    if not system:
        raise NotApplicable("there is no package of a distribution in the image")
    if not catalogue.owners:
        raise NotEvaluable("the package database does not say which files it owns")
    if len(subject.image.layers) > 1:
        yield from named(_altered(subject), "files of packages that were altered")
    whole_catalogue(subject)


def _altered(subject: Subject) -> Iterator[Failure]:
    owners = subject.catalogue.owners
    before: dict[str, list[FileEntry]] = {}
    # Only what a layer above the first writes can be altered.
    written = {entry.path for scan in subject.image.layers[1:] for entry in scan.entries if entry.path in owners}
    for scan in subject.image.layers:
        for entry in scan.entries:
            if entry.path in written and entry.kind == "file":
                before.setdefault(entry.path, []).append(entry)
    for path, copies in before.items():
        standing = subject.image.fs.entry(path, follow=False)
        if len(copies) < 2 or standing is None or _EXCEPTED.fullmatch(path):
            continue
        package = owners[path]
        # The package's own layer is the last that may write its files; an update has a layer of its own.
        installed = [entry for entry in copies if entry.layer <= package.layer]
        later = [entry for entry in copies if entry.layer > package.layer]
        if not installed or not later:
            continue
        first, last = installed[-1], later[-1]
        if (first.size, first.mtime) != (last.size, last.mtime):
            message = f"/{path} of the package {package.name} {package.version} was altered in a later layer"
            evidence = at_file(subject, last, package=package.name, version=package.version, bytes=last.size)
            yield Failure(message, {**evidence, "bytes_before": first.size})


CHECK = Check(
    id="LAY-MODIFIED",
    title="Files of packages are those that the package brought",
    why="The list of packages then says something that is not true: a scanner calls fixed what was replaced, and an "
    "update overwrites it silently.",
    remedy="Install the version that is wanted as a package, or put own files into /opt or /usr/local.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    sources=("preflight HasModifiedFiles",),
    not_applicable="there is no package of a distribution in the image",
    not_evaluable=f"{UNREAD}, or the list of packages or of their files is not complete",
)
