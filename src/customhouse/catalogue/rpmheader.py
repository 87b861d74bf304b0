"""One header of an rpm database: the tags of one installed package.

1. Two counts of four bytes (entries, bytes of the store), the entries of sixteen bytes (tag, type, offset, count), the
   store; all big endian. https://rpm-software-management.github.io/rpm/manual/format_header.html
2. Only the tags of `Header` are read. A tag that points out of the store, or lacks its end, is as if it were absent;
   a header whose counts do not fit its bytes is broken.
3. Budgets: entries, bytes of the store, files of a package, bytes of one text.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from customhouse.catalogue.package import LONGEST_NAME, LONGEST_VERSION, acceptable, plain

MOST_ENTRIES = 65_535
LARGEST_STORE = 256 << 20
MOST_FILES = 500_000
LONGEST_PATH = 4096
_STRING, _STRING_ARRAY, _I18N, _INT32 = 6, 8, 9, 4
_NAME, _VERSION, _RELEASE, _EPOCH = 1000, 1001, 1002, 1003
_VENDOR, _LICENSE, _PACKAGER, _ARCH, _SOURCE_RPM, _MODULE = 1011, 1014, 1015, 1022, 1044, 5096
_DIR_INDEXES, _BASE_NAMES, _DIR_NAMES, _OLD_NAMES = 1116, 1117, 1118, 1027
_TEXTS = (_NAME, _VERSION, _RELEASE, _VENDOR, _LICENSE, _PACKAGER, _ARCH, _SOURCE_RPM, _MODULE)
_READ = frozenset({*_TEXTS, _EPOCH, _DIR_INDEXES, _BASE_NAMES, _DIR_NAMES, _OLD_NAMES})


class BrokenHeader(Exception):
    """These bytes are no header of an rpm package."""


@dataclass(frozen=True)
class Header:
    """What one package says of itself; empty where it does not. `files` is by folder, as rpm stores it: paths without
    the leading slash."""

    name: str
    version: str
    release: str
    epoch: int | None
    architecture: str
    source_rpm: str
    vendor: str
    license: str
    module: str
    files: tuple[tuple[str, tuple[str, ...]], ...] = ()


def parse_header(raw: bytes) -> Header:
    """Raises BrokenHeader."""
    if len(raw) < 8:
        raise BrokenHeader("is shorter than a header")
    count, size = struct.unpack_from(">II", raw)
    if not 0 < count <= MOST_ENTRIES or size > LARGEST_STORE or 8 + 16 * count + size > len(raw):
        raise BrokenHeader("names more entries or bytes than it has")
    base = 8 + 16 * count
    tags: dict[int, tuple[int, int, int]] = {}
    for tag, kind, offset, many in struct.iter_unpack(">IIiI", raw[8:base]):
        if tag in _READ and 0 <= offset < size:
            tags.setdefault(tag, (kind, offset, many))
    store = raw[base : base + size]
    texts = {tag: _text(store, tags[tag]) for tag in _TEXTS if tag in tags}
    name, version, release = (texts.get(tag, "") for tag in (_NAME, _VERSION, _RELEASE))
    known = acceptable(name, LONGEST_NAME) and acceptable(version, LONGEST_VERSION)
    if not known or not (acceptable(release, LONGEST_VERSION) or not release):
        raise BrokenHeader("names no package with a version")
    return Header(
        name=name,
        version=version,
        release=release,
        epoch=next(iter(_numbers(store, tags.get(_EPOCH), 1)), None),
        architecture=_short(texts.get(_ARCH, ""), 32),
        source_rpm=_short(texts.get(_SOURCE_RPM, ""), LONGEST_NAME + LONGEST_VERSION),
        vendor=plain(texts.get(_VENDOR, "") or texts.get(_PACKAGER, "")),
        license=plain(texts.get(_LICENSE, "")),
        module=_short(texts.get(_MODULE, ""), LONGEST_NAME + LONGEST_VERSION),
        files=tuple((folder, tuple(names)) for folder, names in _files(store, tags).items()),
    )


def _text(store: bytes, entry: tuple[int, int, int]) -> str:
    kind, offset, _ = entry
    if kind not in (_STRING, _I18N, _STRING_ARRAY):
        return ""
    end = store.find(b"\0", offset, offset + LONGEST_PATH + 1)
    return store[offset:end].decode("utf-8", "backslashreplace") if end >= 0 else ""


def _numbers(store: bytes, entry: tuple[int, int, int] | None, most: int) -> tuple[int, ...]:
    if entry is None or entry[0] != _INT32:
        return ()
    count = min(entry[2], most)
    if entry[1] + 4 * count > len(store):
        return ()
    return struct.unpack_from(f">{count}I", store, entry[1])


def _array(store: bytes, entry: tuple[int, int, int] | None) -> Iterator[str]:
    if entry is None or entry[0] != _STRING_ARRAY:
        return
    at = entry[1]
    for _ in range(min(entry[2], MOST_FILES)):
        end = store.find(b"\0", at, at + LONGEST_PATH + 1)
        if end < 0:
            return
        yield store[at:end].decode("utf-8", "backslashreplace")
        at = end + 1


def _files(store: bytes, tags: dict[int, tuple[int, int, int]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if _BASE_NAMES in tags:
        folders = [folder.strip("/") for folder in _array(store, tags.get(_DIR_NAMES))]
        indexes = _numbers(store, tags.get(_DIR_INDEXES), MOST_FILES)
        for index, name in zip(indexes, _array(store, tags[_BASE_NAMES]), strict=False):
            if index < len(folders) and name:
                found.setdefault(folders[index], []).append(name)
    else:  # packages made before rpm 4
        for path in _array(store, tags.get(_OLD_NAMES)):
            folder, _, name = path.rpartition("/")
            if name:
                found.setdefault(folder.strip("/"), []).append(name)
    return found


def _short(text: str, longest: int) -> str:
    return text if acceptable(text, longest) else ""
