"""CFG-ENTRY: something is started, in exec form, and it can start on this platform."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, NotEvaluable, Subject, whole_filesystem
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.program import obstacle
from customhouse.certification.shell import BUILTINS, known_word, unwrap


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    config = subject.image.config
    if config.os == "windows":
        raise NotApplicable("programs of Windows images are not read")
    argv = config.argv
    if not argv or not argv[0]:
        yield Failure("neither ENTRYPOINT nor CMD says what to start", {"key": "none"})
        return
    shell, line = unwrap(argv)
    programs = [argv[0]]
    if shell is not None:
        text = argv[2] if len(argv) > 2 else ""
        if not text.lstrip().startswith("exec "):
            message = f"{text[:80]!r} is started by a shell, which does not hand signals on"
            yield Failure(message, {"key": "shell", "value": text[:200]})
        if line and line[0].name not in BUILTINS and known_word(line[0].words[0]):
            programs.append(line[0].words[0])
    fs = whole_filesystem(subject)
    for program in programs:
        found = obstacle(program, config, fs)
        if found is not None and found.kind == "unknown":
            raise NotEvaluable(found.message)
        if found is not None:
            yield Failure(found.message, {"key": found.kind, "path": found.path, "value": program})


CHECK = Check(
    id="CFG-ENTRY",
    title="What the image starts is in exec form, exists, and runs on its platform",
    why="A program that is missing, not executable, built for another processor or without its loader never starts; a "
    "shell in front of it swallows SIGTERM.",
    remedy='Write ENTRYPOINT ["/path/to/program"] and check with the same base that the program starts.',
    severity=Severity.HIGH,
    evaluate=evaluate,
    sources=("DL3025", "distroless", "Docker certification"),
    not_applicable="the image is one of Windows",
    not_evaluable="a layer, or the program itself, could not be read",
)
