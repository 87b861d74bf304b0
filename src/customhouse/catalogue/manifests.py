"""The texts in Java archives: MANIFEST.MF, pom.properties, and what is needed of pom.xml.

1. A manifest is read up to its first empty line, its main section (JAR specification, "Manifest Specification");
   continuation lines begin with a blank. Names are compared in lower case.
2. Properties are read as java.util.Properties does, without its escapes of characters.
3. pom.xml is searched, not parsed: no entities, no recursion, linear time. A value with `${` is unknown.
"""

from collections.abc import Iterator

MOST_LINES = 5000
LONGEST_VALUE = 1000


def sections(raw: bytes) -> dict[str, str]:
    """The main section of a manifest."""
    said: dict[str, str] = {}
    last = ""
    for number, line in enumerate(raw.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")):
        if not line or number > MOST_LINES:
            break
        if line.startswith(" "):
            if last and len(said[last]) < LONGEST_VALUE:
                said[last] += line[1:]
            continue
        key, parted, value = line.partition(":")
        last = key.strip().lower() if parted else ""
        if last:
            said[last] = value.strip()[:LONGEST_VALUE]
    return said


def properties(raw: bytes) -> dict[str, str]:
    """The keys and values of a file of properties."""
    said: dict[str, str] = {}
    for line in raw.decode("latin-1").split("\n")[:MOST_LINES]:
        line = line.strip()
        if not line or line[0] in "#!":
            continue
        at = min((place for place in (line.find("="), line.find(":")) if place >= 0), default=-1)
        if at > 0:
            said[line[:at].strip()] = line[at + 1 :].strip()[:LONGEST_VALUE]
    return said


def pom_licenses(raw: bytes) -> list[str]:
    """The names of the licences in a pom.xml."""
    text = _without_comments(raw)
    block = next(_between(text, "<licenses>", "</licenses>"), "")
    return [
        name for one in _between(block, "<license>", "</license>") for name in _values(one, "name") if "${" not in name
    ]


def pom_parent_version(raw: bytes) -> str:
    """The version of a pom.xml: its own, or its parent's; "" where it is not written out."""
    text = _without_comments(raw)
    head = text
    for tag in ("parent", "dependencies", "dependencyManagement", "build", "profiles", "plugins", "reporting"):
        head = _cut_out(head, f"<{tag}>", f"</{tag}>")
    own = next(_values(head, "version"), "")
    if not own:
        parent = next(_between(text, "<parent>", "</parent>"), "")
        own = next(_values(parent, "version"), "")
    return "" if "${" in own else own[:LONGEST_VALUE]


def _values(text: str, tag: str) -> Iterator[str]:
    return (value.strip() for value in _between(text, f"<{tag}>", f"</{tag}>") if "<" not in value)


def _between(text: str, begin: str, end: str) -> Iterator[str]:
    at = text.find(begin)
    while at >= 0:
        stop = text.find(end, at)
        if stop < 0:
            return
        yield text[at + len(begin) : stop]
        at = text.find(begin, stop)


def _cut_out(text: str, begin: str, end: str) -> str:
    kept, at = [], 0
    while (start := text.find(begin, at)) >= 0 and (stop := text.find(end, start)) >= 0:
        kept.append(text[at:start])
        at = stop + len(end)
    kept.append(text[at:])
    return "".join(kept)


def _without_comments(raw: bytes) -> str:
    return _cut_out(raw.decode("utf-8", "replace"), "<!--", "-->")
