"""HIS-PIPESHELL: nothing is run or installed that was not checked.

Looked for: a download piped into an interpreter, and the options by which tools are told not to check signatures or
certificates, in the steps of the build and in the environment that stays.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

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
from customhouse.certification.shell import outside_hosts

_FETCHERS = frozenset({"curl", "wget", "fetch", "aria2c"})
_INTERPRETERS = re.compile(r"(?:ba|da|a|z|k|c|tc|fi)?sh|python[0-9.]*|perl|ruby|node|php[0-9.]*")
_PASSING = frozenset({"tee", "gunzip", "zcat", "base64", "sed", "tr", "cat"})
# `sh -c "$(curl …)"`, `sh <(curl …)`, eval "$(wget …)"
_SUBSTITUTED = re.compile(r"(?:\b(?:ba|da|a|z)?sh\b[^;&|\n]{0,40}|\beval\s+[\"']?)(?:\$\(|<\(|`)\s*(?:curl|wget)\b")
_UNCHECKED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        APT,
        ("--allow-unauthenticated", "--force-yes", "--no-check-gpg", "--allow-insecure-repositories"),
    ),
    **dict.fromkeys(DNF, ("--nogpgcheck", "--no-gpgchecks", "--nogpg")),
    "apk": ("--allow-untrusted",),
    "zypper": ("--no-gpg-checks", "--allow-unsigned-rpm", "--gpg-auto-import-keys"),
    "rpm": ("--nosignature", "--nodigest", "--noverify"),
    "pip": ("--trusted-host",),
    "pip3": ("--trusted-host",),
    "curl": ("--insecure", "--proxy-insecure"),
    "wget": ("--no-check-certificate", "--no-hsts"),
    "git": ("http.sslVerify=false",),
    "npm": ("--strict-ssl=false", "--no-strict-ssl"),
    "yarn": ("--no-strict-ssl",),
}
_APT_SETTING = re.compile(
    r"(?:AllowUnauthenticated|AllowInsecureRepositories|AllowDowngradeToInsecureRepositories)=(?:true|1|yes)"
    r"|Verify-(?:Peer|Host)=(?:false|0|no)",
    re.IGNORECASE,
)
_SWITCHED_OFF = {
    "NODE_TLS_REJECT_UNAUTHORIZED": frozenset({"0"}),
    "PYTHONHTTPSVERIFY": frozenset({"0"}),
    "GIT_SSL_NO_VERIFY": frozenset({"1", "true"}),
    "NPM_CONFIG_STRICT_SSL": frozenset({"false", "0"}),
    "PIP_TRUSTED_HOST": frozenset(),
    "CURL_INSECURE": frozenset({"1", "true"}),
}


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    for name, value in subject.image.config.environment.items():
        bad = _SWITCHED_OFF.get(name.upper())
        if bad is not None and value and (not bad or value.lower() in bad):
            yield Failure(f"{name} switches the check of certificates off", {"key": f"env:{name}", "value": value[:80]})
    read = history(subject)
    for step in read.of("ADD"):
        if re.search(r"(?:^|\s)http://", step.text):
            yield Failure("ADD fetches without TLS", evidence(subject, step, "http:ADD"), Severity.MEDIUM)
    for step, calls in runs(read):
        found = dict(_unchecked(calls))
        if _SUBSTITUTED.search(step.text):
            found.setdefault("pipe", "a download is run by a shell")
        for key, message in found.items():
            severity = Severity.MEDIUM if key.startswith("http:") else None
            yield Failure(message, evidence(subject, step, key), severity)
    require_whole(read)


def _unchecked(calls: Sequence[Ran]) -> Iterator[tuple[str, str]]:
    fetched = ""
    for call in calls:
        if call.call.command.before != "|":
            fetched = ""
        if call.name in _FETCHERS:
            fetched = call.name
        elif fetched and _INTERPRETERS.fullmatch(call.name) and not _reads_a_file(call):
            yield "pipe", f"what {fetched} downloads is run by {call.name}, unseen"
        elif call.name not in _PASSING and call.name not in ("sudo", "env"):
            fetched = ""
        for option in _options(call):
            yield f"{call.name}:{option}", f"{call.name} is told not to check: {option}"
        if call.name in _FETCHERS and any(word.lower().startswith("http://") for word in call.words):
            host = next(outside_hosts(call.call.command), None)
            if host is not None:
                yield f"http:{call.name}", f"{call.name} fetches from {host[:100]} without TLS"


def _options(call: Ran) -> Iterator[str]:
    listed = _UNCHECKED.get(call.name, ())
    for place, word in enumerate(call.words[1:], 1):
        option = word.partition("=")[0] if word.startswith("--") and word not in listed else word
        if option in listed:
            yield option
        elif call.name == "curl" and re.fullmatch(r"-[a-zA-Z#]*k[a-zA-Z]*", word) and _before_value(word, "k"):
            yield "--insecure"
        elif call.name in APT and _APT_SETTING.search(word):
            yield word.partition("=")[0][:80]
        elif word in ("strict-ssl", "strict-ssl=false") and call.name in ("npm", "yarn"):
            if "=" in word or call.words[place + 1 : place + 2] == ("false",):
                yield "strict-ssl"
        elif word == "http.sslVerify" and call.name == "git" and call.words[place + 1 : place + 2] == ("false",):
            yield "http.sslVerify=false"


def _before_value(word: str, letter: str) -> bool:
    """Does the letter of a cluster stand before one that takes the rest as its value (`-ofile.k`)?"""
    taking = next((at for at, each in enumerate(word) if at and each in "AbcCdDeEFhHKmoPQrTuUwxXyYz"), len(word))
    return word.index(letter) < taking


def _reads_a_file(call: Ran) -> bool:
    """`python3 script.py` and `python3 -c …` read their program from elsewhere; `sh -s -- x` reads what is piped."""
    rest = call.words[1:]
    if not rest or rest[0] in ("-", "-s", "/dev/stdin"):
        return False
    return rest[0] in ("-c", "-e", "-m", "-r", "-pe", "-ne") or not rest[0].startswith("-")


CHECK = Check(
    id="HIS-PIPESHELL",
    title="Nothing is run or installed unchecked",
    why="Whoever controls the server, or the way to it, then decides what is in the image, without leaving a trace.",
    remedy="Download to a file, compare its digest or signature, then run it; leave the checks of package managers on.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    sources=("CIS 4.11", "Docker Official Images", "DL4006"),
    not_evaluable=NOT_EVALUABLE,
)
