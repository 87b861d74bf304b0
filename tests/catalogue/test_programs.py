"""What programs say of themselves: Go, Rust, .NET, and those known by their bytes."""

import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customhouse.catalogue import binaries, dotnet, golang, rust
from customhouse.catalogue.elf import parse_elf
from customhouse.catalogue.packages import Catalogue, catalogue
from customhouse.oci.entry import FileEntry
from tests.catalogue import elves
from tests.catalogue.images import DEBIAN, Link, image, stanza

GO = elves.go_program(
    "go1.22.3 X:boringcrypto",
    "path\tgithub.com/acme/tool/cmd/tool",
    "mod\tgithub.com/acme/tool\t(devel)\t",
    "dep\tgolang.org/x/net\tv0.17.0\th1:abc=",
    "dep\tgithub.com/old/thing\tv1.0.0",
    "=>\tgithub.com/new/thing\tv1.2.0\th1:def=",
    "dep\tgithub.com/here/lib\tv0.3.0",
    "=>\t./lib\t(devel)\t",
    'build\t-ldflags="-s -w -X main.token=hunter2 -X github.com/acme/tool/version.Version=2.1.0"',
)


def found_in(files: dict[str, bytes]) -> Catalogue:
    return catalogue(image(files))


def names(found: Catalogue) -> list[tuple[str, str, str]]:
    return [(each.ecosystem, each.name, each.version) for each in found.packages]


def test_the_modules_of_a_go_program_are_listed_with_their_replacements() -> None:
    found = found_in({"srv/tool": GO})
    assert names(found) == [
        ("Go", "github.com/acme/tool", "v2.1.0"),
        ("Go", "github.com/here/lib", "v0.3.0"),
        ("Go", "github.com/new/thing", "v1.2.0"),
        ("Go", "golang.org/x/net", "v0.17.0"),
        ("Go", "stdlib", "1.22.3"),
    ]
    main, here, new, net, own = found.packages
    assert main.properties["main"] == "true" and main.properties["version_from"] == "ldflags"
    assert here.properties == {"replaces": "github.com/here/lib@v0.3.0 by a folder"}
    assert new.properties == {"replaces": "github.com/old/thing@v1.0.0"}
    assert net.purl == "pkg:golang/golang.org/x/net@v0.17.0" and own.purl == "pkg:golang/stdlib@1.22.3"
    assert found.complete and "hunter2" not in repr(found)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("wide", [True, False])
def test_programs_of_old_go_are_read_through_their_addresses(order: str, wide: bool) -> None:
    lines = ("path\ta.example/b", "mod\ta.example/b\tv1.0.0\t", "dep\tc.example/d\tv0.1.0\t")
    body = elves.go_program_of_old("go1.16.4", *lines, wide=wide, order=order)
    info = golang.build_info(body)
    assert info is not None and (info.go, len(info.dependencies)) == ("go1.16.4", 1)
    assert info.main == golang.Module("a.example/b", "v1.0.0")


def test_a_program_without_sections_still_has_its_build_information() -> None:
    stripped = bytearray(GO)
    stripped[40:48], stripped[58:64] = bytes(8), bytes(6)
    parsed = parse_elf(bytes(stripped))
    assert parsed is not None and parsed.section(golang.SECTION) is None
    assert golang.build_info(bytes(stripped)) == golang.build_info(GO)


def test_a_main_module_without_a_version_stays_without_one_and_the_toolchain_is_not_the_library() -> None:
    plain = elves.go_program("go1.21.0", "path\tx.example/y", "mod\tx.example/y\t(devel)\t")
    tool = elves.go_program("go1.26.8", "path\tcmd/compile", "build\t-ldflags=-X=cmd/x.v=1")
    other = elves.go_program("devel go1.24-0123abcd Tue", "path\tz.example/z", "mod\tz.example/z\tv3.0.0\t")
    assert names(found_in({"a": plain, "b": tool, "c": other})) == [
        ("Go", "stdlib", "1.21.0"),
        ("Go", "toolchain", "1.26.8"),
        ("Go", "x.example/y", "(devel)"),
        ("Go", "z.example/z", "v3.0.0"),
    ]


@pytest.mark.parametrize(
    ("flags", "version"),
    [
        ("-X main.version=1.2.3", "1.2.3"),
        ("-X 'a.example/b/pkg.BuildVersion=v0.9.0-rc1' -w", "v0.9.0-rc1"),
        ('"-s -X=main.Version=v2.0"', "v2.0"),
        ("-X main.goVersion=go1.2.3", ""),
        ("-X main.commit=1.2.3", ""),
        ("-X main.version=dev -X 'main.broken", ""),
        ("", ""),
    ],
)
def test_a_version_among_the_flags_of_the_linker(flags: str, version: str) -> None:
    assert golang.version_in_flags(flags) == version


