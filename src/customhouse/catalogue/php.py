"""PHP packages: Composer's `vendor/composer/installed.json` and the registry of PEAR and PECL (`.registry/**/*.reg`).

1. installed.json is a list (Composer 1) or an object with `packages` (Composer 2). Names are compared in lower case; a
   leading v of a version is dropped. composer.lock says what is asked for and does not count.
2. A .reg file is a serialised PHP value. It is read by a reader of data alone, with bounds: no object is made of it.
3. WordPress: plugins by the header of their main file, the program itself by `wp-includes/version.php`.
"""

import re
from collections.abc import Iterator

import msgspec

from customhouse.catalogue.cataloguer import Cataloguer
from customhouse.catalogue.language import Fact, LanguageReader, Unreadable, packages, problem, stated
from customhouse.catalogue.package import LARGEST_DATABASE

MOST_VALUES = 200_000
DEEPEST = 40
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_.-]*)/[a-z0-9](?:[a-z0-9_.-]*)")
_PLUGIN = re.compile(r"(?:.*/)?wp-content/plugins/([^/]+)/([^/]+)\.php")
_HEADER = re.compile(rb"^[ \t/*#@]{0,20}(Plugin Name|Version|License|Author):[ \t]{0,20}([^\r\n]{1,200})", re.MULTILINE)
_CORE = re.compile(rb"^\$wp_version\s{0,20}=\s{0,20}'([0-9][^']{0,60})'", re.MULTILINE)
_SCALAR = re.compile(rb"(?:b:[01]|i:-?\d{1,20}|d:[-+0-9.eEINFA]{1,40}|N);")
_LENGTH = re.compile(rb"([as]):(\d{1,9}):")


def is_evidence(path: str) -> bool:
    """Does a file at this path say that PHP packages are installed?"""
    if path.endswith(".json"):
        return path.endswith("/composer/installed.json") or path == "composer/installed.json"
    if path.endswith(".reg"):
        return "/.registry/" in path
    return path.endswith(".php") and (path.endswith("wp-includes/version.php") or _PLUGIN.fullmatch(path) is not None)


def parse_installed(raw: bytes) -> Iterator[Fact]:
    """The packages of an installed.json. Raises Unreadable."""
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Unreadable("is no JSON") from error
    developed: list[object] = []
    if isinstance(document, dict):
        named = document.get("dev-package-names")
        developed = named if isinstance(named, list) else []
        document = document.get("packages")
    if not isinstance(document, list):
        raise Unreadable("lists no packages")
    dev = {name for name in developed if isinstance(name, str)}
    for each in document:
        if not isinstance(each, dict):
            raise Unreadable("lists what is no package")
        name, version, licenses = each.get("name"), each.get("version"), each.get("license")
        if not (isinstance(name, str) and isinstance(version, str) and _NAME.fullmatch(name.lower())):
            yield problem("lists a package without name or version")
            continue
        namespace, _, short = name.lower().partition("/")
        yield stated(
            "composer",
            short,
            version.removeprefix("v"),
            namespace=namespace,
            licenses=licenses if isinstance(licenses, list) else [licenses],
            development="yes" if name in dev else "",
        )


def parse_registry(raw: bytes) -> Fact:
    """The PEAR or PECL package of a .reg file. Raises Unreadable."""
    value = unserialized(raw)
    if not isinstance(value, dict):
        raise Unreadable("names no package")
    version = value.get("version")
    version = version.get("release") if isinstance(version, dict) else version
    name = value.get("name", value.get("package"))
    channel = value.get("channel")
    license_ = value.get("license")
    license_ = license_.get("_content") if isinstance(license_, dict) else license_
    if not (isinstance(name, str) and isinstance(version, str)):
        raise Unreadable("names no package with a version")
    channel = channel if isinstance(channel, str) else "pear.php.net"
    return stated("pear", name, version, namespace=channel, licenses=[license_])


def unserialized(raw: bytes) -> object:
    """A serialised PHP value of texts, numbers and arrays; numbers are answered as None. Raises Unreadable."""
    return _Serialized(raw).value(0)[0]


class _Serialized:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._values = 0

    def value(self, at: int, depth: int = 0) -> tuple[object, int]:
        self._values += 1
        if depth > DEEPEST or self._values > MOST_VALUES:
            raise Unreadable("holds more than is read")
        scalar = _SCALAR.match(self._raw, at)
        if scalar is not None:
            return None, scalar.end()
        length = _LENGTH.match(self._raw, at)
        if length is None:
            raise Unreadable("is no serialised array of PHP")
        if length[1] == b"s":
            return self._text(length.end(), int(length[2]))
        if self._raw[length.end() : length.end() + 1] != b"{":
            raise Unreadable("is no serialised array of PHP")
        at = length.end() + 1
        found: dict[object, object] = {}
        for _ in range(int(length[2])):
            key, at = self.value(at, depth + 1)
            item, at = self.value(at, depth + 1)
            if isinstance(key, str):
                found[key] = item
        if self._raw[at : at + 1] != b"}":
            raise Unreadable("is no serialised array of PHP")
        return found, at + 1

    def _text(self, at: int, length: int) -> tuple[str, int]:
        end = at + 1 + length
        if self._raw[at : at + 1] != b'"' or self._raw[end : end + 2] != b'";':
            raise Unreadable("is no serialised array of PHP")
        return self._raw[at + 1 : end].decode("utf-8", "replace"), end + 2


def _parse(path: str, raw: bytes) -> Iterator[Fact]:
    if path.endswith(".json"):
        yield from parse_installed(raw)
    elif path.endswith(".reg"):
        yield parse_registry(raw)
    elif path.endswith("wp-includes/version.php"):
        core = _CORE.search(raw[: 1 << 16])
        if core is not None:
            yield stated("wordpress", "wordpress", core[1].decode("utf-8", "replace"))
    else:
        yield from _plugin(path, raw)


def _plugin(path: str, raw: bytes) -> Iterator[Fact]:
    # WordPress itself reads the first 8 KiB of each file for this header.
    said = {key.decode(): value.decode("utf-8", "replace").strip() for key, value in _HEADER.findall(raw[:8192])}
    place = _PLUGIN.fullmatch(path)
    if place is not None and said.get("Plugin Name") and said.get("Version"):
        yield stated(
            "wordpress-plugin",
            place[1],
            said["Version"],
            licenses=[said.get("License")],
            supplier=said.get("Author"),
            title=said["Plugin Name"],
        )


READER = LanguageReader("php", 1, is_evidence, _parse, LARGEST_DATABASE)
CATALOGUER = Cataloguer("php", packages(READER), readers=(READER,))
