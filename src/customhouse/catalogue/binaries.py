"""Programs that no package manager installed, known by their file name and by a version they carry in their bytes.

1. A rule names files and looks for a fixed text in them; the version is read by a bounded pattern from a small window
   about each place of that text. The first version that fits is it. A file in which none fits says nothing.
2. Only programs and shared libraries (ELF) are looked at. JDKs say their version in the text file `release`.
3. Where OSV's Bitnami records follow the same upstream versions, the ecosystem is `Bitnami` and `source_name` its name;
   of the others nobody publishes flaws in a form we read: they have no ecosystem.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from customhouse.catalogue.cataloguer import Cataloguer, Evidence
from customhouse.catalogue.elf import LARGEST_PROGRAM, MAGIC, huge_library
from customhouse.catalogue.package import LONGEST_VERSION, Package, acceptable, plain, purl
from customhouse.oci.entry import FileEntry
from customhouse.oci.reader import JSON

KNOWN = "Bitnami"
LARGEST_RELEASE = 64 << 10
MOST_PLACES = 500
_V3 = rb"[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,6}"


@dataclass(frozen=True)
class Look:
    """`text` is searched; `pattern` must match in the window from `before` bytes ahead of it to `after` behind."""

    text: bytes
    pattern: re.Pattern[bytes]
    before: int = 0
    after: int = 160

    def version(self, body: bytes) -> str:
        at = body.find(self.text)
        for _ in range(MOST_PLACES):
            if at < 0:
                break
            found = self.pattern.search(body, max(0, at - self.before), at + len(self.text) + self.after)
            if found:
                return found[1].decode("ascii", "replace")
            at = body.find(self.text, at + 1)
        return ""


@dataclass(frozen=True)
class Rule:
    """A program: files of these names (fullmatch), ways to its version in order, and Bitnami's name for it."""

    package: str
    files: re.Pattern[str]
    looks: tuple[Look, ...]
    bitnami: str = ""


def _rule(package: str, files: str, *looks: Look, bitnami: str = "") -> Rule:
    return Rule(package, re.compile(files), looks, bitnami)


def _after(text: bytes, pattern: bytes, after: int = 64) -> Look:
    """The version follows the text."""
    return Look(text, re.compile(re.escape(text) + pattern), 0, after)


def _before(pattern: bytes, text: bytes, before: int = 48) -> Look:
    """The version stands ahead of the text."""
    return Look(text, re.compile(pattern + re.escape(text)), before, 0)


_OPENSSL = (
    rb"([0-9]\.[0-9]{1,2}\.[0-9]{1,3}[a-z]{0,2}(?:-(?:alpha|beta)[0-9]{1,2})?)[-a-z0-9]{0,20} {1,2}[0-9]{1,2} [A-Z]"
)
_REDIS = (
    Look(b"-1", re.compile(rb"[^0-9.](" + _V3 + rb")[A-Za-z][A-Za-z0-9_.]{1,62}-[0-9]{9,20}"), 90, 24),  # its build id
    _before(rb"\x00(" + _V3 + rb")\x00[a-z0-9]{1,8}", b"-builtin", 40),
)
_RUBY = rb"([0-9]\.[0-9]{1,2}\.[0-9]{1,3}(?:preview[0-9]|rc[0-9]|dev)?)(?:p[0-9]{1,4})? \(20[0-9]{2}-"
_PHP = rb"([0-9]\.[0-9]{1,2}\.[0-9]{1,3}(?:-?(?:alpha|beta|RC)[0-9]{1,2})?)"
_PERL = rb"(5\.[0-9]{1,2}\.[0-9]{1,2})[/\x00]"
_MARIADB = rb"([0-9]{1,2}\.[0-9]{1,2}\.[0-9]{1,3})"
_MYSQL = rb"([0-9]\.[0-9]{1,2}\.[0-9]{1,3}(?:-rc[0-9]?)?)[-/+]"
_CURL = rb"([0-9]{1,2}\.[0-9]{1,3}\.[0-9]{1,3}(?:-DEV)?)[ \x00(]"
_POSTGRES = rb"([0-9]{1,2}(?:\.[0-9]{1,2}){0,2}(?:(?:alpha|beta|rc)[0-9]{1,2})?) (?:\(|on )"
_HAPROXY = rb"([0-9]\.[0-9]{1,2}(?:\.|-dev|-rc)[0-9]{1,3})"
_OTP = rb"/(?:otp[-_](?:src_)?|erlang-)([0-9]{2}\.[0-9]{1,2}(?:\.[0-9]{1,3}){0,3}(?:-rc[0-9])?)[^/]{0,12}"
_ZLIB = rb" deflate (1\.[0-9]{1,2}(?:\.[0-9]{1,3}){0,2}) Copyright"
_LIBC = rb"stable release version ([0-9]\.[0-9]{1,3})[.,]"
_RUSTC = rb"([0-9]\.[0-9]{1,3}\.[0-9]{1,3}(?:-(?:nightly|beta[.0-9]{0,4}))?)"
_SO = r"\.so(?:\..*)?"

