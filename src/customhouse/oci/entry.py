"""One name in a layer or in the merged filesystem, and one thing in a layer that a publisher must not ship."""

from collections.abc import Mapping
from typing import Literal

import msgspec

Kind = Literal["file", "dir", "symlink", "hardlink", "char", "block", "fifo"]
HEAD_BYTES = 256
ELF_HEAD_BYTES = 4096
NO_XATTRS: Mapping[str, bytes] = {}


class FileEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`path` has no leading slash and "" is the root; bytes that are no UTF-8 are written as backslash escapes.
    `mode` holds the permission bits with setuid, setgid and sticky; `mtime` is whole seconds since 1970; `link` is the
    target as written in the tar. `head` is the first 256 bytes (4096 of an ELF file) of regular files that are
    executable, ELF or start with `#!`, as far as the budget for heads goes, else empty.
    A large image has hundreds of thousands of these: msgspec makes them ten times as fast as a frozen dataclass is.
    In the merged view a hard link carries size, mode, owner and head of its target."""

    path: str
    kind: Kind
    size: int = 0
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    link: str = ""
    layer: int = 0
    mtime: int = 0
    xattrs: Mapping[str, bytes] = msgspec.field(default_factory=lambda: NO_XATTRS)
    head: bytes = b""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def executable(self) -> bool:
        """A regular file with any execute bit."""
        return self.kind in ("file", "hardlink") and bool(self.mode & 0o111)


class Violation(msgspec.Struct, frozen=True, array_like=True):
    """Something about one name in one layer that must not be. `kind` is a short stable word, `value` what was seen."""

    kind: str
    path: str
    message: str
    value: str = ""
