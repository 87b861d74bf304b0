"""HIS-PIN: packages are installed in a version that somebody chose.

One failure a tool, with the packages it takes as they come. Requirements files, lock files, folders and addresses are
not looked into.
"""

import re
from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._history import (
    APT,
    DNF,
    NOT_EVALUABLE,
    Ran,
    evidence,
    history,
    require_whole,
    runs,
)
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.history import Step
from customhouse.certification.shell import known_word

MOST_NAMED = 50
_PIP = re.compile(r"(?:pip[0-9.]*|pipx|uv)")
_PYTHON = re.compile(r"python[0-9.]*")
_PIP_VALUED = frozenset(
    {"-r", "--requirement", "-c", "--constraint", "-e", "--editable", "-i", "--index-url", "--extra-index-url"}
    | {"-t", "--target", "--prefix", "--root", "--trusted-host", "-f", "--find-links", "--python", "--no-binary"}
    | {"--only-binary", "--platform", "--cache-dir"}
)


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    read = history(subject)
    loose: dict[str, tuple[Step, list[str]]] = {}
    for step, calls in runs(read, base=False):
        for call in calls:
            tool, names = _loose(call)
            if names:
                loose.setdefault(tool, (step, []))[1].extend(names)
    for tool, (step, names) in loose.items():
        distinct = sorted(set(names))
        more = f" and {len(distinct) - 5} more" if len(distinct) > 5 else ""
        named: list[JSON] = [*distinct[:MOST_NAMED]]
        said = evidence(subject, step, f"unpinned:{tool}")
        yield Failure(f"{tool} takes any version of {', '.join(distinct[:5])}{more}", {**said, "packages": named})
    require_whole(read)


def _loose(call: Ran) -> tuple[str, list[str]]:
    """(tool, packages without a version) of one call."""
    name = call.name
    verb, rest = call.verb()
    plain = [word for word in rest if known_word(word) and "/" not in word and not word.startswith(".")]
    if name in APT and verb == "install":
        return "apt", [word for word in plain if "=" not in word and not word.endswith((".deb", "-"))]
    if name == "apk" and verb == "add":
        return "apk", [word for word in plain if not set("=<>~") & set(word) and not word.endswith(".apk")]
    if name in (*DNF, "zypper") and verb in ("install", "in"):
        pinned = re.compile(r".+-\d.*|.+[=<>].*|.+\.rpm|@.*")
        return name, [word for word in plain if not pinned.fullmatch(word)]
    if name == "gem" and verb == "install":
        if any(word in ("-v", "--version") or word.startswith("--version=") for word in call.options):
            return "gem", []
        return "gem", [word for word in plain if ":" not in word and not word.endswith(".gem")]
    if name == "npm" and verb in ("install", "i", "add"):
        # A scoped name begins with @ and holds a slash.
        named = [word for word in rest if known_word(word) and not word.startswith((".", "/", "file:", "git", "http"))]
        return "npm", [word for word in named if "@" not in word[1:] and not word.endswith(".tgz")]
    if name == "go" and verb in ("install", "get"):
        return "go", [word for word in rest if word.endswith("@latest")]
    return _pip(call)


def _pip(call: Ran) -> tuple[str, list[str]]:
    words = list(call.words)
    if _PYTHON.fullmatch(call.name) and words[1:3] == ["-m", "pip"]:
        words = words[2:]
    elif not _PIP.fullmatch(call.name):
        return "pip", []
    if "install" not in words[1:3]:
        return "pip", []
    found = []
    rest = iter(words[words.index("install") + 1 :])
    for word in rest:
        if word in _PIP_VALUED:
            next(rest, None)
        elif re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[A-Za-z0-9._,-]*\])?", word) and not word.endswith(
            (".whl", ".zip", ".gz", ".txt")
        ):
            found.append(word)
    return "pip", found


CHECK = Check(
    id="HIS-PIN",
    title="Packages are installed in a chosen version",
    why="What is not pinned changes between two builds of the same source, and nobody can say which was tested.",
    remedy="Name versions (curl=7.88.1-10, flask==3.0.3), install from a lock file, or pin the base by digest and its "
    "package mirror by date.",
    severity=Severity.INFO,
    evaluate=evaluate,
    sources=("DL3008", "DL3013", "DL3016", "DL3018", "DL3028", "DL3033", "DL3037", "DL3041", "DL3062"),
    not_evaluable=NOT_EVALUABLE,
)
