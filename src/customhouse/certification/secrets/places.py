"""Where secrets are looked for, and how much a sighting weighs there.

1. Every text file of every layer is searched, but for what stands here: names whose content is data, and folders
   that a distribution fills with text that is public already.
2. What others publish (node_modules, site-packages, gems, vendored code) is searched for forms only, and weighs
   little: the secret was public before the image was. Its tests, examples and documentation are not searched.
3. VERSION is raised with every change here; the facts kept from before are stale then.
"""

import re
from typing import Literal

VERSION = 2
Place = Literal["own", "published", "skipped"]

_DATA_NAMES = """
    png jpg jpeg gif bmp ico svg svgz tif tiff webp woff woff2 ttf otf eot pdf mp3 mp4 ogg wav gz xz bz2 zst zip jar
    whl deb rpm apk so a o mo po pot gmo pyc pyo class wasm dll exe pdb sym afm pfb ttc gresource typelib gir db
    sqlite sqlite3 lock
"""
_DATA = frozenset(_DATA_NAMES.split())
_NAMES = frozenset({
    "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock", "go.sum", "go.mod", "Pipfile.lock",
    "poetry.lock", "RECORD", "PKG-INFO", "METADATA", "ca-certificates.crt", "cacert.pem", "ld.so.cache",
})  # fmt: skip
_SHARED = """
    doc man info locale i18n zoneinfo licenses common-licenses mime icons fonts ca-certificates perl terminfo X11
    bash-completion zsh fish lintian unicode vim
"""
_DISTRIBUTION = (
    *(f"usr/share/{name}/" for name in _SHARED.split()),
    "usr/include/", "var/lib/dpkg/", "var/lib/apt/", "var/lib/rpm/", "lib/apk/", "usr/lib/apk/", "etc/ssl/certs/",
    "proc/", "sys/",
)  # fmt: skip
_PUBLISHED = re.compile(
    r"(?:^|/)(?:node_modules|bower_components|site-packages|dist-packages|gems|"
    r"vendor/(?:bundle|ruby|github\.com|golang\.org|google\.golang\.org|gopkg\.in|k8s\.io|sigs\.k8s\.io)|pkg/mod|\.cargo/registry|\.m2/repository|conda-meta)/|"
    r"(?:^|/)lib(?:64)?/python[0-9.]+/|"
    r"^(?:usr/(?:local/)?)?lib(?:64)?/(?:ruby|perl5?|x86_64-linux-gnu/perl[0-9.-]*|jvm|go(?:-[0-9.]+)?|node)/|"
    r"^usr/(?:local/)?(?:go|share/(?:nodejs|php|python3|perl5|ruby|rubygems-integration|java|maven-repo))/"
)
_ASIDE = re.compile(
    r"(?i)(?:^|/)(?:tests?|idle_test|testing|__tests__|testdata|fixtures?|specs?|examples?|samples?|demos?|docs?|man|locales?)/|"
    r"\.(?:md|rst|adoc|map|d\.ts)$|(?:^|/)(?:test_[^/]*|[^/]*_test|[^/]*\.(?:test|spec))\.\w+$|\.(?:dist|egg)-info/"
)


def place(path: str) -> Place:
    """How a file is searched."""
    if path.startswith(_DISTRIBUTION):
        return "skipped"
    name = path.rpartition("/")[2]
    if name in _NAMES or ("." in name and name.rpartition(".")[2].lower() in _DATA):
        return "skipped"
    if _PUBLISHED.search(path):
        return "skipped" if _ASIDE.search(path) else "published"
    return "own"


def aside(path: str) -> bool:
    """Is this a test, an example or documentation of what others publish?"""
    return path.startswith(_DISTRIBUTION) or bool(_PUBLISHED.search(path) and _ASIDE.search(path))


def is_text(head: bytes) -> bool:
    """Text in any encoding without NUL, or UTF-16 with its mark."""
    return b"\0" not in head or head.startswith((b"\xff\xfe", b"\xfe\xff"))
