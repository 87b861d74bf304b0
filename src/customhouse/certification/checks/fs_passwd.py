"""FS-PASSWD: the user database lets nobody in: no empty or shipped password, no second root, no double names or ids."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, Subject, content
from customhouse.certification.findings import JSON, Severity

PASSWD, SHADOW, GROUP, MASTER = "etc/passwd", "etc/shadow", "etc/group", "etc/master.passwd"
_LOCKED = ("*", "!", "x")


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    lines = {path: _records(content(subject, path)) for path in (PASSWD, SHADOW, GROUP, MASTER)}
    if all(records is None for records in lines.values()):
        raise NotApplicable("the image has no user database")
    for path in (PASSWD, SHADOW, MASTER):
        for record in lines[path] or []:
            yield from _password(path, record)
    users = lines[PASSWD] or []
    for record in users[:]:
        if len(record) > 2 and record[0] != "root" and _id(record[2]) == 0:
            message = f"the user {record[0]} in /{PASSWD} has uid 0: a second root"
            yield Failure(message, {"key": f"root:{record[0]}", "path": PASSWD, "value": record[0]})
    yield from _twice(PASSWD, users, 0, "the name")
    yield from _twice(PASSWD, users, 2, "the uid")
    yield from _twice(GROUP, lines[GROUP] or [], 0, "the name")
    yield from _twice(GROUP, lines[GROUP] or [], 2, "the gid")


def _records(raw: bytes | None) -> list[list[str]] | None:
    if raw is None:
        return None
    text = raw.decode("utf-8", "backslashreplace")
    lines = (line.strip() for line in text.splitlines())
    return [line.split(":") for line in lines if line and not line.startswith(("#", "+", "-"))]


def _password(path: str, record: list[str]) -> Iterator[Failure]:
    if len(record) < 2:
        return
    name, password = record[0], record[1]
    evidence: dict[str, JSON] = {"path": path, "value": name}
    if not password:
        message = f"the user {name} in /{path} has an empty password (as in CVE-2019-5021)"
        yield Failure(message, {"key": f"empty:{name}", **evidence})
    elif not password.startswith(_LOCKED):
        message = f"the user {name} in /{path} has a password that everyone who pulls can try to guess"
        yield Failure(message, {"key": f"hash:{name}", **evidence})


def _twice(path: str, records: list[list[str]], field: int, what: str) -> Iterator[Failure]:
    names: dict[str | int, str] = {}
    for record in records:
        if len(record) <= field or not record[field]:
            continue
        value = _id(record[field]) if field == 2 else record[field]
        if value in names and not (field == 2 and value == 0):
            message = f"{what} {value} is in /{path} twice ({names[value]}, {record[0]})"
            yield Failure(message, {"key": f"twice:{field}:{value}", "path": path, "value": str(value)})
        names.setdefault(value, record[0])


def _id(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text


CHECK = Check(
    id="FS-PASSWD",
    title="The user database lets nobody in",
    why="An empty or shipped password, or a second uid 0, is root for everyone who gets a shell in the container.",
    remedy="Lock the accounts (passwd -l, or `*` in /etc/shadow) and remove doubled lines.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
    needs=(PASSWD, SHADOW, GROUP, MASTER),
    sources=("DKL-LI-0001", "DKL-LI-0002", "CVE-2019-5021"),
    not_applicable="the image has no user database",
    not_evaluable="a file of the user database could not be read",
)
