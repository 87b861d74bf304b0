"""Fuzzing what the checks read themselves: build steps, command lines, ELF headers, lists of repositories."""

from collections.abc import Iterator

from customhouse.catalogue.distro import Distro
from customhouse.certification.checks import fs_trust, his_pin, his_pipeshell, his_style, pkg_mixed
from customhouse.certification.checks._history import Ran
from customhouse.certification.checks.fs_binhard import protections
from customhouse.certification.history import build_history, called, instruction, shown
from customhouse.oci.config import History, ImageConfig

DISTROS = (Distro("debian", "12"), Distro("alpine", "3.20.1"))


def steps(data: bytes) -> bool:
    """A history of one line for each line of the input; accepted when a step could be read."""
    text = data.decode("utf-8", "surrogateescape")
    lines = tuple(History(created_by=line, empty_layer=line.endswith(" ")) for line in text.split("\0"))
    read = build_history(ImageConfig("linux", "amd64", history=lines), len(lines))
    assert len(read.steps) <= len(lines)
    for step in read.steps:
        calls = [Ran(step, call) for call in called(step.text) or ()]
        for call in calls:
            assert isinstance(call.verb()[0], str) and call.name == call.words[0].rpartition("/")[2]
        found = [*his_pipeshell._unchecked(calls), *his_style._rules(step, calls)]
        assert all(key and message for key, message in found)
        assert all(isinstance(his_pin._loose(call)[1], list) for call in calls)
    assert len(shown(text)) <= 400
    return any(instruction(line.created_by) is not None for line in lines)


def step_seeds() -> Iterator[bytes]:
    yield b"/bin/sh -c #(nop) ADD file:" + b"0" * 64 + b" in / \0/bin/sh -c #(nop)  CMD [\"sh\"] "
    yield b"RUN |1 A=b c /bin/bash -o pipefail -c set -eux; apt-get update && apt-get install -y curl # buildkit"
    yield b"RUN /bin/sh -c curl -fsSLk https://a.example/x | sudo sh -s -- y && pip install a b==1 # buildkit"
    yield b"COPY --chown=1:1 a /b # buildkit\0RUN /bin/sh -c npm config set strict-ssl false; ln -s /bin/bash /bin/sh"
    yield b"RUN /bin/sh -c sh -c 'env A=b sudo -u x apk add --virtual .x gcc'"


def lists(data: bytes) -> bool:
    """Settings of package managers, and the headers of an ELF file; accepted when anything was seen in them."""
    text = data.decode("utf-8", "replace")
    seen = [bool(pkg_mixed._foreign(text, distro, "bookworm")) for distro in DISTROS]
    seen += [any(pattern.finditer(text)) for _, pattern in fs_trust.SETTINGS]
    return any(seen) or protections(data) is not None


def list_seeds() -> Iterator[bytes]:
    yield b"deb [trusted=yes] http://deb.example/debian sid main\n"
    yield b"Types: deb\nSuites: trixie bookworm\nTrusted: yes\n"
    yield b"https://dl.example/alpine/edge/main\nhttp://dl.example/v3.20/main\n"
    yield b'APT::Get::AllowUnauthenticated "true";\ngpgcheck=0\nstrict-ssl=false\n'
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00" + bytes(12) + (64).to_bytes(8, "little") + bytes(12)
    yield head + b"\x40\x00\x38\x00\x01\x00" + bytes(6) + b"\x51\xe5\x74\x64\x07" + bytes(51)


def read(data: bytes) -> bool:
    """Both ways of looking at the same bytes."""
    return steps(data) | lists(data)


def seeds() -> Iterator[bytes]:
    yield from step_seeds()
    yield from list_seeds()
