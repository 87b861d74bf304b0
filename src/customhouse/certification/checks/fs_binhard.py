"""FS-BINHARD: programs are built with the usual protections: position-independent, stack not executable, relocations
read-only.

Judged by the ELF header and program headers, which say this much; whether a canary guards each function they do not
say. A static program without relocations needs no RELRO.
(ELF: e_type ET_EXEC 2, ET_DYN 3; PT_GNU_STACK, PT_GNU_RELRO.)
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from customhouse.certification.check import Check, Failure, NotApplicable, Subject, whole_filesystem
from customhouse.certification.checks._files import UNREAD, at_file, grouped, named
from customhouse.certification.findings import JSON, Severity
from customhouse.oci.image import FileEntry

_EXEC, _DYN = 2, 3
_GNU_STACK, _GNU_RELRO, _DYNAMIC = 0x6474E551, 0x6474E552, 2
MOST_HEADERS = 64


@dataclass(frozen=True)
class Protections:
    """What the headers say; `dynamic`: the file has relocations of its own, so that RELRO means something."""

    position_independent: bool
    stack_executable: bool
    relro: bool
    dynamic: bool


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    read: dict[str, tuple[FileEntry, Protections]] = {}
    for entry in whole_filesystem(subject).walk():
        if entry.executable and entry.head.startswith(b"\x7fELF"):
            found = protections(entry.head)
            if found is not None:
                read[entry.path] = entry, found
    if not read:
        raise NotApplicable("there is no ELF program in the image")
    stacks = (
        Failure(f"/{path} asks for an executable stack", at_file(subject, entry), Severity.MEDIUM)
        for path, (entry, found) in read.items()
        if found.stack_executable
    )
    yield from named(stacks, "programs with an executable stack")
    for key, entries, message in (
        ("pie", [entry for entry, said in read.values() if not said.position_independent], "not position-independent"),
        ("relro", [entry for entry, said in read.values() if said.dynamic and not said.relro], "without RELRO"),
    ):
        if entries:
            said = f"{len(entries)} programs are {message}, e.g. /{entries[0].path}"
            yield Failure(said, grouped(subject, key, entries))


def protections(head: bytes) -> Protections | None:
    """The protections that an ELF file's first bytes tell, or None if its program headers do not lie in them."""
    if len(head) < 64 or head[4] not in (1, 2) or head[5] not in (1, 2):
        return None
    wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
    kind = struct.unpack_from(order + "H", head, 16)[0]
    start = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)[0]
    width, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
    if kind not in (_EXEC, _DYN) or count > MOST_HEADERS or start + width * count > len(head) or width < 32:
        return None
    flags: dict[int, int] = {}
    for number in range(count):
        at = start + number * width
        segment = struct.unpack_from(order + "I", head, at)[0]
        flags[segment] = struct.unpack_from(order + "I", head, at + (4 if wide else 24))[0]
    # Without PT_GNU_STACK the kernel decides; static programs of some compilers lack it and ask for nothing.
    return Protections(
        position_independent=kind == _DYN,
        stack_executable=bool(flags.get(_GNU_STACK, 0) & 1),
        relro=_GNU_RELRO in flags,
        dynamic=_DYNAMIC in flags,
    )


CHECK = Check(
    id="FS-BINHARD",
    title="Programs are built with the usual protections",
    why="They turn many memory errors from code execution into a crash.",
    remedy="Build with -fPIE -pie, -Wl,-z,relro,-z,now,-z,noexecstack, the defaults of current distributions (Go: "
    "-buildmode=pie, where the image has a loader).",
    severity=Severity.LOW,
    evaluate=evaluate,
    sources=("checksec",),
    not_applicable="there is no ELF program in the image",
    not_evaluable=UNREAD,
)
