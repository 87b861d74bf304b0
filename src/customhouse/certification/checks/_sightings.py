"""What checks of secrets and malware share: sightings by file over all layers, also where hidden."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from customhouse.certification.check import Failure, NotEvaluable, Subject, at_layer
from customhouse.certification.findings import JSON, Severity

MOST_LINES = 10
Fact = Mapping[str, JSON]


@dataclass
class _Seen:
    """One rule in one file: `facts` are those of the last layer that has it."""

    position: int
    facts: list[Fact] = field(default_factory=list)
    layers: int = 1


def failures(
    subject: Subject, readers: tuple[str, ...], mine: Callable[[Fact], bool], describe: Callable[[Fact], str]
) -> Iterator[Failure]:
    """One failure for each file and rule, the newest layer's. Raises NotEvaluable at the end, when there is something
    that could not be searched."""
    seen: dict[tuple[str, str], _Seen] = {}
    for reader in readers:
        for position, path, facts in subject.image.layer_facts(reader):
            for fact in facts:
                if isinstance(fact, dict) and mine(fact):
                    _add(seen, path, fact, position)
    for (path, rule), one in sorted(seen.items()):
        yield _failure(subject, path, rule, one, describe)
    _all_searched(subject, readers)


def _add(seen: dict[tuple[str, str], _Seen], path: str, fact: Fact, position: int) -> None:
    key = (path, str(fact.get("rule", "")))
    one = seen.setdefault(key, _Seen(position))
    if one.position != position:
        one.position, one.layers = position, one.layers + 1
        one.facts.clear()
    one.facts.append(fact)


def _failure(
    subject: Subject, path: str, rule: str, one: _Seen, describe: Callable[[Fact], str]
) -> Failure:
    heaviest = max(one.facts, key=lambda fact: _severity(fact).rank)
    entry = subject.image.fs.entry(path, follow=False)
    still = entry is not None and entry.layer == one.position
    lines: list[JSON] = [fact["line"] for fact in one.facts if "line" in fact][:MOST_LINES]
    evidence: dict[str, JSON] = {"path": path, "key": rule, **at_layer(subject, one.position)}
    if lines:
        evidence["lines"] = lines
    if len(one.facts) > 1:
        evidence["count"] = len(one.facts)
    for name in ("name", "length"):
        if name in heaviest:
            evidence[name] = heaviest[name]
    if heaviest.get("published"):
        evidence["published"] = True
    where = f"/{path}" + (f" line {lines[0]}" if lines else "")
    message = f"{where} holds {describe(heaviest)}"
    if not still:
        evidence["removed"] = True
        message += "; a later layer removes or replaces the file, but everyone who pulls gets this layer too"
    elif heaviest.get("published"):
        message += ", in a package that others publish"
    return Failure(message, evidence, _severity(heaviest))


def _severity(fact: Fact) -> Severity:
    return Severity(str(fact.get("severity", Severity.BLOCK)))


def looked(subject: Subject, reader: str) -> bool:
    """Was the image read with this reader?"""
    return any(reader in scan.facts for scan in subject.image.layers)


def _all_searched(subject: Subject, readers: tuple[str, ...]) -> None:
    for scan in subject.image.layers:
        if not scan.complete:
            raise NotEvaluable(f"layer {scan.digest} could not be read to its end")
    for reader in readers:
        for scan in subject.image.layers:
            unread = scan.facts[reader].unread if reader in scan.facts else {}
            if unread:
                path, reason = next(iter(sorted(unread.items())))
                others = f", and {len(unread) - 1} more" if len(unread) > 1 else ""
                raise NotEvaluable(f"not all was searched: /{path} {reason}{others}")
