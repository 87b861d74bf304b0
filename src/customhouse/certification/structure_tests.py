"""A publisher's own tests of the image: the container-structure-test format, schemaVersion 2.0.0 (YAML or JSON).

1. commandTests, fileExistenceTests, fileContentTests, metadataTest, licenseTests and globalEnvVars are read. What would
   loosen the walls of a run (containerRunOptions) and whatever else is unknown is refused with its line: a test that
   is silently not made would be a pass.
2. YAML is read as events and plain nodes, never as objects: no tags of Python, no aliases and anchors, bounded in
   bytes, nodes and depth.
3. Patterns are RE2's, as in the original (Go): linear in time.

Pure. (github.com/GoogleContainerTools/container-structure-test, README of version 2.0.0.)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import re2
import yaml

from customhouse.errors import Invalid
from customhouse.sandbox.setup import CommandTest

MAX_BYTES = 256 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 12
MAX_TESTS = 200
MAX_PATTERN = 2000
MAX_PATTERN_MEMORY = 1 << 20
_EXECUTABLE_BY = ("", "owner", "group", "other", "any")


class InvalidStructureTests(Invalid):
    """The document cannot be used; `line` counts from 1, None where no line can be named."""

    def __init__(self, why: str, line: int | None = None) -> None:
        where = "the structure tests" if line is None else f"line {line} of the structure tests"
        super().__init__(f"{where}: {why}", hint="Correct the document; its form is container-structure-test 2.0.0.")
        self.why, self.line = why, line


@dataclass(frozen=True)
class Pattern:
    """A regular expression of RE2, searched for anywhere in a text."""

    text: str

    def found_in(self, text: str) -> bool:
        return bool(_compiled(self.text).search(text))


@dataclass(frozen=True)
class CommandExpectation:
    """What a command must answer. An exit code of None is not looked at."""

    test: CommandTest
    exit_code: int
    output: tuple[Pattern, ...] = ()
    no_output: tuple[Pattern, ...] = ()
    error: tuple[Pattern, ...] = ()
    no_error: tuple[Pattern, ...] = ()


@dataclass(frozen=True)
class FileTest:
    """What must stand at a path. None and "" are not looked at."""

    name: str
    path: str
    exists: bool = True
    permissions: str = ""
    uid: int | None = None
    gid: int | None = None
    executable_by: str = ""


@dataclass(frozen=True)
class ContentTest:
    """What a file must, and must not, hold."""

    name: str
    path: str
    expected: tuple[Pattern, ...] = ()
    excluded: tuple[Pattern, ...] = ()


@dataclass(frozen=True)
class Pair:
    """An environment variable or label: its value is a text, or a pattern."""

    key: str
    value: str
    pattern: bool = False

    def fits(self, value: str) -> bool:
        return Pattern(self.value).found_in(value) if self.pattern else value == self.value


@dataclass(frozen=True)
class MetadataTest:
    """What the config must say. None is not looked at."""

    env: tuple[Pair, ...] = ()
    unbound_env: tuple[str, ...] = ()
    labels: tuple[Pair, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    exposed_ports: tuple[str, ...] = ()
    unexposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    unmounted_volumes: tuple[str, ...] = ()
    workdir: str | None = None
    user: str | None = None


@dataclass(frozen=True)
class LicenceTest:
    """Whose licence files are looked at: those of Debian's packages, and these paths."""

    debian: bool
    files: tuple[str, ...]


@dataclass(frozen=True)
class StructureTests:
    """One document."""

    commands: tuple[CommandExpectation, ...] = ()
    files: tuple[FileTest, ...] = ()
    contents: tuple[ContentTest, ...] = ()
    metadata: MetadataTest | None = None
    licences: tuple[LicenceTest, ...] = ()

    @property
    def needs(self) -> frozenset[str]:
        """The files whose contents the tests look into, as patterns of `oci.wants.Wants`."""
        paths = {test.path for test in self.contents} | {path for test in self.licences for path in test.files}
        debian = {"usr/share/doc/*/copyright"} if any(test.debian for test in self.licences) else set()
        return frozenset(path.strip("/") for path in paths if path.strip("/")) | debian

    @classmethod
    def parse(cls, raw: bytes) -> "StructureTests":
        """Read a document. Raises InvalidStructureTests."""
        return _document(_root(raw))


# ---- the document