RULES: tuple[Rule, ...] = (
    _rule("python", r"python(?:[23](?:\.[0-9]{1,2})?)?|libpython[23]\.[0-9]{1,2}[a-z]?" + _SO, bitnami="python"),
    _rule("node", r"node|nodejs|libnode" + _SO, _after(b"node.js/v", rb"(" + _V3 + rb")"), bitnami="node"),
    _rule("ruby", r"ruby[0-9.]*|libruby(?:-[0-9.]+)?" + _SO, _after(b"ruby ", _RUBY), bitnami="ruby"),
    _rule(
        "perl", r"perl(?:5[0-9.]*)?|libperl" + _SO,
        _after(b"/lib/perl5/", _PERL), _after(b"/perl5/site_perl/", _PERL), _after(b"/share/perl/", _PERL),
    ),
    _rule(
        "php", r"php[0-9.]*|php-(?:fpm|cgi)[0-9.]*|libphp[0-9.]*\.so|mod_php[0-9.]*\.so",
        _after(b"X-Powered-By: PHP/", _PHP), bitnami="php",
    ),
    _rule("busybox", r"busybox(?:\.[a-z]+)?", _after(b"BusyBox v", rb"(" + _V3 + rb")")),
    _rule("openssl", r"openssl|lib(?:ssl|crypto)(?:-[0-9.]+)?" + _SO, _after(b"OpenSSL ", _OPENSSL)),
    _rule(
        "nginx", r"nginx|openresty",
        _after(b"nginx/", rb"([0-9]\.[0-9]{1,3}\.[0-9]{1,3})[\x00\r\n (]"), bitnami="nginx",
    ),
    _rule("httpd", r"httpd|apache2", _after(b"Apache/", rb"(2\.[0-9]{1,2}\.[0-9]{1,3})"), bitnami="apache"),
    _rule("lighttpd", r"lighttpd", _after(b"lighttpd/", rb"(" + _V3 + rb")")),
    _rule("redis", r"redis-(?:server|check-rdb|check-aof|sentinel)", *_REDIS, bitnami="redis"),
    _rule("valkey", r"valkey-(?:server|check-rdb|check-aof|sentinel)", *_REDIS, bitnami="valkey"),
    _rule("postgresql", r"postgres", _after(b"PostgreSQL ", _POSTGRES), bitnami="postgresql"),
    _rule("mariadb", r"mariadbd?|mysqld?", _before(_MARIADB, b"-MariaDB", 16), bitnami="mariadb"),
    _rule("mysql", r"mysqld?", _after(b"/mysql-", _MYSQL), bitnami="mysql-client"),
    _rule("percona-server", r"mysqld?", _after(b"/percona-server-", _MYSQL)),
    _rule(
        "haproxy", r"haproxy",
        Look(b", released 20", re.compile(rb"version " + _HAPROXY), 60, 0),
        _before(rb"\x00" + _HAPROXY + rb"[-0-9a-z.+~]{0,60}\x00{1,8}", b"HAProxy", 120),
        Look(b"haproxy.org", re.compile(rb"\x00" + _HAPROXY + rb"(?:-[-0-9a-z.+~]{1,40})?\x00"), 4096, 4096),
        bitnami="haproxy",
    ),
    _rule("memcached", r"memcached", _after(b"memcached ", rb"(" + _V3 + rb")"), bitnami="memcached"),
    _rule("consul", r"consul", _after(b"CONSUL_VERSION: ", rb"(" + _V3 + rb")"), bitnami="consul"),
    _rule("bash", r"r?bash", _after(b"@(#)Bash version ", rb"([0-9]\.[0-9]{1,2}\.[0-9]{1,3})")),
    _rule(
        "curl", r"curl|libcurl(?:-[a-z]+)?" + _SO,
        _after(b"libcurl/", _CURL), _after(b"curl ", _CURL), _after(b"curl/", _CURL),
    ),
    _rule("zlib", r"libz" + _SO, Look(b" deflate 1.", re.compile(_ZLIB), 0, 48)),
    _rule("expat", r"libexpat" + _SO, _after(b"expat_", rb"(" + _V3 + rb")")),
    _rule("glibc", r"libc(?:-[0-9.]+)?\.so(?:\.6)?", Look(b"GNU C Library ", re.compile(_LIBC), 0, 160)),
    _rule(
        "rust", r"(?:libstd|librustc_driver)-[0-9a-f]{16}\.so|rustc", _after(b"rustc version ", _RUSTC),
    ),
    _rule("erlang", r"erlexec|beam(?:\.smp|\.jit)?", _before(_OTP, b"/erts/", 60)),
)  # fmt: skip
_PY_VERSION = rb"[\x00/-](%s[0-9]{1,3}(?:(?:a|b|rc)[0-9]{1,2})?)\+?\x00"
_MINOR = re.compile(r"[23]\.[0-9]{1,2}")
_ANY = re.compile("|".join(f"(?:{rule.files.pattern})" for rule in RULES))
_RELEASE_LINE = re.compile(r'(JAVA_VERSION|IMPLEMENTOR|JAVA_RUNTIME_VERSION)="([^"]{0,200})"')


