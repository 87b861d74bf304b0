"""CFG-ONECONCERN: the container is one service, not a machine with an init system in it.

Small inits that only reap and forward signals (tini, dumb-init, catatonit) are looked through.
"""

import posixpath
from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, Subject, whole_filesystem
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.program import find
from customhouse.certification.shell import unwrap

_REAPERS = frozenset(
    {"tini", "tini-static", "dumb-init", "catatonit", "docker-init", "gosu", "su-exec", "setpriv", "env"}
)
_MANAGERS = frozenset(
    {"supervisord", "s6-svscan", "s6-overlay-suexec", "runsvdir", "runit", "runit-init", "systemd", "my_init"}
    | {"circusd", "monit", "openrc-init", "upstart", "sshd", "multirun", "pm2-runtime", "foreman", "honcho"}
)
_S6_INIT = ("etc/s6-overlay", "package/admin/s6-overlay", "etc/services.d")


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    config = subject.image.config
    if config.os == "windows":
        raise NotApplicable("programs of Windows images are not read")
    if not config.argv or not config.argv[0]:
        raise NotApplicable("the image says nothing to start")
    fs = whole_filesystem(subject)
    allowed = params["allowed"]
    for word in _programs(config.argv):
        path = find(word, config, fs)
        entry = fs.entry(path) if path else None
        names = {posixpath.basename(word), entry.name if entry is not None else ""}
        found = next((name for name in sorted(names) if name in _MANAGERS), None)
        if path == "/sbin/init":
            found = found or "init"
        elif posixpath.basename(word) == "init" and any(fs.exists(folder) for folder in _S6_INIT):
            found = "s6"
        if found is not None and not (isinstance(allowed, list) and found in allowed):
            message = f"{word[:200]} starts {found}, which runs several services in one container"
            started = (path or word[:200]).lstrip("/")
            yield Failure(message, {"key": f"manager:{found}", "path": started, "value": word[:200]})


def _programs(argv: tuple[str, ...]) -> Iterator[str]:
    """The first program, what a reaper starts, and what a shell starts last."""
    at = 0
    while at < len(argv) and posixpath.basename(argv[at]) in _REAPERS:
        at += 1
        while at < len(argv) and (argv[at].startswith("-") or "=" in argv[at]):
            at += 1
    if at == len(argv):
        return
    shell, line = unwrap(argv[at:])
    if shell is None:
        yield argv[at]
    for command in line if shell is not None else ():
        yield command.words[0]


CHECK = Check(
    id="CFG-ONECONCERN",
    title="The container is one service",
    why="An init system hides crashes and logs from the engine and needs root; services that belong together are "
    "started, scaled and updated one by one.",
    remedy="Start the service itself, one image each, and let compose or the orchestrator tie them together.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    params={"allowed": []},
    sources=("Docker certification", "Docker Official Images"),
    not_applicable="the image says nothing to start, or is one of Windows",
    not_evaluable="a layer could not be read",
)