def test_what_a_package_of_the_distribution_owns_is_its_business() -> None:
    files = {"etc/os-release": DEBIAN, "var/lib/dpkg/status": stanza("tool", "1"), "bin": Link("usr/bin")}
    owned = found_in({**files, "usr/bin/tool": GO, "var/lib/dpkg/info/tool.list": b"/.\n/bin\n/bin/tool\n"})
    assert names(owned) == [("Debian:12", "tool", "1")]
    assert len(found_in({**files, "usr/bin/tool": GO}).packages) == 6


def test_crates_of_an_auditable_program() -> None:
    body = elves.auditable(
        [
            {"name": "app", "version": "0.1.0", "source": "local", "root": True, "dependencies": [1]},
            {"name": "serde", "version": "1.0.200", "source": "crates.io"},
            {"name": "cc", "version": "1.0.90", "source": "crates.io", "kind": "build"},
        ]
    )
    found = found_in({"app": body})
    assert names(found) == [("crates.io", "app", "0.1.0"), ("crates.io", "serde", "1.0.200")]
    assert found.packages[0].properties == {"source": "local", "main": "true"}
    assert found.packages[1].purl == "pkg:cargo/serde@1.0.200"


@pytest.mark.parametrize(
    "section",
    [
        b"no zlib", zlib.compress(b"[]"), zlib.compress(b'{"packages": [{"name": "x"}]}'),
        zlib.compress(b"[" * 100_000), zlib.compress(b'{"packages":[' + b" " * (9 << 20) + b"]}"),
        zlib.compress(b'{"packages":[]}')[:-3],
    ],
    ids=["noise", "list", "half", "deep", "bomb", "cut"],
)  # fmt: skip
def test_a_list_of_crates_that_cannot_be_read_is_a_problem(section: bytes) -> None:
    found = found_in({"app": elves.elf({".text": bytes(5000), ".dep-v0": section})})
    assert not found.packages and [problem.path for problem in found.problems] == ["app"]


DEPS = {
    "runtimeTarget": {"name": ".NETCoreApp,Version=v8.0/linux-x64", "signature": ""},
    "targets": {
        ".NETCoreApp,Version=v8.0": {},
        ".NETCoreApp,Version=v8.0/linux-x64": {
            "App/1.0.0": {"runtime": {"App.dll": {}}},
            "Newtonsoft.Json/12.0.1": {"runtime": {"lib/netstandard2.0/Newtonsoft.Json.dll": {}}},
            "Build.Only/3.0.0": {"dependencies": {}},
            "runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/8.0.1": {"native": {"libcoreclr.so": {}}},
        },
    },
    "libraries": {
        "App/1.0.0": {"type": "project"},
        "Newtonsoft.Json/12.0.1": {"type": "package", "serviceable": True},
        "Build.Only/3.0.0": {"type": "package"},
        "runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/8.0.1": {"type": "runtimepack"},
    },
}


def test_what_a_dotnet_program_brings_is_listed_and_its_own_code_is_not() -> None:
    found = found_in({"app/App.deps.json": json.dumps(DEPS).encode(), "app/packages.lock.json": b"{}"})
    assert names(found) == [
        ("NuGet", "Microsoft.NETCore.App.Runtime.linux-x64", "8.0.1"),
        ("NuGet", "Newtonsoft.Json", "12.0.1"),
    ]
    assert found.packages[1].purl == "pkg:nuget/Newtonsoft.Json@12.0.1"


HALF = b'{"runtimeTarget":"x","targets":{"x":[]},"libraries":{}}'


@pytest.mark.parametrize("raw", [b"", b"{}", b"[" * 100_000, HALF], ids=["empty", "bare", "deep", "half"])
def test_a_deps_json_that_cannot_be_read_is_a_problem(raw: bytes) -> None:
    found = found_in({"a.deps.json": raw})
    assert not found.packages and not found.complete


def program(text: bytes) -> bytes:
    return elves.elf({".rodata": bytes(5000) + text})