def programs(name: str, body: bytes) -> Iterator[tuple[Rule, str]]:
    """The rules that fit a file of this name, each with the version in its bytes."""
    for rule in RULES:
        if rule.files.fullmatch(name):
            version = _python(name, body) if rule.package == "python" else ""
            for look in rule.looks:
                version = version or look.version(body)
            if version:
                yield rule, version


def _python(name: str, body: bytes) -> str:
    """PY_VERSION is a text of its own, or the end of one (linkers share ends), in a file that knows PYTHONHOME."""
    minor = _MINOR.search(name)
    if b"PYTHONHOME" not in body:
        return ""
    if minor:
        start = minor[0].encode() + b"."
        return Look(start, re.compile(_PY_VERSION % re.escape(start)), 1, 12).version(body)
    found = re.search(_PY_VERSION % rb"[23]\.[0-9]{1,2}\.", body)
    return found[1].decode() if found else ""


@dataclass(frozen=True)
class BinaryReader:
    """Facts: [package, version, Bitnami's name] a program."""

    name: str = "binaries"
    version: int = 2
    limit: int = LARGEST_PROGRAM

    def wants(self, file: FileEntry) -> bool:
        if not file.head.startswith(MAGIC) or huge_library(file):
            return False
        return _ANY.fullmatch(file.name) is not None

    def read(self, path: str, body: bytes) -> Iterable[JSON]:
        name = path.rpartition("/")[2]
        for rule, version in programs(name, body):
            yield [rule.package, version, rule.bitnami]


@dataclass(frozen=True)
class JdkReader:
    """One fact a JDK or JRE: its version and who made it. The file `release` of anything else says nothing."""

    name: str = "jdk"
    version: int = 1
    limit: int = LARGEST_RELEASE

    def wants(self, file: FileEntry) -> bool:
        return file.name == "release" and file.size <= LARGEST_RELEASE

    def read(self, path: str, body: bytes) -> Iterable[JSON]:
        said = dict(_RELEASE_LINE.findall(body.decode("utf-8", "replace")))
        version = said.get("JAVA_VERSION", "")
        if acceptable(version, LONGEST_VERSION):
            yield {"version": version, "vendor": plain(said.get("IMPLEMENTOR", ""))}


BINARIES, JDK = BinaryReader(), JdkReader()


def _packages(evidence: Evidence) -> Iterator[Package]:
    for entry, facts in evidence.facts(BINARIES):
        for fact in facts:
            if isinstance(fact, list) and len(fact) == 3:
                yield _package(entry, str(fact[0]), str(fact[1]), str(fact[2]))
    for entry, facts in evidence.facts(JDK):
        for fact in facts:
            if isinstance(fact, dict):
                yield _package(entry, "openjdk", str(fact["version"]), "java", str(fact.get("vendor", "")))


def _package(entry: FileEntry, name: str, version: str, bitnami: str, vendor: str = "") -> Package:
    return Package(
        ecosystem=KNOWN if bitnami else "",
        name=bitnami or name,
        version=version,
        source_name=bitnami or name,
        source_version=version,
        purl=purl("generic", None, name, version, {}),
        path=entry.path,
        layer=entry.layer,
        kind="binary",
        supplier=vendor,
    )


CATALOGUER = Cataloguer("binaries", _packages, (), (BINARIES, JDK))
