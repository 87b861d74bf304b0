"""container-structure-test documents: what is read, what is refused, and how an image is judged by them."""

from dataclasses import replace

import pytest

from customhouse.certification.checks import cst_user, run_cst
from customhouse.certification.checks.cst_user import go_mode
from customhouse.certification.findings import Outcome
from customhouse.certification.policy import Policy
from customhouse.certification.runner import run
from customhouse.certification.structure_tests import MAX_BYTES, InvalidStructureTests, StructureTests
from customhouse.oci.entry import FileEntry
from customhouse.sandbox.runner import CommandResult, RunRecord
from customhouse.testing.images import File, Symlink, image, layer
from tests.certification.subjects import subject

FULL = b"""\
schemaVersion: '2.0.0'
globalEnvVars:
  - key: MODE
    value: test
commandTests:
  - name: version
    command: app
    args: [--version]
    setup: [[mkdir, /tmp/x]]
    teardown: [[rm, -r, /tmp/x]]
    envVars: [{key: LEVEL, value: 3.10}]
    exitCode: 2
    expectedOutput: ['^app \\d+']
    excludedError: [Traceback]
fileExistenceTests:
  - {name: app, path: /bin/app, shouldExist: true, permissions: -rwxr-xr-x, uid: 0, gid: 0, isExecutableBy: group}
fileContentTests:
  - {name: conf, path: /etc/app.conf, expectedContents: ['^port=\\d+'], excludedContents: [password]}
metadataTest:
  envVars: [{key: PATH, value: '/bin', isRegex: true}]
  unboundEnvVars: [{key: SECRET}]
  labels: [{key: a, value: b}]
  exposedPorts: ['8080']
  unexposedPorts: ['22']
  entrypoint: [/bin/app]
  cmd: []
  workdir: /srv
  user: '1000'
  volumes: [/data]
licenseTests:
  - {debian: true, files: [/licenses/app]}
"""


def test_a_whole_document_is_read():
    tests = StructureTests.parse(FULL)
    (command,) = tests.commands
    assert command.test.argv == ("app", "--version")
    assert command.test.before == (("mkdir", "/tmp/x"),)
    assert command.test.environment == {"MODE": "test", "LEVEL": "3.10"}, "numbers stay as they are written"
    assert command.exit_code == 2
    assert tests.files[0].executable_by == "group"
    assert tests.metadata is not None
    assert tests.metadata.cmd == ()
    assert tests.needs == {"etc/app.conf", "licenses/app", "usr/share/doc/*/copyright"}


HEAD = b"schemaVersion: 2.0.0\n"


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"", None),
        (b"schemaVersion: 1.0.0\n", 1),
        (b"- a", 1),
        (HEAD + b"containerRunOptions: {privileged: true}", 2),
        (HEAD + b"fileExistenceTests:\n- name: x\n  path: /x\n  shouldExits: true", 5),
        (HEAD + b"fileExistenceTests:\n- name: x", 3),
        (HEAD + b"fileExistenceTests:\n- {name: x, path: /x, uid: -1}", 3),
        (HEAD + b"fileExistenceTests:\n- {name: x, path: /x, shouldExist: maybe}", 3),
        (HEAD + b"fileExistenceTests:\n- {name: x, path: /x, path: /y}", 3),
        (HEAD + b"fileContentTests:\n- {name: x, path: /x, expectedContents: ['(']}", 3),
        (HEAD + b"fileContentTests:\n- {name: x, path: /x, expectedContents: [(?=a)]}", 3),
        (HEAD + b"fileContentTests:\n- {name: x, path: '/*'}", 3),
        (HEAD + b"commandTests:\n- {name: x, command: [a]}", 3),
        (HEAD + b"commandTests: {}", 2),
        (HEAD + b"a: &a [x]\nb: *a\n", 2),
        (HEAD + b"commandTests: !!python/object/apply:os.system [id]", 2),
        (HEAD + b"x: [\n", 3),
        (HEAD + b"x: " + b"[" * 50 + b"]" * 50, 2),
        (b"#" * (MAX_BYTES + 1), None),
        (HEAD + b"x: [" + b"a," * 30_000 + b"]", 2),
        (b"\xff\xfe\x00", None),
    ],
)
def test_what_is_not_known_or_hostile_is_refused_with_its_line(raw, line):
    with pytest.raises(InvalidStructureTests) as refused:
        StructureTests.parse(raw)
    if line is not None:
        assert refused.value.line == line


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (FileEntry("a", "file", mode=0o644), "-rw-r--r--"),
        (FileEntry("a", "dir", mode=0o1777), "dtrwxrwxrwx"),
        (FileEntry("a", "file", mode=0o4755), "urwxr-xr-x"),
        (FileEntry("a", "file", mode=0o2755), "grwxr-xr-x"),
        (FileEntry("a", "symlink", mode=0o777), "Lrwxrwxrwx"),
        (FileEntry("a", "char", mode=0o600), "Dcrw-------"),
    ],
)
def test_modes_are_written_as_go_writes_them(entry, text):
    assert go_mode(entry) == text


