"""HIS-ADD: COPY and not ADD, above all not of an address.

The first ADD of a rootfs is how a base image is made. ADD of an archive unpacks it, which COPY cannot do.
(hadolint DL3020 allows archives too.)
"""

import re
from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._history import NOT_EVALUABLE, evidence, history, require_whole
from customhouse.certification.findings import JSON, Severity

_URL = re.compile(r"(?:^|\s)(https?|ftp)://\S+", re.IGNORECASE)
_ARCHIVE = re.compile(r"\.(?:tar|tgz|tbz2?|txz|tzst|gz|bz2|xz|lzma|zst)$", re.IGNORECASE)
_CHECKSUM = re.compile(r"--checksum=sha256:[0-9a-f]{64}\b")
_LEGACY = re.compile(r"(?:file|dir|multi):[0-9a-f]{64} in (\S+)")


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    read = history(subject)
    for step in read.of("ADD"):
        if step.base or step.layer == 0 or step.line == 0:
            continue
        address = _URL.search(step.text)
        if address is not None:
            if _CHECKSUM.search(step.text):
                continue
            message = f"ADD fetches {address[0].strip()[:200]} without a checksum"
            yield Failure(message, evidence(subject, step, "url", address[0].strip()), Severity.MEDIUM)
            continue
        words = [word for word in step.text.split() if not word.startswith("--")]
        if _LEGACY.match(step.text) is None and words[:-1] and all(_ARCHIVE.search(word) for word in words[:-1]):
            continue
        yield Failure("ADD is used where COPY does", evidence(subject, step, "add", step.text))
    require_whole(read)


CHECK = Check(
    id="HIS-ADD",
    title="Files come by COPY, not by ADD",
    why="ADD unpacks and downloads without being asked: what ends in the image depends on a server and a suffix.",
    remedy="Use COPY; fetch with ADD --checksum=sha256:… or with curl and a check of the digest in the same step.",
    severity=Severity.LOW,
    evaluate=evaluate,
    sources=("CIS 4.9", "CIS-DI-0009", "DS-0005", "DL3020"),
    not_evaluable=NOT_EVALUABLE,
)
