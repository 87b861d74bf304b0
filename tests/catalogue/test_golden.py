"""Two whole images and all that the catalogue says of them, as golden files: `golden/*.json`.

After a wanted change: `CUSTOMHOUSE_GOLDEN=write pytest tests/catalogue/test_golden.py`, and read the difference."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from customhouse.catalogue.packages import catalogue
from tests.catalogue import elves, rpms
from tests.catalogue.images import ALPINE, Layer, Link, image, metadata

GOLDEN = Path(__file__).parent / "golden"
ALMA = b'ID="almalinux"\nVERSION_ID="9.4"\nPRETTY_NAME="AlmaLinux 9.4 (Seafoam Ocelot)"\n'
GLIBC = rpms.header(
    "glibc", "2.34", "100.el9_4.2", source="glibc-2.34-100.el9_4.2.src.rpm", vendor="AlmaLinux",
    license="LGPLv2+ and GPLv2+", files=["/lib64/libc.so.6", "/etc/ld.so.conf"],
)  # fmt: skip
OPENSSL = rpms.header(
    "openssl-libs", "3.0.7", "27.el9", epoch=1, source="openssl-3.0.7-27.el9.src.rpm", vendor="AlmaLinux",
    license="ASL 2.0", files=["/usr/lib64/libssl.so.3"],
)  # fmt: skip
NEWER = rpms.header(
    "openssl-libs", "3.0.7", "28.el9_4", epoch=1, source="openssl-3.0.7-28.el9_4.src.rpm", vendor="AlmaLinux",
    license="ASL 2.0", files=["/usr/lib64/libssl.so.3"],
)  # fmt: skip
NODE = rpms.header(
    "nodejs", "18.20.2", "1.module_el9", epoch=1, source="nodejs-18.20.2-1.module_el9.src.rpm", vendor="AlmaLinux",
    license="MIT", module="nodejs:18:9040020240402:rhel9", files=["/usr/bin/node"],
)  # fmt: skip
SIX = rpms.header(
    "python3-six", "1.15.0", "9.el9", arch="noarch", source="python-six-1.15.0-9.el9.src.rpm", vendor="AlmaLinux",
    files=["/usr/lib/python3.9/site-packages/six-1.15.0-py3.9.egg-info/PKG-INFO"],
)  # fmt: skip
KEY = rpms.header("gpg-pubkey", "b86b3716", "61e69f29", arch="")
LIBC = elves.elf({".rodata": bytes(5000) + b"GNU C Library (GNU libc) stable release version 2.34."})
TOOL = elves.go_program(
    "go1.22.3", "path\tacme.example/tool", "mod\tacme.example/tool\tv1.0.0\t", "dep\tgolang.org/x/net\tv0.17.0\t"
)
NODE_PROGRAM = elves.elf({".rodata": bytes(5000) + b"\0node.js/v18.20.2\0"})
RPM: Sequence[Layer] = (
    {
        "etc/os-release": ALMA, "lib64": Link("usr/lib64"),
        "var/lib/rpm/rpmdb.sqlite": rpms.sqlite([GLIBC, OPENSSL, KEY]), "usr/lib64/libc.so.6": LIBC,
    },
    {
        "var/lib/rpm/rpmdb.sqlite": rpms.sqlite([GLIBC, NEWER, NODE, SIX, KEY]), "usr/bin/node": NODE_PROGRAM,
        "usr/lib/python3.9/site-packages/six-1.15.0-py3.9.egg-info/PKG-INFO": metadata("six", "1.15.0"),
    },
    {"opt/app/bin/node": NODE_PROGRAM, "opt/app/site-packages/flask-3.0.dist-info/METADATA": metadata("flask", "3.0")},
)  # fmt: skip

INSTALLED = (
    b"P:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\nm:Timo <t@alpine.example>\nF:lib\nR:ld-musl-x86_64.so.1\n\n"
    b"P:libcrypto3\nV:3.3.2-r0\nA:x86_64\nL:Apache-2.0\no:openssl\nF:usr/lib\nR:libcrypto.so.3\n\n"
)
ADDED = (
    b"P:py3-six\nV:1.16.0-r9\nA:noarch\nL:MIT\no:py3-six\nF:usr/lib/python3.12/site-packages/six-1.16.0.dist-info\n"
    b"R:METADATA\n\n"
)
APK: Sequence[Layer] = (
    {"etc/os-release": ALPINE, "lib/apk/db/installed": INSTALLED, "etc/apk/world": b"musl\n"},
    {
        "lib/apk/db/installed": INSTALLED + ADDED,
        "usr/lib/python3.12/site-packages/six-1.16.0.dist-info/METADATA": metadata("six", "1.16.0"),
    },
    {
        "usr/local/bin/tool": TOOL,
        "srv/node_modules/left-pad/package.json": b'{"name": "left-pad", "version": "1.3.0", "license": "WTFPL"}',
        "usr/local/bin/busybox": elves.elf({".rodata": bytes(5000) + b"BusyBox v1.36.1 (2024)"}),
    },
)


@pytest.mark.parametrize(("name", "layers"), [("rpm", RPM), ("apk", APK)], ids=["rpm", "apk"])
def test_the_whole_catalogue_is_as_it_was(name: str, layers: Sequence[Layer]) -> None:
    found = catalogue(image(*layers))
    said: dict[str, Any] = {
        "distro": found.distro and asdict(found.distro),
        "problems": [str(problem) for problem in found.problems],
        "packages": [{k: v for k, v in vars(package).items() if v or k == "layer"} for package in found.packages],
        "owners": {path: owner.name for path, owner in sorted(found.owners.items())},
    }
    said["packages"] = [{**each, "properties": dict(each.get("properties", {}))} for each in said["packages"]]
    text = json.dumps(said, indent=1, sort_keys=True, default=list) + "\n"
    path = GOLDEN / f"{name}.json"
    if os.environ.get("CUSTOMHOUSE_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()