LAYER = layer({
    "bin/app": File(b"#!", 0o755),
    "bin/link": Symlink("app"),
    "etc/app.conf": b"name=x\nport=80\n",
    "etc/key": File(b"", 0o600, 7, 8),
    "licenses/app": b"Apache-2.0",
    "usr/share/doc/base/copyright": b"License: MIT",
    "usr/share/doc/bad/copyright": b"License: AGPL-3",
    "usr/share/doc/none/readme": b"",
})
CONFIG = {
    "Env": ["PATH=/bin:/sbin", "TOKEN=hidden"], "Labels": {"a": "b"}, "ExposedPorts": {"8080/tcp": {}},
    "Entrypoint": ["/bin/app"], "Cmd": [], "WorkingDir": "/srv", "User": "1000", "Volumes": {"/data": {}},
}  # fmt: skip


def keys(document: str, record: RunRecord | None = None, check=cst_user) -> list[str]:
    """The keys of what fails; asserts that it failed or passed."""
    try:
        tests = StructureTests.parse(HEAD + document.encode())
    except InvalidStructureTests as error:
        tests = error
    needs = tests.needs if isinstance(tests, StructureTests) else frozenset()
    built = image([LAYER], config=CONFIG)
    seen = subject(built, replace(check.CHECK, needs=tuple(needs)))
    found = run([check.CHECK], replace(seen, tests=tests, run=record), Policy.default())
    assert {item.outcome for item in found} <= {Outcome.FAIL, Outcome.PASS}, found
    return [str(item.evidence["key"]) for item in found if item.outcome is Outcome.FAIL]


@pytest.mark.parametrize(
    ("test", "fails"),
    [
        ("{name: t, path: /bin/app, permissions: -rwxr-xr-x, uid: 0, isExecutableBy: any}", False),
        ("{name: t, path: /bin/link, permissions: Lrwxrwxrwx}", False),
        ("{name: t, path: /, permissions: drwxr-xr-x}", False),
        ("{name: t, path: /bin/none, shouldExist: false}", False),
        ("{name: t, path: /bin/none}", True),
        ("{name: t, path: /bin/app, shouldExist: false}", True),
        ("{name: t, path: /etc/key, uid: 0}", True),
        ("{name: t, path: /etc/key, gid: 7}", True),
        ("{name: t, path: /etc/key, permissions: -rw-r--r--}", True),
        ("{name: t, path: /etc/key, isExecutableBy: owner}", True),
    ],
)
def test_files_are_judged(test, fails):
    assert keys(f"fileExistenceTests: [{test}]") == (["file:t"] if fails else [])


@pytest.mark.parametrize(
    ("test", "failures"),
    [
        ("path: /etc/app.conf, expectedContents: ['(?m)^port=\\d+$'], excludedContents: [password]", 0),
        ("path: /etc/app.conf, expectedContents: [host], excludedContents: [port]", 2),
        ("path: /etc/none, excludedContents: [x]", 1),
        ("path: /etc, expectedContents: [x]", 1),
    ],
)
def test_contents_are_judged(test, failures):
    assert keys(f"fileContentTests: [{{name: t, {test}}}]") == ["content:t"] * failures


@pytest.mark.parametrize(
    ("test", "failing"),
    [
        ("envVars: [{key: PATH, value: 's?bin$', isRegex: true}], unboundEnvVars: [{key: SECRET}]", []),
        ("labels: [{key: a, value: b}], entrypoint: [/bin/app], cmd: [], workdir: /srv, user: '1000'", []),
        ("exposedPorts: ['8080', 8080/tcp], unexposedPorts: ['22'], volumes: [/data]", []),
        ("envVars: [{key: PATH, value: /bin}, {key: NONE, value: x}]", ["metadata:env:PATH", "metadata:env:NONE"]),
        ("unboundEnvVars: [{key: TOKEN}]", ["metadata:env:TOKEN"]),
        ("labels: [{key: a, value: c}]", ["metadata:label:a"]),
        ("entrypoint: [], cmd: [x]", ["metadata:entrypoint", "metadata:cmd"]),
        ("exposedPorts: ['22'], unexposedPorts: ['8080']", ["metadata:port:22", "metadata:port:8080"]),
        ("volumes: [/x], unmountedVolumes: [/data]", ["metadata:volume:/x", "metadata:volume:/data"]),
        ("workdir: /, user: root", ["metadata:workdir", "metadata:user"]),
    ],
)
def test_metadata_is_judged(test, failing):
    assert keys(f"metadataTest: {{{test}}}") == failing


def test_licences_are_judged():
    found = keys("licenseTests: [{debian: true, files: [/licenses/app, /licenses/none]}]")
    assert found == ["license:/licenses/none", "license:/usr/share/doc/bad/copyright"]


def test_a_document_that_cannot_be_used_is_a_failure():
    assert keys("magicTests: []") == ["structure-tests"]


COMMANDS = "commandTests: [{name: t, command: app, expectedOutput: ['^app'], excludedError: [warn]}]"


@pytest.mark.parametrize(
    ("result", "fails"),
    [
        (CommandResult("t", 0, "app 1", ""), False),
        (CommandResult("t", 1, "app 1", ""), True),
        (CommandResult("t", -1, "app 1", ""), True),
        (CommandResult("t", 0, "other", ""), True),
        (CommandResult("t", 0, "app", "a warning: warn"), True),
        (CommandResult("t", 0, "app", "", trouble="no such file"), True),
    ],
)
def test_commands_are_judged_by_what_they_answered(result, fails):
    record = RunRecord("ran", rung="read_only", commands=(result,))
    assert keys(COMMANDS, record, run_cst) == (["command:t"] if fails else [])
