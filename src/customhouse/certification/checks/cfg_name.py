"""CFG-NAME: the image does not pass for another's.

1. The vendor, maintainer and authors that it names must not be a reserved brand; neither may a namespace above it or
   its title be one. "for BRAND" is no claim to be BRAND.
2. Case, separators, accents and letters that only look alike do not matter.
3. `owners` says whose namespace may carry a brand: "docker=library" lets `library/…` name docker.
(Red Hat's preflight asks this for its own marks.)
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.findings import JSON, Severity

_VENDOR = ("vendor", "maintainer", "org.opencontainers.image.vendor", "org.opencontainers.image.authors")
_TITLE = ("name", "org.opencontainers.image.title")
_CLAIMS = ("official", "inc", "team", "certified", "verified")
_FOR = re.compile(r"\bfor\s+.*", re.IGNORECASE | re.DOTALL)
_ADDRESS = re.compile(r"<[^<>]*>|\S+@\S+|https?://\S+")
# Letters of other alphabets, and digits, that are read as Latin ones.
_ALIKE = str.maketrans("аеорсухіѕјԁԛɡ01", "aeopcyxisjdqgol")
MOST_WORDS = 40


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    reserved, owners = _texts(params["reserved"]), _texts(params["owners"])
    parts = _repository(subject.image.reference)
    mine = {brand for brand, _, owner in (text.partition("=") for text in owners) if owner and owner in parts}
    said = {**subject.image.config.labels, **subject.image.manifest.annotations}
    for brand in reserved:
        if brand in mine:
            continue
        wanted = _folded(brand)
        for name in _VENDOR:
            words = [_folded(word) for word in _words(_ADDRESS.sub(" ", _FOR.sub("", said.get(name, ""))))]
            if wanted in _runs(words):
                yield _failure(brand, f"the label {name}", said[name])
        for name in _TITLE:
            if _claims(said.get(name, ""), wanted):
                yield _failure(brand, f"the label {name}", said[name])
        for part in parts[:-1]:
            if _claims(part, wanted):
                yield _failure(brand, "the namespace", part)


def _failure(brand: str, where: str, value: str) -> Failure:
    evidence: dict[str, JSON] = {"key": f"brand:{brand}:{where}", "value": value[:200]}
    return Failure(f"{where} says {value[:100]!r}, and {brand} is a reserved name", evidence)


def _claims(text: str, brand: str) -> bool:
    """Is the text the brand itself, with nothing but a claim to be genuine beside it?"""
    words = [word for word in (_folded(word) for word in _words(text)) if word not in _CLAIMS]
    return "".join(words) == brand


def _runs(words: Sequence[str]) -> set[str]:
    return {"".join(words[at : at + length]) for at in range(len(words)) for length in (1, 2, 3)}


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text[:1000])[:MOST_WORDS]


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).casefold().translate(_ALIKE)
    return "".join(letter for letter in plain if letter.isalnum())


def _repository(reference: str) -> tuple[str, ...]:
    """The parts of the repository's name, without host, tag and digest."""
    name = reference.split("@", 1)[0]
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        name = rest
    folder, slash, last = name.rpartition("/")
    return tuple(part for part in (*folder.split("/"), last.split(":", 1)[0]) if part)


def _texts(value: JSON) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


CHECK = Check(
    id="CFG-NAME",
    title="The image does not pass for another's",
    why="People trust a known name; who may use it is decided by its owner.",
    remedy="Name yourself as the vendor, and say `for BRAND` in the title where the image extends another's product.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    params={
        "reserved": [
            *("docker", "redhat", "canonical", "suse", "microsoft", "oracle", "google", "amazon", "apple", "ibm"),
            *("vmware", "cncf", "kubernetes", "linuxfoundation", "debian", "ubuntu", "alpinelinux", "customhouse"),
        ],
        "owners": [],
    },
    sources=("preflight HasProhibitedLabels", "preflight HasProhibitedContainerName"),
)
