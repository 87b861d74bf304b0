"""LAY-CACHE: caches of package managers left in the image, counted in the merged filesystem."""

import re
from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject, at_layer, whole_filesystem
from customhouse.certification.findings import JSON, Severity

_HOME = r"(?:root|home/[^/]+)"
_CACHES = (
    ("apt lists", r"var/lib/apt/lists/"),
    ("apt", r"var/cache/apt/"),
    ("apk", r"(?:var/cache|etc)/apk/cache/|var/cache/apk/"),
    ("yum", r"var/cache/yum/"),
    ("dnf", r"var/cache/(?:lib)?dnf5?/"),
    ("zypper", r"var/cache/zypp/"),
    ("pacman", r"var/cache/pacman/pkg/"),
    ("pip", rf"{_HOME}/\.cache/pip/"),
    ("npm", rf"{_HOME}/\.npm/(?:_cacache|_npx|_logs)/"),
    ("yarn", rf"{_HOME}/\.yarn/berry/cache/|usr/local/share/\.cache/|{_HOME}/\.cache/yarn/"),
    ("go", rf"(?:go|{_HOME}/go)/pkg/mod/cache/|{_HOME}/\.cache/go-build/"),
    ("cargo", rf"(?:{_HOME}/\.cargo|usr/local/cargo)/registry/(?:cache|src|index)/"),
    ("composer", rf"{_HOME}/\.(?:composer|cache/composer)/cache/|{_HOME}/\.cache/composer/"),
    ("gem", r"usr/local/bundle/cache/"),
    ("maven", rf"{_HOME}/\.m2/repository/"),
    ("gradle", rf"{_HOME}/\.gradle/caches/"),
    ("user", rf"{_HOME}/\.cache/"),
)
CACHES = tuple((name, re.compile(pattern)) for name, pattern in _CACHES)
_PLACES = ("var/cache/", "var/lib/apt/", "etc/apk/", "root/", "home/", "usr/local/", "go/")  # where all of them lie


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    found: dict[str, list[int]] = {}
    example: dict[str, tuple[str, int]] = {}
    for entry in whole_filesystem(subject).walk():
        if not entry.path.startswith(_PLACES) or entry.kind != "file" or not entry.size:
            continue
        for name, pattern in CACHES:
            place = pattern.match(entry.path)
            if place:
                found.setdefault(name, []).append(entry.size)
                example.setdefault(name, (place[0].rstrip("/"), entry.layer))
                break
    most = params["most_bytes"]
    for name, sizes in found.items():
        if isinstance(most, int | float) and sum(sizes) > most:
            path, layer = example[name]
            evidence: dict[str, JSON] = {
                "key": name,
                "path": path,
                "bytes": sum(sizes),
                "files": len(sizes),
                **at_layer(subject, layer),
            }
            yield Failure(f"the {name} cache holds {sum(sizes)} bytes in {len(sizes)} files, e.g. in /{path}", evidence)


CHECK = Check(
    id="LAY-CACHE",
    title="No caches of package managers are left",
    why="They make the image larger, go stale, and nobody reads them in a container.",
    remedy="Clean up in the same step: rm -rf /var/lib/apt/lists/*, apk add --no-cache, pip install --no-cache-dir, "
    "or RUN --mount=type=cache.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    params={"most_bytes": 100_000},
    sources=(
        *("DKL-DI-0004", "DKL-DI-0005", "DS-0015", "DS-0019", "DS-0020", "DS-0025", "DS-0027"),
        *("DL3009", "DL3019", "DL3032", "DL3036", "DL3040", "DL3042", "DL3060"),
    ),
    not_evaluable="a layer could not be read to its end",
)
