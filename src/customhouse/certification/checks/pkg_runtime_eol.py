"""PKG-RUNTIME-EOL: the language runtimes that no distribution keeps still get fixes.

1. What a distribution packages gets its fixes there: PKG-OS asks for that. Looked at are the runtimes that the
   catalogue knows by their own bytes, Go's library inside programs, and what the official images say in the
   environment (PYTHON_VERSION) where the program is there and the catalogue does not know it.
2. A runtime whose series the table of dates does not know is not evaluable.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta

from customhouse.catalogue.eol import SupportTable
from customhouse.certification.check import Check, Failure, NotApplicable, NotEvaluable, Subject
from customhouse.certification.checks._files import UNREAD, number
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.program import find

_PACKAGES = {
    **{name: name for name in ("python", "ruby", "php", "perl", "erlang")},
    **{"node": "node", "nodejs": "node", "stdlib": "go", "go": "go", "openjdk": "java", "jdk": "java", "jre": "java"},
    **dict.fromkeys(("Microsoft.NETCore.App", "Microsoft.AspNetCore.App"), "dotnet"),
}
# variable of the official images -> (runtime, its program)
_VARIABLES = {
    "PYTHON_VERSION": ("python", "python3"),
    "NODE_VERSION": ("node", "node"),
    "PHP_VERSION": ("php", "php"),
    "RUBY_VERSION": ("ruby", "ruby"),
    "GOLANG_VERSION": ("go", "go"),
    "JAVA_VERSION": ("java", "java"),
    "DOTNET_VERSION": ("dotnet", "dotnet"),
}
_NUMBER = re.compile(r"(?:jdk-?|go|v)?(?:1\.(?=[5-8]\.))?(\d{1,4}(?:\.\d{1,4}){0,3})")
_NO_END_YET = date(9999, 12, 31)


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    found = _runtimes(subject)
    table = SupportTable.shipped()
    unknown = []
    for (runtime, version), evidence in sorted(found.items()):
        release = table.runtime(runtime, version)
        if release is None:
            unknown.append(f"{runtime} {version}")
            continue
        left = release.ends - subject.now.date()
        said: dict[str, JSON] = {
            "key": f"{runtime}:{version}",
            **evidence,
            "version": version,
            "last_day_of_support": release.ends.isoformat(),
            "dates_as_of": table.as_of.isoformat(),
        }
        if left < timedelta():
            yield Failure(f"{runtime} {version} has had no fixes since {release.ends}", said)
        elif release.ends != _NO_END_YET and left < timedelta(days=number(params["warn_days"])):
            message = f"{runtime} {version} gets fixes for {left.days} more days only, until {release.ends}"
            yield Failure(message, said, Severity.MEDIUM)
    if unknown:
        raise NotEvaluable(f"no support dates are known for {', '.join(unknown[:10])} (dates as of {table.as_of})")
    if not subject.image.complete:
        raise NotEvaluable(UNREAD)
    if not found:
        raise NotApplicable("there is no runtime of a language but what a distribution packages")


def _runtimes(subject: Subject) -> dict[tuple[str, str], dict[str, JSON]]:
    """By (runtime, version): the evidence, by package URL where there is one."""
    found: dict[tuple[str, str], dict[str, JSON]] = {}
    for package in subject.catalogue.packages:
        runtime = _PACKAGES.get(package.name) if package.kind != "os" else None
        # A library of that name (a package `python` on PyPI, `node` on npm) is no runtime.
        if runtime is None or package.purl.startswith(("pkg:pypi/", "pkg:npm/", "pkg:gem/", "pkg:composer/")):
            continue
        version = _NUMBER.match(package.version)
        if version is not None:
            found.setdefault((runtime, version[1]), {"purl": package.purl, "path": package.path})
    known = {runtime for runtime, _ in found}
    config = subject.image.config
    for name, (runtime, program) in _VARIABLES.items():
        version = _NUMBER.match(config.environment.get(name, ""))
        path = find(program, config, subject.image.fs) if version is not None and runtime not in known else None
        entry = subject.image.fs.entry(path) if path else None
        if version is not None and entry is not None and entry.path not in subject.catalogue.owners:
            found[runtime, version[1]] = {"path": entry.path, "variable": name}
    return found


CHECK = Check(
    id="PKG-RUNTIME-EOL",
    title="Runtimes of languages still get fixes",
    why="After its last day a runtime's flaws stay, and libraries stop testing with it.",
    remedy="Move to a supported series of the runtime and build again; a Go program is built again with a newer Go.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    params={"warn_days": 90},
    sources=("endoflife.date",),
    not_applicable="there is no runtime but those that a distribution packages",
    not_evaluable="the table of dates does not know a runtime's series, or a layer could not be read",
)