PROGRAMS = {
    "usr/local/bin/node": (b"\0node.js/v20.11.1\0", "node", "20.11.1", "node"),
    "usr/local/lib/libpython3.12.so.1.0": (b"\0PYTHONHOME\0/usr/3.12.1\0x3.12.9\0", "python", "3.12.1", "python"),
    "usr/local/bin/python": (b"\0PYTHONHOME\0\x003.13.0rc2\0", "python", "3.13.0rc2", "python"),
    "usr/local/bin/ruby": (b"\0ruby 3.3.1 (2024-04-23 revision c56cd86388) [x86_64]\0", "ruby", "3.3.1", "ruby"),
    "usr/local/bin/perl": (b"\0/usr/local/lib/perl5/5.38.2/x86_64\0", "perl", "5.38.2", ""),
    "usr/local/bin/php": (b"\0X-Powered-By: PHP/8.3.4\0", "php", "8.3.4", "php"),
    "bin/busybox": (b"\0BusyBox v1.36.1 (2024-06-10)\0", "busybox", "1.36.1", ""),
    "opt/lib/libcrypto.so.1.1": (b"\0OpenSSL 1.1.1w  11 Sep 2023\0", "openssl", "1.1.1w", ""),
    "opt/nginx": (b"\0nginx version: nginx/1.25.4\0", "nginx", "1.25.4", "nginx"),
    "opt/httpd": (b"\0Apache/2.4.58 (Unix)\0", "httpd", "2.4.58", "apache"),
    "opt/redis-server": (b"\0A7.2.4buildkitsandbox-1704789012000000000\0", "redis", "7.2.4", "redis"),
    "opt/valkey-server": (b"\0err\x008.0.1\0c11-builtin\0", "valkey", "8.0.1", "valkey"),
    "opt/postgres": (b"\0PostgreSQL 16.2 on x86_64-pc-linux-gnu\0", "postgresql", "16.2", "postgresql"),
    "opt/mariadbd": (b"\x0011.3.2-MariaDB-1:11.3.2\0", "mariadb", "11.3.2", "mariadb"),
    "opt/mysqld": (b"\0/export/mysql-8.0.36/sql\0/mysql-8.0.36/x\0", "mysql", "8.0.36", "mysql-client"),
    "opt/haproxy": (b"\x002.9.6-9eafce5\0\0HAProxy version %s\0", "haproxy", "2.9.6", "haproxy"),
    "opt/memcached": (b"\0memcached 1.6.24\0", "memcached", "1.6.24", "memcached"),
    "opt/consul": (b"\0CONSUL_VERSION: 1.15.2\0", "consul", "1.15.2", "consul"),
    "opt/bash": (b"\0@(#)Bash version 5.2.21(1) release GNU\0", "bash", "5.2.21", ""),
    "opt/curl": (b"\0curl 8.6.0 (%s) %s\0", "curl", "8.6.0", ""),
    "opt/libz.so.1.2.13": (b" deflate 1.2.13 Copyright 1995-2022 Jean-loup Gailly\0", "zlib", "1.2.13", ""),
    "opt/libstd-a5a48102fbd58791.so": (b"\0clang LLVM (rustc version 1.77.0 (aedd173a2))\0", "rust", "1.77.0", ""),
    "opt/erlexec": (b"\0/usr/src/otp_src_26.2.3/erts/etc\0", "erlang", "26.2.3", ""),
}


@pytest.mark.parametrize("path", PROGRAMS)
def test_programs_are_known_by_their_bytes(path: str) -> None:
    text, name, version, bitnami = PROGRAMS[path]
    (package,) = found_in({path: program(text)}).packages
    assert (package.kind, package.version, package.path) == ("binary", version, path)
    assert package.purl == f"pkg:generic/{name}@{version}"
    assert (package.ecosystem, package.name) == (("Bitnami", bitnami) if bitnami else ("", name))


def test_a_name_alone_says_nothing_nor_do_bytes_of_another_name() -> None:
    assert not found_in({"bin/node": program(b"nothing"), "bin/tool": program(b"node.js/v20.11.1\0")}).packages
    assert not found_in({"bin/node": b"#!/bin/sh\n# node.js/v20.11.1\n"}).packages


def test_a_library_of_gigabytes_is_passed_over_and_a_program_of_that_size_is_not() -> None:
    head = elves.elf({})[:256]
    for reader in (golang.READER, rust.READER):
        assert not reader.wants(FileEntry("opt/libtorch_cuda.so", "file", size=1 << 30, head=head))
        assert reader.wants(FileEntry("opt/server", "file", size=1 << 30, head=head))
        assert reader.wants(FileEntry("opt/libsmall.so.1", "file", size=1 << 20, head=head))


def test_a_program_of_several_files_is_one_package() -> None:
    body = program(b"\0PYTHONHOME\0\x003.12.1\0")
    (package,) = found_in({"usr/bin/python3.12": body, "usr/lib/libpython3.12.so.1.0": body}).packages
    assert (package.path, package.locations) == ("usr/bin/python3.12", ("usr/lib/libpython3.12.so.1.0",))


def test_a_jdk_says_its_version_in_a_text_file() -> None:
    said = b'IMPLEMENTOR="Eclipse Adoptium"\nJAVA_VERSION="17.0.9"\nMODULES="java.base"\n'
    (package,) = found_in({"opt/java/openjdk/release": said, "etc/release": b"nothing"}).packages
    assert (package.ecosystem, package.name, package.version) == ("Bitnami", "java", "17.0.9")
    assert package.purl == "pkg:generic/openjdk@17.0.9" and package.supplier == "Eclipse Adoptium"


READERS = (golang.READER, rust.READER, dotnet.READER, binaries.BINARIES, binaries.JDK)
WHOLE = (GO, elves.auditable([{"name": "a", "version": "1"}]), elves.go_program_of_old("go1.2", "path\tx", wide=False))


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(WHOLE), st.data())
def test_no_damage_raises(whole: bytes, data: st.DataObject) -> None:
    raw = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.one_of(st.integers(0, 120), st.integers(4096, len(raw) - 1)))
        raw[place] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    for body in (bytes(raw), cut):
        for reader in READERS:
            assert list(reader.read("opt/python3.12", body)) is not None