def _document(root: "_Node") -> StructureTests:
    fields = root.mapping(
        "schemaVersion", "globalEnvVars", "commandTests", "fileExistenceTests", "fileContentTests", "metadataTest",
        "licenseTests",
    )  # fmt: skip
    version = fields.get("schemaVersion")
    if version is None or version.text() != "2.0.0":
        raise (version or root).wrong('schemaVersion must be "2.0.0"')
    everywhere = _pairs(fields.get("globalEnvVars"))
    tests = {name: _items(fields.get(name)) for name in fields if name.endswith("Tests")}
    if sum(map(len, tests.values())) > MAX_TESTS:
        raise root.wrong(f"there are more than {MAX_TESTS} tests")
    meta = fields.get("metadataTest")
    return StructureTests(
        commands=tuple(_command(item, everywhere) for item in tests.get("commandTests", ())),
        files=tuple(_file(item) for item in tests.get("fileExistenceTests", ())),
        contents=tuple(_content(item) for item in tests.get("fileContentTests", ())),
        metadata=None if meta is None else _metadata(meta),
        licences=tuple(_licence(item) for item in tests.get("licenseTests", ())),
    )


def _command(item: "_Node", everywhere: tuple[Pair, ...]) -> CommandExpectation:
    fields = item.mapping(
        "name", "command", "args", "setup", "teardown", "envVars", "exitCode", "expectedOutput", "excludedOutput",
        "expectedError", "excludedError",
    )  # fmt: skip
    environment = {pair.key: pair.value for pair in (*everywhere, *_pairs(fields.get("envVars")))}
    code = fields.get("exitCode")
    test = CommandTest(
        name=_need(item, fields, "name"),
        argv=(_need(item, fields, "command"), *_texts(fields.get("args"))),
        before=tuple(_argv(line) for line in _items(fields.get("setup"))),
        after=tuple(_argv(line) for line in _items(fields.get("teardown"))),
        environment=environment,
    )
    return CommandExpectation(
        test,
        0 if code is None else code.integer(),
        _patterns(fields.get("expectedOutput")),
        _patterns(fields.get("excludedOutput")),
        _patterns(fields.get("expectedError")),
        _patterns(fields.get("excludedError")),
    )


def _argv(item: "_Node") -> tuple[str, ...]:
    words = _texts(item)
    if not words:
        raise item.wrong("a command must not be empty")
    return words


def _file(item: "_Node") -> FileTest:
    fields = item.mapping("name", "path", "shouldExist", "permissions", "uid", "gid", "isExecutableBy")
    exists, uid, gid = fields.get("shouldExist"), fields.get("uid"), fields.get("gid")
    by = fields.get("isExecutableBy")
    if by is not None and by.text() not in _EXECUTABLE_BY:
        raise by.wrong("isExecutableBy is owner, group, other or any")
    return FileTest(
        name=_need(item, fields, "name"),
        path=_need(item, fields, "path"),
        exists=True if exists is None else exists.boolean(),
        permissions=_text(fields.get("permissions")),
        uid=None if uid is None else uid.integer(),
        gid=None if gid is None else gid.integer(),
        executable_by=_text(by),
    )


def _content(item: "_Node") -> ContentTest:
    fields = item.mapping("name", "path", "expectedContents", "excludedContents")
    path = _need(item, fields, "path")
    if "*" in path or "?" in path or path.endswith("/"):
        raise fields["path"].wrong("path names one file")
    return ContentTest(
        _need(item, fields, "name"),
        path,
        _patterns(fields.get("expectedContents")),
        _patterns(fields.get("excludedContents")),
    )


def _metadata(item: "_Node") -> MetadataTest:
    fields = item.mapping(
        "env", "envVars", "unboundEnvVars", "labels", "entrypoint", "cmd", "exposedPorts", "unexposedPorts", "volumes",
        "unmountedVolumes", "workdir", "user",
    )  # fmt: skip
    unbound = [entry.mapping("key") for entry in _items(fields.get("unboundEnvVars"))]
    entry, cmd, workdir, user = (fields.get(name) for name in ("entrypoint", "cmd", "workdir", "user"))
    return MetadataTest(
        env=_pairs(fields.get("env")) + _pairs(fields.get("envVars")),
        unbound_env=tuple(_need(item, one, "key") for one in unbound),
        labels=_pairs(fields.get("labels")),
        entrypoint=None if entry is None else _texts(entry),
        cmd=None if cmd is None else _texts(cmd),
        exposed_ports=_texts(fields.get("exposedPorts")),
        unexposed_ports=_texts(fields.get("unexposedPorts")),
        volumes=_texts(fields.get("volumes")),
        unmounted_volumes=_texts(fields.get("unmountedVolumes")),
        workdir=None if workdir is None else workdir.text(),
        user=None if user is None else user.text(),
    )


