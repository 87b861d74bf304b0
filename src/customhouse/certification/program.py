"""What an argv means inside an image: which file it starts, and whether the kernel could start it.

A name without a slash is looked for on the image's PATH, one with a slash from the working directory; links are
followed inside the image. An ELF file needs its loader, a script its interpreter.
(execve(2); Linux binfmt_script; ELF-64 and ELF-32 headers.)
"""

import posixpath
import struct
from dataclasses import dataclass
from typing import Literal

from customhouse.oci.config import ImageConfig
from customhouse.oci.image import FileEntry, Filesystem

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MOST_INTERPRETERS = 4

# ELF e_machine, 64-bit, little-endian for the architectures of images (GOARCH names). A 64-bit x86 kernel also runs
# 32-bit x86 programs; no other mixture can be relied on.
_ELF = {
    "amd64": ((62, True, True), (3, False, True)),
    "386": ((3, False, True),),
    "arm64": ((183, True, True),),
    "arm": ((40, False, True),),
    "ppc64le": ((21, True, True),),
    "ppc64": ((21, True, False),),
    "s390x": ((22, True, False),),
    "riscv64": ((243, True, True),),
    "mips64le": ((8, True, True),),
    "mipsle": ((8, False, True),),
    "loong64": ((258, True, True),),
}


@dataclass(frozen=True)
class Elf:
    """`interpreter` is the loader's path, "" for a static program, None if it lies beyond the bytes at hand."""

    machine: int
    wide: bool
    little: bool
    interpreter: str | None


@dataclass(frozen=True)
class Obstacle:
    """Why a program cannot start; `path` is the file at fault. `unknown`: it could not be found out."""

    kind: Literal["missing", "directory", "mode", "format", "architecture", "interpreter", "unknown"]
    path: str
    message: str


def find(name: str, config: ImageConfig, fs: Filesystem) -> str | None:
    """The absolute path that starts when `name` is executed, or None if there is nothing."""
    if "/" in name:
        path = posixpath.join("/", config.workdir, name)
        return path if fs.exists(path) else None
    fallback = None
    for folder in (config.environment.get("PATH") or DEFAULT_PATH).split(":"):
        path = posixpath.join("/", config.workdir, folder, name)
        if fs.executable(path):
            return path
        if fallback is None and fs.exists(path):
            fallback = path
    return fallback


def obstacle(name: str, config: ImageConfig, fs: Filesystem) -> Obstacle | None:
    """What keeps `name` from starting in this image, or None."""
    path = find(name, config, fs)
    if path is None:
        where = "does not exist in the image" if "/" in name else "is nowhere on the image's PATH"
        return Obstacle("missing", name, f"{name} {where}")
    return _startable(path, config, fs, MOST_INTERPRETERS)


def _startable(path: str, config: ImageConfig, fs: Filesystem, depth: int) -> Obstacle | None:
    entry = fs.entry(path)
    if entry is None:
        return Obstacle("missing", path, f"{path} does not exist in the image")
    if entry.kind == "dir":
        return Obstacle("directory", path, f"{path} is a folder")
    if entry.kind not in ("file", "hardlink"):
        return Obstacle("format", path, f"{path} is no regular file but a {entry.kind}")
    if not entry.executable:
        return Obstacle("mode", path, f"{path} has no execute permission (mode {entry.mode:04o})")
    if entry.size and not entry.head:
        return Obstacle("unknown", path, f"the beginning of {path} was not kept")
    if entry.head.startswith(b"\x7fELF"):
        return _elf_obstacle(path, entry, config, fs)
    if entry.head.startswith(b"#!"):
        return _script_obstacle(path, entry, config, fs, depth)
    return Obstacle("format", path, f"{path} is neither an ELF program nor a script that starts with #!")


def _elf_obstacle(path: str, entry: FileEntry, config: ImageConfig, fs: Filesystem) -> Obstacle | None:
    elf = read_elf(entry.head)
    if elf is None:
        return Obstacle("format", path, f"{path} has a broken ELF header")
    expected = _ELF.get(config.architecture)
    if expected is None:
        return Obstacle("unknown", path, f"ELF programs of architecture {config.architecture!r} are not known")
    if (elf.machine, elf.wide, elf.little) not in expected:
        bits = 64 if elf.wide else 32
        found = next((name for name, kinds in _ELF.items() if (elf.machine, elf.wide, elf.little) in kinds), None)
        described = found or f"ELF machine {elf.machine}, {bits} bits"
        return Obstacle("architecture", path, f"{path} is built for {described}, the image is {config.architecture}")
    if elf.interpreter is None:
        return Obstacle("unknown", path, f"the loader of {path} is named beyond the bytes kept")
    if elf.interpreter and not fs.executable(elf.interpreter):
        return Obstacle("interpreter", path, f"{path} needs the loader {elf.interpreter}, which is not in the image")
    return None


def _script_obstacle(path: str, entry: FileEntry, config: ImageConfig, fs: Filesystem, depth: int) -> Obstacle | None:
    line = entry.head[2:].split(b"\n", 1)[0].decode("utf-8", "backslashreplace")
    words = line.split()
    if line.endswith("\r"):
        return Obstacle("interpreter", path, f"the first line of {path} ends in a carriage return")
    if not words or depth == 0:
        return Obstacle("interpreter", path, f"{path} names no usable interpreter after #!")
    below = _startable(posixpath.join("/", config.workdir, words[0]), config, fs, depth - 1)
    if below is None and posixpath.basename(words[0]) == "env":
        # `env -S`, options and assignments come before the program that env looks for on PATH.
        program = next((word for word in words[1:] if not word.startswith("-") and "=" not in word), None)
        below = obstacle(program, config, fs) if program else None
    if below is None or below.kind == "unknown":
        return below
    return Obstacle("interpreter", path, f"{path} starts with #!{line[:80]}, but {below.message}")


def read_elf(head: bytes) -> Elf | None:
    """The part of an ELF header that decides whether a program starts; None if it is broken."""
    if len(head) < 52 or head[4] not in (1, 2) or head[5] not in (1, 2):
        return None
    wide, little = head[4] == 2, head[5] == 1
    order = "<" if little else ">"
    try:
        machine = struct.unpack_from(order + "H", head, 18)[0]
        start = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)[0]
        width, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
    except struct.error:
        return None
    return Elf(machine, wide, little, _loader(head, order, wide, (start, width, count)))


def _loader(head: bytes, order: str, wide: bool, table: tuple[int, int, int]) -> str | None:
    start, width, count = table
    for number in range(count):
        at = start + number * width
        try:
            kind = struct.unpack_from(order + "I", head, at)[0]
            if kind != 3:  # PT_INTERP
                continue
            word = order + ("Q" if wide else "I")
            offset = struct.unpack_from(word, head, at + (8 if wide else 4))[0]
            size = struct.unpack_from(word, head, at + (32 if wide else 16))[0]
        except struct.error:
            return None
        if size > 4096 or offset + size > len(head):
            return None
        return head[offset : offset + size].split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
    return ""
