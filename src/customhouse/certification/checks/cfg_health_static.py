"""CFG-HEALTH-STATIC: the declared probe can run, can fail, and asks this container.

Judged without running it: the probe's programs resolved on PATH in the merged filesystem, its shell, its timing.
(moby daemon/health.go for the meaning of each field.)
"""

from collections.abc import Iterator, Mapping, Sequence

from customhouse.certification.check import Check, Failure, NotApplicable, NotEvaluable, Subject, whole_filesystem
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.program import Obstacle, find, obstacle
from customhouse.certification.shell import (
    BUILTINS,
    Command,
    always_succeeds,
    commands,
    known_word,
    outside_hosts,
    unwrap,
)
from customhouse.oci.config import Healthcheck, ImageConfig
from customhouse.oci.image import Filesystem

SECOND = 1_000_000_000
SHORTEST = 1_000_000  # engines refuse a shorter duration than 1 ms, 0 excepted
# A busybox shell starts these by itself, whether or not a link stands on PATH.
_APPLETS = frozenset(
    (
        *("wget", "nc", "ping", "grep", "egrep", "fgrep", "sed", "awk", "cat", "head", "tail", "ps", "pgrep", "pidof"),
        *("stat", "cut", "tr", "wc", "netstat", "timeout", "find", "xargs", "test", "sleep", "date", "hostname", "sh"),
        *("ash", "printf", "ls", "md5sum", "sha256sum", "traceroute", "telnet", "nslookup", "od", "env"),
    )
)


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    config = subject.image.config
    health = config.healthcheck
    if config.os == "windows":
        raise NotApplicable("probes of Windows images are not read")
    if health is None or not health.declared or len(health.test) < 2:
        raise NotApplicable("no health-check is declared")
    yield from _timing(health, params)
    fs = whole_filesystem(subject)
    unknown: list[str] = []
    if health.test[0] == "CMD-SHELL":
        yield from _shell_probe(health.test[1], config, fs, unknown)
    else:
        yield from _exec_probe(health.test[1:], config, fs, unknown)
    if unknown:
        raise NotEvaluable("; ".join(unknown))


def _shell_probe(text: str, config: ImageConfig, fs: Filesystem, unknown: list[str]) -> Iterator[Failure]:
    shell = config.shell[0] if config.shell else "/bin/sh"
    yield from _program(shell, config, fs, unknown, "the probe needs a shell, but ")
    line = commands(text)
    if not text.strip() or always_succeeds(line):
        yield _trivial(text)
    if text.strip() and not line:
        unknown.append("the probe's command line could not be read")
    yield from _line(line, shell, config, fs, unknown)


def _exec_probe(argv: Sequence[str], config: ImageConfig, fs: Filesystem, unknown: list[str]) -> Iterator[Failure]:
    shell, line = unwrap(argv)
    yield from _program(argv[0], config, fs, unknown, "the probe cannot start: ")
    if always_succeeds(line):
        yield _trivial(" ".join(argv))
    if shell is not None:
        yield from _line(line, shell, config, fs, unknown)
    else:
        for command in line:
            yield from _reaches(command)


def _line(
    line: Sequence[Command], shell: str, config: ImageConfig, fs: Filesystem, unknown: list[str]
) -> Iterator[Failure]:
    applets = _APPLETS if _is_busybox(shell, config, fs) else frozenset()
    alternatives: list[list[Command]] = []
    for command in line:
        if command.before == "||" and alternatives:
            alternatives[-1].append(command)
        else:
            alternatives.append([command])
    for group in alternatives:
        # `curl … || wget …` needs one of the two; `curl … || exit 1` needs curl.
        programs = [item.words[0] for item in group if item.name not in BUILTINS and known_word(item.words[0])]
        programs = [name for name in programs if name not in applets]
        obstacles = [found for name in programs if (found := obstacle(name, config, fs)) is not None]
        if programs and len(obstacles) == len(programs):
            yield from _failures(obstacles[:1], unknown, "the probe calls a program that cannot start: ")
    for command in line:
        yield from _reaches(command)


def _program(name: str, config: ImageConfig, fs: Filesystem, unknown: list[str], opening: str) -> Iterator[Failure]:
    found = obstacle(name, config, fs)
    if found is not None:
        yield from _failures([found], unknown, opening)


def _failures(obstacles: Sequence[Obstacle], unknown: list[str], opening: str) -> Iterator[Failure]:
    for found in obstacles:
        if found.kind == "unknown":
            unknown.append(found.message)
        else:
            yield Failure(opening + found.message, {"key": f"probe-{found.kind}", "path": found.path})


def _reaches(command: Command) -> Iterator[Failure]:
    for host in outside_hosts(command):
        message = f"the probe asks {host[:200]}, which is not this container"
        yield Failure(message, {"key": "outside", "value": host[:200]})
    if command.name == "curl" and not any(_fails(word) for word in command.words[1:]):
        message = "curl without --fail is content with any answer, also an error page"
        yield Failure(message, {"key": "curl-fail"}, Severity.LOW)


def _fails(word: str) -> bool:
    long = word.startswith("--fail") or word.startswith("--write-out")
    return long or (word.startswith("-") and not word.startswith("--") and ("f" in word or "w" in word))


def _is_busybox(shell: str, config: ImageConfig, fs: Filesystem) -> bool:
    path = find(shell, config, fs)
    entry = fs.entry(path) if path else None
    return entry is not None and "busybox" in (entry.name, entry.link.rpartition("/")[2])


def _trivial(text: str) -> Failure:
    message = f"the probe {text[:200]!r} succeeds whatever the service does"
    return Failure(message, {"key": "trivial", "value": text[:200]})


def _timing(health: Healthcheck, params: Mapping[str, JSON]) -> Iterator[Failure]:
    for name, value in (
        ("interval", health.interval),
        ("timeout", health.timeout),
        ("start_period", health.start_period),
        ("start_interval", health.start_interval),
    ):
        most = params[f"most_{name}_seconds"]
        evidence: dict[str, JSON] = {"key": name, "value": value / SECOND}
        if value < 0 or 0 < value < SHORTEST:
            yield Failure(f"the probe's {name} of {value} ns is refused by engines", evidence)
        elif isinstance(most, int | float) and value > most * SECOND:
            message = f"the probe's {name} of {value / SECOND:g} s is longer than {most} s"
            yield Failure(message, evidence, Severity.MEDIUM)
    most = params["most_retries"]
    evidence = {"key": "retries", "value": health.retries}
    if health.retries < 0:
        yield Failure(f"the probe's retries are {health.retries}; engines refuse that", evidence)
    elif isinstance(most, int | float) and health.retries > most:
        yield Failure(f"the probe may fail {health.retries} times before it counts", evidence, Severity.MEDIUM)


CHECK = Check(
    id="CFG-HEALTH-STATIC",
    title="The health probe can run, can fail, and asks this container",
    why="A probe whose program is missing is never healthy, one that cannot fail is never unhealthy: both say nothing.",
    remedy="Call a program that is in the image, against localhost, and let its exit status through.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    params={
        "most_interval_seconds": 300,
        "most_timeout_seconds": 60,
        "most_start_period_seconds": 600,
        "most_start_interval_seconds": 60,
        "most_retries": 10,
    },
    sources=("DS-0023",),
    not_applicable="no health-check is declared, or the image is one of Windows",
    not_evaluable="a program of the probe, or its command line, could not be read",
)
