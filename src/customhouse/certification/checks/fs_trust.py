"""FS-TRUST: the image trusts nobody whom its base does not trust.

1. Certificates, keys of package managers and repositories that a layer above the base adds or changes. Which layers
   are the base's is a guess (history.py); without one only the settings below are judged.
2. Settings anywhere that switch checks off: unsigned repositories, unchecked certificates.
3. Certificates that a distribution's own package installs (usr/share/ca-certificates) are the distribution's matter.
"""

import re
from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotEvaluable, Subject, content, whole_filesystem
from customhouse.certification.checks._files import UNREAD, at_file, base_count, named
from customhouse.certification.findings import JSON, Severity

_ADDED = (
    ("certificate", re.compile(r"usr/local/share/ca-certificates/.+|etc/pki/ca-trust/source/anchors/.+")),
    ("certificate", re.compile(r"usr/share/pki/(?:ca-trust-source|trust)/anchors/.+")),
    ("certificate", re.compile(r"etc/ca-certificates/trust-source/.+")),
    ("key", re.compile(r"etc/apt/(?:trusted\.gpg|trusted\.gpg\.d/.+|keyrings/.+)|usr/share/keyrings/.+")),
    ("key", re.compile(r"etc/apk/keys/.+|usr/share/apk/keys/.+|etc/pki/rpm-gpg/.+")),
    ("repository", re.compile(r"etc/apt/sources\.list|etc/apt/sources\.list\.d/.+|etc/apk/repositories")),
    ("repository", re.compile(r"etc/yum\.repos\.d/.+|etc/zypp/repos\.d/.+|etc/pip\.conf|etc/apk/repositories\.d/.+")),
)
_ANY = re.compile("|".join(f"(?:{pattern.pattern})" for _, pattern in _ADDED))
_SETTINGS = (
    ("etc/apt/apt.conf", r"Allow(?:Unauthenticated|(?:Insecure|Weak)Repositories)\"?[ \t]+\"?(?:true|1|yes)"),
    ("etc/apt/apt.conf", r"Verify-(?:Peer|Host)\"?[ \t]+\"?(?:false|0|no)"),
    ("etc/apt/sources.list", r"(?:\[[^\]\n]{0,200}\btrusted=yes|^Trusted:[ \t]*yes)"),
    ("etc/yum.conf", r"^[ \t]*(?:gpgcheck|sslverify)[ \t]*=[ \t]*(?:0|false|no)"),
    ("etc/dnf/dnf.conf", r"^[ \t]*(?:gpgcheck|sslverify)[ \t]*=[ \t]*(?:0|false|no)"),
    ("etc/yum.repos.d/", r"^[ \t]*(?:gpgcheck|sslverify)[ \t]*=[ \t]*(?:0|false|no)"),
    ("etc/zypp/", r"^[ \t]*(?:gpgcheck|pkg_gpgcheck|repo_gpgcheck)[ \t]*=[ \t]*(?:0|off|false|no)"),
    ("etc/apk/repositories", r"^[ \t]*(?:@\S+[ \t]+)?http://(?!localhost|127\.)"),
    ("pip.conf", r"^[ \t]*trusted-host[ \t]*="),
    ("npmrc", r"^[ \t]*strict-ssl[ \t]*=[ \t]*false"),
    (".curlrc", r"^[ \t]*-?-?(?:insecure\b|k$)"),
    ("wgetrc", r"^[ \t]*check_certificate[ \t]*=[ \t]*(?:off|no|0)"),
    ("gitconfig", r"^[ \t]*sslVerify[ \t]*=[ \t]*(?:false|0|no)"),
)
SETTINGS = tuple((place, re.compile(pattern, re.IGNORECASE | re.MULTILINE)) for place, pattern in _SETTINGS)
_NEEDS = (
    *("etc/apt/apt.conf", "etc/apt/apt.conf.d/*", "etc/apt/sources.list", "etc/apt/sources.list.d/*"),
    *("etc/yum.conf", "etc/dnf/dnf.conf", "etc/yum.repos.d/*", "etc/zypp/zypp.conf", "etc/zypp/repos.d/*"),
    *("etc/apk/repositories", "etc/pip.conf", "root/.config/pip/pip.conf", "root/.pip/pip.conf", "etc/npmrc"),
    *("root/.npmrc", "usr/local/etc/npmrc", "root/.curlrc", "etc/wgetrc", "root/.wgetrc", "etc/gitconfig"),
    "root/.gitconfig",
)
LARGEST = 1 << 20


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    fs = whole_filesystem(subject)
    base = base_count(subject)
    yield from named(_added(subject, base), "certificates, keys and repositories")
    unread = []
    for pattern in _NEEDS:
        entries = [entry.path for entry in fs.glob(pattern)] if "*" in pattern else [pattern]
        for path in entries[:1000]:
            try:
                raw = content(subject, path)
            except NotEvaluable as reason:
                unread.append(str(reason))
                continue
            yield from _switched_off(subject, path, raw)
    if unread:
        raise NotEvaluable(unread[0])


def _added(subject: Subject, base: int) -> Iterator[Failure]:
    if not base:
        return
    below = {entry.path for scan in subject.image.layers[:base] for entry in scan.entries}
    for entry in subject.image.fs.walk():
        if entry.layer < base or entry.kind not in ("file", "hardlink", "symlink") or not _ANY.fullmatch(entry.path):
            continue
        for kind, pattern in _ADDED:
            if pattern.fullmatch(entry.path):
                verb = "changes" if entry.path in below else "adds"
                message = f"a layer above the base {verb} a trusted {kind}: /{entry.path}"
                yield Failure(message, at_file(subject, entry, kind=kind))
                break


def _switched_off(subject: Subject, path: str, raw: bytes | None) -> Iterator[Failure]:
    entry = subject.image.fs.entry(path)
    if raw is None or entry is None:
        return
    text = raw[:LARGEST].decode("utf-8", "replace")
    for place, pattern in SETTINGS:
        if not (path.startswith(place) or path.endswith(place)):
            continue
        for found in list(pattern.finditer(text))[:3]:
            line = text.count("\n", 0, found.start()) + 1
            if text.split("\n")[line - 1].lstrip().startswith(("#", "//", ";")):
                continue
            message = f"line {line} of /{path} switches a check off: {found[0].strip()[:80]}"
            yield Failure(message, at_file(subject, entry, line=line, value=found[0].strip()[:80]))
            break


CHECK = Check(
    id="FS-TRUST",
    title="Nobody is trusted beyond those whom the base trusts",
    why="One more root certificate reads every connection, one more repository key installs anything.",
    remedy="Install from the base's own repositories; give certificates of a company at run time, as a mount.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    needs=_NEEDS,
    sources=("CIS 4.11",),
    not_evaluable=f"{UNREAD}, or a setting of a package manager was not kept",
)
