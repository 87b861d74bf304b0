"""Who the process runs as, judged as an engine judges it.

The part before the colon counts; digits are a uid even where a user has such a name, and a line of /etc/passwd whose
uid is no number means uid 0 (moby/sys user, which ignores such errors).
"""

import re

from customhouse.certification.check import Subject, content

PASSWD = "etc/passwd"
_NUMBER = re.compile(r"[+-]?\d+")


def runtime_uid(subject: Subject) -> int | None:
    """The uid, or None for a name that the image does not know. Raises NotEvaluable when /etc/passwd was not read."""
    user = subject.image.config.user.split(":", 1)[0]
    if not user:
        return 0
    if _NUMBER.fullmatch(user):
        return int(user[:20])
    return uid_of(content(subject, PASSWD), user)


def uid_of(passwd: bytes | None, name: str) -> int | None:
    """The uid of a name, 0 where its line holds no number, None where there is no such line."""
    for line in (passwd or b"").decode("utf-8", "backslashreplace").splitlines():
        fields = line.strip().split(":")
        if fields[0] == name:
            number = fields[2] if len(fields) > 2 else ""
            return int(number) if _NUMBER.fullmatch(number) and len(number) < 20 else 0
    return None


def is_number(user: str) -> bool:
    return _NUMBER.fullmatch(user) is not None
