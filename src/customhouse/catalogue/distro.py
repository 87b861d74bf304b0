"""Which distribution, and which release of it, an image is made from.

1. `etc/os-release`, then `usr/lib/os-release`, then, for releases that had neither, `etc/lsb-release`,
   `etc/redhat-release`, `etc/alpine-release`, `etc/debian_version`. The reader that is passed in follows symbolic links
   inside the image only.
2. The file is data, not shell: quotes and backslashes are undone, nothing is expanded.
   https://www.freedesktop.org/software/systemd/man/latest/os-release.html
3. OSV's ecosystem follows from id and release, as https://ossf.github.io/osv-schema/#defined-ecosystems names it; a
   distribution that OSV does not have is named by its own id. A derivative (ID_LIKE) keeps its own name: advisories of
   its parent are not true for its packages.
4. OSV files Red Hat's flaws under product streams (`Red Hat:enterprise_linux:9::appstream`); the ecosystem here is what
   these have in common, without the stream.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

Reader = Callable[[str], bytes | None]

OS_RELEASE = ("etc/os-release", "usr/lib/os-release")
FILES = (*OS_RELEASE, "etc/alpine-release", "etc/debian_version", "etc/lsb-release", "etc/redhat-release")
LARGEST = 64 << 10
_LINE = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~+-]{0,63}")
_PURL_NAMESPACES = {"rhel": "redhat", "opensuse-leap": "opensuse", "opensuse-tumbleweed": "opensuse", "sles": "suse"}
_FAMILIES = {
    "dpkg": frozenset({"debian", "ubuntu"}),
    "apk": frozenset({"alpine", "wolfi", "chainguard", "postmarketos", "alpaquita", "minimos"}),
    "rpm": frozenset(
        {"almalinux", "amzn", "azurelinux", "centos", "fedora", "mageia", "mariner", "ol", "openeuler", "opensuse"}
        | {"opensuse-leap", "opensuse-tumbleweed", "photon", "rhel", "rocky", "sled", "sles", "suse"}
    ),
    "opkg": frozenset({"openwrt"}),
}
_REDHAT_IDS = {
    "centos": "centos", "red hat": "rhel", "fedora": "fedora", "almalinux": "almalinux", "rocky": "rocky",
}  # fmt: skip
_REDHAT = re.compile(
    r"(CentOS|Red Hat|Fedora|AlmaLinux|Rocky)[A-Za-z ]{0,40} release ([0-9]{1,3}(?:\.[0-9]{1,4}){0,2})", re.IGNORECASE
)
_BY_MAJOR = {
    "almalinux": "AlmaLinux", "rocky": "Rocky Linux", "rhel": "Red Hat:enterprise_linux", "mageia": "Mageia",
    "azurelinux": "Azure Linux", "mariner": "Azure Linux", "alpaquita": "Alpaquita",
}  # fmt: skip
_ROLLING = {
    "wolfi": "Wolfi",
    "chainguard": "Chainguard",
    "minimos": "MinimOS",
    "opensuse-tumbleweed": "openSUSE:Tumbleweed",
}


@dataclass(frozen=True)
class Distro:
    """A release of a distribution; `version_id` is empty where the release has no number (development)."""

    id: str
    version_id: str = ""
    pretty: str = ""
    like: tuple[str, ...] = ()
    path: str = ""

    @property
    def family(self) -> str:
        """The package database this distribution keeps: "dpkg", "apk", "rpm" or "" if we do not know."""
        for name in (self.id, *self.like):
            for family, members in _FAMILIES.items():
                if name in members:
                    return family
        return ""

    @property
    def ecosystem(self) -> str:
        """OSV's name for the packages of this release, e.g. `Debian:12`, `Alpine:v3.20`, `Ubuntu:22.04:LTS`."""
        major = self.version_id.split(".")[0]
        if self.id == "debian":
            return f"Debian:{major or 'unstable'}"
        if self.id == "ubuntu":
            return f"Ubuntu:{self.version_id}{':LTS' if self.long_term else ''}"
        if self.id == "alpine":
            found = re.fullmatch(r"([0-9]+\.[0-9]+)(\.[0-9]+)?", self.version_id)
            return f"Alpine:v{found[1]}" if found else "Alpine:edge"
        if self.id in _BY_MAJOR and major:
            return f"{_BY_MAJOR[self.id]}:{major}"
        if self.id in _ROLLING:
            return _ROLLING[self.id]
        return self._by_title() or self._own_name

    @property
    def _own_name(self) -> str:
        return f"{self.id}:{self.version_id}" if self.version_id else self.id

    def _by_title(self) -> str:
        """The names that OSV takes from PRETTY_NAME."""
        if self.id in ("sles", "sled") and self.pretty.startswith("SUSE "):
            return f"SUSE:{self.pretty.removeprefix('SUSE ')}"
        if self.id == "opensuse-leap" and self.version_id:
            return f"openSUSE:Leap {self.version_id}"
        if self.id == "photon" and self.version_id:
            return f"Photon OS:{self.version_id}"
        found = re.fullmatch(r"openEuler ([0-9.]+) ?\(?([A-Za-z0-9-]*)\)?", self.pretty)
        if self.id == "openeuler" and found:
            return f"openEuler:{found[1]}{'-' + found[2] if found[2] else ''}"
        return ""

    @property
    def long_term(self) -> bool:
        """Ubuntu's long-term releases are those of April of even years (14.04, 16.04, …)."""
        found = re.fullmatch(r"([0-9]{2})\.04", self.version_id)
        return self.id == "ubuntu" and found is not None and int(found[1]) % 2 == 0

    @property
    def purl_namespace(self) -> str:
        return _PURL_NAMESPACES.get(self.id, self.id)

    @property
    def tag(self) -> str:
        """The `distro` qualifier of a package URL."""
        return f"{self.id}-{self.version_id}" if self.version_id else self.id

    def __str__(self) -> str:
        return self.pretty or self.tag


