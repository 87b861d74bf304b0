"""Fuzzed besides: databases of operating systems, and what programs say of themselves. The first byte says as what."""

import json
from collections.abc import Callable, Iterator

from customhouse.catalogue import apk, binaries, copyright, distro, dotnet, dpkg, golang, rpm, rust
from customhouse.catalogue.package import LONGEST_NAME, LONGEST_VERSION, acceptable
from customhouse.oci.reader import ContentReader
from tests.catalogue import elves, rpms
from tests.catalogue.images import DEBIAN, stanza
from tests.catalogue.test_programs import DEPS

APK = b"P:musl\nV:1.2.5-r0\nA:x86_64\no:musl\nL:MIT\nm:A <a@b>\nF:lib\nR:ld-musl.so\n\nP:zlib\nV:1.3-r1\n\n"
MANIFEST = b"bash\t5.1.8-4.cm2\t1\t1\tMicrosoft\t(none)\t5\tx86_64\t0\tbash-5.1.8-4.cm2.src.rpm\n"
ROWS = [rpms.header("a", epoch=1, files=["/usr/bin/a", "/etc/a"]), rpms.header("b", module="m:1")]
PROGRAM = "libpython3.12.so.1.0"


def _dpkg(raw: bytes) -> bool:
    found, problems = dpkg.parse_status(raw)
    assert all(acceptable(s.name, LONGEST_NAME) and acceptable(s.source_version, LONGEST_VERSION) for s in found)
    list(dpkg.parse_list(raw))
    list(dpkg.parse_md5sums(raw))
    return bool(found) and not problems


def _apk(raw: bytes) -> bool:
    found, problems = apk.parse_installed(raw)
    assert all(acceptable(block.name, LONGEST_NAME) for block in found)
    return bool(found) and not problems


def _manifest(raw: bytes) -> bool:
    found, problems = rpm.parse_manifest(raw)
    assert all(all(package.key[:2]) and all(package.source()) for package in found)
    return bool(found) and not problems


def _release(raw: bytes) -> bool:
    found = distro.detect({"etc/os-release": raw}.get)
    return found is not None and bool(found.ecosystem) and bool(str(found))


def _reader(reader: ContentReader, path: str) -> Callable[[bytes], bool]:
    def run(raw: bytes) -> bool:
        facts = list(reader.read(path, raw))
        assert len(json.dumps(facts)) < 100 * len(raw) + 1000
        return bool(facts) and not any(isinstance(fact, dict) and "problem" in fact for fact in facts)

    return run


def _log(raw: bytes) -> bool:
    return rpm.unsaved(raw)


def _older_release(raw: bytes) -> bool:
    found = [distro.detect({path: raw}.get) for path in ("etc/lsb-release", "etc/redhat-release")]
    return any(each is not None and bool(each.ecosystem) for each in found)


DATABASES = (
    _dpkg, _apk, _manifest, _release, _reader(rpm.READER, rpm.DATABASES[0]),
    _reader(copyright.READER, "usr/share/doc/a/copyright"), _log, _older_release,
)  # fmt: skip
PROGRAMS = tuple(
    _reader(reader, path)
    for reader, path in (
        (golang.READER, "a"), (rust.READER, "a"), (dotnet.READER, "a.deps.json"), (binaries.BINARIES, PROGRAM),
        (binaries.JDK, "release"),
    )
)  # fmt: skip


def databases(data: bytes) -> bool:
    return bool(data) and DATABASES[data[0] % len(DATABASES)](data[1:])


def programs(data: bytes) -> bool:
    return bool(data) and PROGRAMS[data[0] % len(PROGRAMS)](data[1:])


def database_seeds() -> Iterator[bytes]:
    yield b"\0" + stanza("bash", "5.2-1") + stanza("libssl3", "3.0.1", "openssl (3.0)")
    yield b"\1" + APK
    yield b"\2" + MANIFEST
    yield b"\3" + DEBIAN
    for raw in (rpms.sqlite(ROWS, page=512), rpms.ndb(ROWS), rpms.bdb(ROWS)):
        yield b"\4" + raw
    yield b"\5" + b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nLicense: MIT\n"
    head = b"\x37\x7f\x06\x82" + (3007000).to_bytes(4, "big") + (512).to_bytes(4, "big") + bytes(4) + b"saltsalt"
    yield b"\6" + head + bytes(8) + (1).to_bytes(4, "big") * 2 + b"saltsalt" + bytes(8 + 512)
    yield b"\7CentOS release 6.10 (Final)\n"


def program_seeds() -> Iterator[bytes]:
    lines = ("path\ta.b/c", "mod\ta.b/c\t(devel)\t", "dep\td.e/f\tv1.0", "=>\tg.h/i\tv1.1.0", "build\t-ldflags=-X=a=1")
    yield b"\0" + elves.go_program("go1.22.3", *lines)
    yield b"\0" + elves.go_program_of_old("go1.16", *lines, wide=False, order=">")
    yield b"\1" + elves.auditable([{"name": "a", "version": "1.0.0", "source": "local", "root": True}])
    yield b"\2" + json.dumps(DEPS).encode()
    yield b"\3" + elves.elf({".rodata": b"\0PYTHONHOME\0/usr/3.12.1\0"})
    yield b"\4" + b'IMPLEMENTOR="X"\nJAVA_VERSION="17.0.9"\n'
