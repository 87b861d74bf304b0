"""PKG-UNVERIFIED: programs come from a package, a language's package or a lock file's folder.

1. A program is a file that may be executed and is ELF, or a shell script in a folder of PATH. (Tools of languages put
   scripts there for each package: those begin with the language's own interpreter.)
2. Known are files that an operating system's package owns, what lies in the folder of a language's package
   (site-packages, node_modules, gems) or is named there as its program, and programs that tell their own modules
   (Go, Rust).
3. The program that the image is for is the publisher's own work and is not asked for a package.
4. In an image without any package there is nothing to tell from.
"""

import posixpath
from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, NotEvaluable, Subject, whole_filesystem
from customhouse.certification.checks._files import UNREAD, at_file, named, texts
from customhouse.certification.checks._programs import FOLDERS
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.program import find
from customhouse.oci.image import FileEntry

_LANGUAGE = ("/site-packages/", "/dist-packages/", "/node_modules/", "/gems/", "/vendor/bundle/", "/go/pkg/mod/")


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    fs = whole_filesystem(subject)
    catalogue = subject.catalogue
    if not any(package.kind == "os" for package in catalogue.packages):
        raise NotApplicable("there is no package of a distribution, so every program is the publisher's own")
    if not catalogue.owners:
        raise NotEvaluable("the package database does not say which files it owns")
    accepted = tuple(texts(params["accepted"]))
    others = [package for package in catalogue.packages if package.kind != "os"]
    own = _started(subject) | {path for package in others for path in (package.path, *package.files)}
    strange = (
        entry
        for entry in fs.walk()
        if _program(entry)
        and entry.path not in catalogue.owners
        and entry.path not in own
        and not entry.path.startswith(accepted)
        and not any(folder in f"/{entry.path}" for folder in _LANGUAGE)
    )
    failures = (
        Failure(f"no package owns the program /{entry.path}", at_file(subject, entry, bytes=entry.size))
        for entry in strange
    )
    yield from named(failures, "programs that no package owns")


def _program(entry: FileEntry) -> bool:
    if not entry.executable:
        return False
    if entry.head.startswith(b"#!") and entry.parent in FOLDERS:
        return entry.head.split(b"\n", 1)[0].rstrip().endswith(b"sh")
    return entry.head.startswith(b"\x7fELF")


def _started(subject: Subject) -> set[str]:
    """What the image starts."""
    config, fs = subject.image.config, subject.image.fs
    found = set()
    for word in config.argv[:3]:
        path = find(word, config, fs) if word and not word.startswith("-") else None
        entry = fs.entry(posixpath.normpath(path)) if path else None
        if entry is not None and entry.executable:
            found.add(entry.path)
    return found


CHECK = Check(
    id="PKG-UNVERIFIED",
    title="Every program comes from a package",
    why="Nobody hears of flaws in a program that was copied or downloaded by hand, and no signature says whose it is.",
    remedy="Install it as a package; or accept its folder in the policy, and name its source and digest in the SBOM.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    params={"accepted": ["opt/"]},
    sources=("CIS 4.11",),
    not_applicable="there is no package of a distribution in the image",
    not_evaluable=f"{UNREAD}, or the package database does not say which files it owns",
)
