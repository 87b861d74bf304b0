from hypothesis import given, settings
from hypothesis import strategies as st

from customhouse.catalogue import apk

INSTALLED = b"""C:Q1abc=
P:libcrypto3
V:3.3.2-r0
A:x86_64
S:1
o:openssl
F:usr/lib
R:libcrypto.so.3
Z:Q1x=

P:busybox
V:1.36.1-r29
A:x86_64
F:bin
M:0:0:755
R:busybox
F:
R:top
"""


def test_name_version_and_origin_are_read() -> None:
    found, problems = apk.parse_installed(INSTALLED)
    assert not problems
    assert [(b.name, b.version, b.origin) for b in found] == [
        ("libcrypto3", "3.3.2-r0", "openssl"),
        ("busybox", "1.36.1-r29", "busybox"),
    ]


def test_owned_files_carry_their_folder() -> None:
    found, _ = apk.parse_installed(INSTALLED)
    assert [path for block in found for path in block.files] == ["usr/lib/libcrypto.so.3", "bin/busybox", "top"]


def test_a_block_without_a_version_is_a_problem() -> None:
    found, problems = apk.parse_installed(b"P:a\nV:1-r0\n\nP:b\nA:x86_64\n\nC:Q1=\nT:only a text\n")
    assert [b.name for b in found] == ["a"]
    assert problems == ["2 blocks name no package with a version"]


def test_bytes_that_are_no_database_are_a_problem() -> None:
    assert apk.parse_installed(b"\x00\x01\x02garbage")[1]


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.text("PVAoFR:\n\r 1a-", max_size=300).map(str.encode)))
def test_no_bytes_raise(raw: bytes) -> None:
    apk.parse_installed(raw)
