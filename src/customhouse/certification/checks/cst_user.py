"""CST-USER: the publisher's own structure tests hold, as far as the image's files and config answer them.

1. Files and metadata are judged as container-structure-test judges them: a path's own entry (a link is a link), a
   mode as Go writes it, patterns anywhere in the text.
2. Commands are run by RUN-CST.
3. Licence tests: the file is there, and names none of the refused licences.
"""

import re
from collections.abc import Iterator, Mapping

from customhouse.certification.check import (
    Check,
    Failure,
    NotApplicable,
    NotEvaluable,
    Subject,
    whole_filesystem,
)
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.structure_tests import (
    ContentTest,
    FileTest,
    InvalidStructureTests,
    LicenceTest,
    MetadataTest,
    Pair,
)
from customhouse.oci.config import ImageConfig
from customhouse.oci.entry import FileEntry
from customhouse.oci.filesystem import Filesystem

REFUSED_LICENCES = ("AGPL", "WTFPL")
DEBIAN_DOCUMENTS = "usr/share/doc"
_KINDS = {"dir": "d", "symlink": "L", "char": "Dc", "block": "D", "fifo": "p"}
_WHO = {"owner": 0o100, "group": 0o010, "other": 0o001, "any": 0o111}


def user_tests(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    """One failure per test that does not hold, by its name."""
    tests = subject.tests
    if tests is None:
        raise NotApplicable("the publisher gave no structure tests")
    if isinstance(tests, InvalidStructureTests):
        yield Failure(tests.message, {"key": "structure-tests", "line": tests.line})
        return
    if not (tests.files or tests.contents or tests.metadata or tests.licences):
        raise NotApplicable("the publisher's structure tests only run commands")
    if tests.metadata is not None:
        yield from _metadata(tests.metadata, subject.image.config)
    if not (tests.files or tests.contents or tests.licences):
        return
    fs = whole_filesystem(subject)
    unread: list[str] = []
    refused = params["refused_licences"]
    assert isinstance(refused, list | tuple)
    for file in tests.files:
        for why in _file(file, fs):
            yield Failure(f"{file.name}: {why}", {"key": f"file:{file.name}", "path": file.path})
    for content in tests.contents:
        for why in _content(content, fs, unread):
            yield Failure(f"{content.name}: {why}", {"key": f"content:{content.name}", "path": content.path})
    for licence in tests.licences:
        for path, why in _licence(licence, fs, [str(word) for word in refused], unread):
            yield Failure(why, {"key": f"license:{path}", "path": path})
    if unread:
        raise NotEvaluable(f"files that a test looks into could not be read: {', '.join(unread[:10])}")


def go_mode(entry: FileEntry) -> str:
    """A mode as Go's FileMode.String writes it: "-rw-r--r--", "dtrwxrwxrwx", "Lrwxrwxrwx", "urwxr-xr-x"."""
    kinds = _KINDS.get(entry.kind, "")
    for bit, letter in ((0o4000, "u"), (0o2000, "g")):
        kinds += letter if entry.mode & bit else ""
    # Go writes the letters in the order of "dalTLDpSugct?".
    kinds = "".join(letter for letter in "dLDpugct" if letter in kinds or (letter == "t" and entry.mode & 0o1000))
    bits = "".join(letter if entry.mode >> (8 - n) & 1 else "-" for n, letter in enumerate("rwxrwxrwx"))
    return (kinds or "-") + bits


def _file(test: FileTest, fs: Filesystem) -> Iterator[str]:
    entry = fs.entry(test.path, follow=False) if test.path.strip("/") else FileEntry("", "dir", mode=0o755)
    if entry is None:
        if test.exists:
            yield "it does not exist"
        return
    if not test.exists:
        yield "it exists"
        return
    if test.permissions and test.permissions != go_mode(entry):
        yield f"its permissions are {go_mode(entry)}, not {test.permissions}"
    for name, wanted, seen in (("owner", test.uid, entry.uid), ("group", test.gid, entry.gid)):
        if wanted is not None and wanted != seen:
            yield f"its {name} is {seen}, not {wanted}"
    if test.executable_by and not entry.mode & _WHO[test.executable_by]:
        yield f"it is not executable by {test.executable_by}"


def _content(test: ContentTest, fs: Filesystem, unread: list[str]) -> Iterator[str]:
    entry = fs.entry(test.path)
    if entry is None or entry.kind not in ("file", "hardlink"):
        yield "there is no such file"
        return
    raw = fs.read(test.path)
    if raw is None:
        unread.append(test.path)
        return
    text = raw.decode("utf-8", "replace")
    yield from (f"{item.text!r} is not in it" for item in test.expected if not item.found_in(text))
    yield from (f"{item.text!r} is in it" for item in test.excluded if item.found_in(text))


def _licence(
    test: LicenceTest, fs: Filesystem, refused: list[str], unread: list[str]
) -> Iterator[tuple[str, str]]:
    paths = list(test.files)
    if test.debian:
        paths += [f"/{DEBIAN_DOCUMENTS}/{name}/copyright" for name in fs.children(DEBIAN_DOCUMENTS)]
    for path in paths:
        entry = fs.entry(path)
        if entry is None:
            # Debian's packages may share their documents by a link, and folders there need not be packages.
            if path in test.files:
                yield path, f"there is no licence at {path}"
            continue
        raw = fs.read(path)
        if raw is None:
            unread.append(path)
            continue
        text = raw.decode("utf-8", "replace")
        for word in refused:
            if re.search(rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])", text):
                yield path, f"{path} names {word}"


