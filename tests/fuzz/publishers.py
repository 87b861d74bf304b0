"""Fuzzed besides: the documents that publishers attach to an image."""

from collections.abc import Iterator

from customhouse.certification.structure_tests import InvalidStructureTests, StructureTests
from customhouse.sandbox.setup import InvalidSetup, Setup

DIGEST = "sha256:" + "ab" * 32


def run_profile(data: bytes) -> bool:
    try:
        setup = Setup.parse(data)
    except InvalidSetup as error:
        assert error.why and (error.line is None or error.line >= 1)
        return False
    assert all(path.startswith("/") and ".." not in path.split("/") for path in setup.tmpfs)
    assert all(one.name and one.repository for one in setup.companions)
    assert all(isinstance(word, str) and "\0" not in word for word in setup.words)
    return True


def run_profile_seeds() -> Iterator[bytes]:
    yield b"version = 1\n"
    yield b"version = 1\ntmpfs = ['/data']\ncommand = ['a', 'b']\n[environment]\nA = 'b'\n"
    yield b"version = 1\nscript = 'exec a'\n"
    yield f"version = 1\n[[companion]]\nname = 'db'\nimage = 'acme/db@{DIGEST}'\n".encode()


def structure_tests(data: bytes) -> bool:
    try:
        tests = StructureTests.parse(data)
    except InvalidStructureTests as error:
        assert error.why and (error.line is None or error.line >= 1)
        return False
    assert not any(path.startswith("/") or path.endswith("/") for path in tests.needs)
    for content in tests.contents:
        for pattern in (*content.expected, *content.excluded):
            pattern.found_in("a text")
    return True


def structure_tests_seeds() -> Iterator[bytes]:
    head = b"schemaVersion: 2.0.0\n"
    yield head
    yield head + b"fileContentTests: [{name: a, path: /x, expectedContents: ['^a+$']}]\n"
    yield head + b"commandTests:\n- name: a\n  command: b\n  args: [c]\n  exitCode: 1\n"
    yield head + b"metadataTest: {envVars: [{key: a, value: b, isRegex: true}], user: '1'}\n"
    yield b'{"schemaVersion": "2.0.0", "licenseTests": [{"debian": true, "files": ["/a"]}]}'