def _licence(item: "_Node") -> LicenceTest:
    fields = item.mapping("debian", "files")
    debian = fields.get("debian")
    return LicenceTest(False if debian is None else debian.boolean(), _texts(fields.get("files")))


def _need(item: "_Node", fields: Mapping[str, "_Node"], key: str) -> str:
    found = _text(fields.get(key))
    if not found:
        raise item.wrong(f"{key} is missing")
    return found


def _text(node: "_Node | None") -> str:
    return "" if node is None else node.text()


def _items(node: "_Node | None") -> "list[_Node]":
    return [] if node is None else node.items()


def _texts(node: "_Node | None") -> tuple[str, ...]:
    return tuple(item.text() for item in _items(node))


def _pairs(node: "_Node | None") -> tuple[Pair, ...]:
    found = []
    for item in _items(node):
        fields = item.mapping("key", "value", "isRegex")
        pattern = fields.get("isRegex")
        is_pattern = pattern is not None and pattern.boolean()
        value = fields.get("value")
        if is_pattern and value is not None:
            _pattern(value)
        found.append(Pair(_need(item, fields, "key"), _text(value), is_pattern))
    return tuple(found)


def _patterns(node: "_Node | None") -> tuple[Pattern, ...]:
    return tuple(_pattern(item) for item in _items(node))


def _pattern(node: "_Node") -> Pattern:
    text = node.text()
    if len(text) > MAX_PATTERN:
        raise node.wrong(f"a pattern is longer than {MAX_PATTERN} characters")
    try:
        _compiled(text)
    except re2.error as error:
        raise node.wrong(f"no pattern of RE2: {str(error)[:200]}") from None
    return Pattern(text)


def _compiled(text: str) -> Any:
    options = re2.Options()
    options.max_mem = MAX_PATTERN_MEMORY
    options.log_errors = False
    return re2.compile(text, options=options)


# ---- the YAML


@dataclass(frozen=True)
class _Node:
    """A node of YAML that knows its line."""

    node: Any

    def wrong(self, why: str) -> InvalidStructureTests:
        return InvalidStructureTests(why, self.node.start_mark.line + 1)

    def mapping(self, *known: str) -> "dict[str, _Node]":
        """The fields of a mapping. Raises for anything else, for an unknown key and for one that comes twice."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.wrong(f"here must be fields: {', '.join(known)}")
        found: dict[str, _Node] = {}
        for key, value in self.node.value:
            name = _Node(key).text()
            if name not in known:
                raise _Node(key).wrong(f"{name[:60]!r} is not known here; known are {', '.join(known)}")
            if name in found:
                raise _Node(key).wrong(f"{name!r} comes twice")
            found[name] = _Node(value)
        return found

    def items(self) -> "list[_Node]":
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.wrong("here must be a list")
        return [_Node(item) for item in self.node.value]

    def text(self) -> str:
        """A scalar as it is written: 3.10 stays 3.10."""
        if not isinstance(self.node, yaml.ScalarNode):
            raise self.wrong("here must be a text")
        return str(self.node.value)

    def integer(self) -> int:
        text = self.text()
        if not text.isascii() or not text.isdigit() or len(text) > 10:
            raise self.wrong("here must be a number from 0")
        return int(text)

    def boolean(self) -> bool:
        text = self.text().lower()
        if text not in ("true", "false"):
            raise self.wrong("here must be true or false")
        return text == "true"


def _root(raw: bytes) -> _Node:
    if len(raw) > MAX_BYTES:
        raise InvalidStructureTests(f"they are larger than {MAX_BYTES} bytes")
    try:
        for _ in _bounded(raw):
            pass
        node = yaml.compose(raw, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise InvalidStructureTests(f"no YAML: {error.problem}", mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidStructureTests(f"no YAML: {str(error)[:200]}") from None
    if node is None:
        raise InvalidStructureTests("they are empty")
    return _Node(node)


def _bounded(raw: bytes) -> Iterator[None]:
    """The events of a document, before anything is built of them."""
    depth = 0
    for number, event in enumerate(yaml.parse(raw, Loader=yaml.CSafeLoader)):
        line = event.start_mark.line + 1 if event.start_mark is not None else None
        if number > MAX_NODES:
            raise InvalidStructureTests(f"they have more than {MAX_NODES} nodes", line)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise InvalidStructureTests("anchors and aliases are not taken", line)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise InvalidStructureTests(f"they are nested deeper than {MAX_DEPTH}", line)
        yield