def detect(read: Reader) -> Distro | None:
    """The distribution of an image, or None where nothing names one."""
    for path in OS_RELEASE:
        raw = read(path)
        if raw:
            fields = parse_os_release(raw)
            if fields.get("ID"):
                return _from_fields(fields, path, read)
    older = _from_lsb(read("etc/lsb-release")) or _from_redhat(read("etc/redhat-release"))
    if older is not None:
        return older
    release = _first_word(read("etc/alpine-release"))
    if release:
        return Distro("alpine", release, f"Alpine Linux {release}", path="etc/alpine-release")
    release = _first_word(read("etc/debian_version"))
    if release:
        number = release.split(".")[0] if release[0].isdigit() else ""
        return Distro("debian", number, f"Debian {release}", path="etc/debian_version")
    return None


def parse_os_release(raw: bytes) -> dict[str, str]:
    """The assignments of an os-release file; a line that is none is passed over."""
    fields: dict[str, str] = {}
    for line in raw[:LARGEST].decode("utf-8", "replace").splitlines():
        found = _LINE.fullmatch(line.strip())
        if found:
            fields[found[1]] = _unquoted(found[2])
    return fields


def _from_fields(fields: dict[str, str], path: str, read: Reader) -> Distro | None:
    name = fields["ID"].lower()
    if not _ID.fullmatch(name):
        return None
    release = fields.get("VERSION_ID", "")
    if not _RELEASE.fullmatch(release):
        release = ""
    if not release and name == "debian":  # images made before a release carry its number in debian_version only
        word = _first_word(read("etc/debian_version"))
        release = word.split(".")[0] if word[:1].isdigit() else ""
    like = tuple(word for word in fields.get("ID_LIKE", "").lower().split() if _ID.fullmatch(word))[:8]
    pretty = "".join(c for c in fields.get("PRETTY_NAME", "") if c.isprintable())[:120]
    return Distro(name, release, pretty, like, path)


def _from_lsb(raw: bytes | None) -> Distro | None:
    fields = parse_os_release(raw or b"")
    name, release = fields.get("DISTRIB_ID", "").lower(), fields.get("DISTRIB_RELEASE", "")
    if not _ID.fullmatch(name) or not _RELEASE.fullmatch(release):
        return None
    pretty = "".join(c for c in fields.get("DISTRIB_DESCRIPTION", "") if c.isprintable())[:120]
    return Distro(name, release, pretty, path="etc/lsb-release")


def _from_redhat(raw: bytes | None) -> Distro | None:
    line = (raw or b"")[:256].decode("utf-8", "replace").split("\n")[0]
    found = _REDHAT.match(line)
    if found is None:
        return None
    pretty = "".join(c for c in line if c.isprintable())[:120]
    return Distro(_REDHAT_IDS[found[1].lower()], found[2], pretty, path="etc/redhat-release")


def _first_word(raw: bytes | None) -> str:
    words = (raw or b"")[:256].decode("utf-8", "replace").split()
    return words[0] if words and _RELEASE.fullmatch(words[0].split("/")[0]) else ""


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] == "'":
        return value[1:-1]
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value