def _metadata(test: MetadataTest, config: ImageConfig) -> Iterator[Failure]:
    def wrong(key: str, why: str) -> Failure:
        return Failure(f"metadata: {why}", {"key": f"metadata:{key}"})

    environment = config.environment
    yield from _pairs("env", test.env, environment)
    for name in test.unbound_env:
        if name in environment:
            yield wrong(f"env:{name}", f"{name} is set")
    yield from _pairs("label", test.labels, config.labels)
    for key, wanted, seen in (("entrypoint", test.entrypoint, config.entrypoint), ("cmd", test.cmd, config.cmd)):
        if wanted is not None and wanted != seen:
            yield wrong(key, f"{key} is {list(seen)}, not {list(wanted)}")
    ports = {port.removesuffix("/tcp") for port in config.exposed_ports}
    for kind, names, present in (
        ("port", [port.removesuffix("/tcp") for port in test.exposed_ports], ports),
        ("volume", list(test.volumes), set(config.volumes)),
    ):
        yield from (wrong(f"{kind}:{one}", f"{kind} {one} is not declared") for one in names if one not in present)
    for kind, names, present in (
        ("port", [port.removesuffix("/tcp") for port in test.unexposed_ports], ports),
        ("volume", list(test.unmounted_volumes), set(config.volumes)),
    ):
        yield from (wrong(f"{kind}:{one}", f"{kind} {one} is declared") for one in names if one in present)
    if test.workdir is not None and test.workdir != config.workdir:
        yield wrong("workdir", f"the working directory is {config.workdir!r}, not {test.workdir!r}")
    if test.user is not None and test.user != config.user:
        yield wrong("user", f"the user is {config.user!r}, not {test.user!r}")


def _pairs(kind: str, wanted: tuple[Pair, ...], seen: Mapping[str, str]) -> Iterator[Failure]:
    for pair in wanted:
        if pair.key not in seen:
            yield Failure(f"metadata: {kind} {pair.key} is not set", {"key": f"metadata:{kind}:{pair.key}"})
        elif not pair.fits(seen[pair.key]):  # the value may be a secret: it is not told
            yield Failure(f"metadata: {kind} {pair.key} has another value", {"key": f"metadata:{kind}:{pair.key}"})


CHECK = Check(
    id="CST-USER",
    title="The publisher's structure tests hold",
    why="A publisher says with tests what the image must be; an image that breaks them is not the one that was meant.",
    remedy="Mend the image, or the test: `container-structure-test test --image IMAGE --config FILE` shows the same.",
    severity=Severity.HIGH,
    evaluate=user_tests,
    params={"refused_licences": list(REFUSED_LICENCES)},
    sources=("container-structure-test 2.0.0",),
    not_applicable="the publisher gave no structure tests about files or config",
    not_evaluable="a layer, or a file that a test looks into, could not be read",
)
