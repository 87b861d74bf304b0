"""RUN-PROC: what the running container does is what it declares: its processes, its ports, where it writes.

1. Processes: one service. Supervisors, init systems, remote logins and timers beside it are named; so are processes
   that ended and that nobody waited for.
2. Ports beyond loopback are those of EXPOSE, both ways. UDP ports of the ephemeral range are those of clients.
3. Nothing is written to the root filesystem outside tmpfs and declared volumes.
4. What could not be seen makes the rest not evaluable; what was seen is told all the same.
"""

from collections.abc import Iterable, Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotEvaluable, Subject
from customhouse.certification.checks._run import served
from customhouse.certification.findings import JSON, Severity
from customhouse.sandbox.runner import Process

UNEXPECTED = (
    "supervisord", "systemd", "sshd", "dropbear", "telnetd", "inetd", "xinetd", "cron", "crond", "anacron", "atd",
    "s6-svscan", "runsvdir", "dockerd", "containerd", "rsyslogd", "syslogd", "xmrig",
)  # fmt: skip
EPHEMERAL = 32768
WRITTEN_SHOWN = 20


def behaves(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    """One failure per unexpected program, port, and for the written paths together."""
    surface = served(subject).surface
    if surface is None:
        raise NotEvaluable("the container was not looked at while it served")
    names = params["unexpected"]
    assert isinstance(names, list | tuple)
    unknown = []
    if surface.processes is None:
        unknown.append("processes")
    else:
        yield from _processes(surface.processes, {str(name) for name in names})
    if surface.ports is None:
        unknown.append("ports")
    else:
        yield from _ports(surface.ports, subject.image.config.exposed_ports)
    if surface.written is None:
        unknown.append("written files")
    elif surface.written:
        yield Failure(
            f"it writes to its root filesystem outside of tmpfs and volumes: {len(surface.written)} paths",
            {"key": "written", "paths": list(surface.written[:WRITTEN_SHOWN])},
        )
    if unknown:
        raise NotEvaluable(f"its {' and '.join(unknown)} cannot be seen on this engine")


def _processes(processes: Iterable[Process], names: set[str]) -> Iterator[Failure]:
    found: dict[str, str] = {}
    ended = 0
    for process in processes:
        ended += process.state == "Z"
        # The second word too: `python3 /usr/bin/supervisord`.
        for word in process.command.split()[:2]:
            name = word.rpartition("/")[2].rstrip(":")
            if name in names:
                found.setdefault(name, process.command)
    for name, command in sorted(found.items()):
        yield Failure(f"{name} runs beside the service or in its place", {"key": f"process:{name}", "command": command})
    if ended:
        yield Failure(f"{ended} ended processes are left behind: PID 1 does not wait for them", {"key": "zombies"})


def _ports(listening: Iterable[str], declared: Iterable[str]) -> Iterator[Failure]:
    exposed = {port for entry in declared for port in _range(entry)}
    for port in listening:
        number, _, kind = port.partition("/")
        if port not in exposed and not (kind == "udp" and int(number) >= EPHEMERAL):
            yield Failure(f"it listens on {port}, which it does not declare", {"key": f"listens:{port}"})
    for port in sorted(exposed - set(listening)):
        yield Failure(f"it declares {port} and does not listen there", {"key": f"exposes:{port}"}, Severity.LOW)


def _range(entry: str) -> Iterator[str]:
    """The ports of "8080", "8080/tcp" or "8000-8010/udp"; nothing for what is no port (CFG-PORTS says so)."""
    ports, _, kind = entry.partition("/")
    first, _, last = ports.partition("-")
    last = last or first
    if all(part.isascii() and part.isdigit() and len(part) <= 5 for part in (first, last)):
        for number in range(int(first), min(int(last), 65535) + 1):
            yield f"{number}/{kind or 'tcp'}"


CHECK = Check(
    id="RUN-PROC",
    title="Processes, ports and writes are those declared",
    why="Who runs the image opens the ports it names, mounts the volumes it names and watches one service; the rest "
    "goes unseen.",
    remedy="Run one service per container, EXPOSE each port it serves, declare a VOLUME where it writes, and let PID 1 "
    "wait for its children (`docker run --init`, tini).",
    severity=Severity.MEDIUM,
    evaluate=behaves,
    params={"unexpected": list(UNEXPECTED)},
    not_evaluable="the image was not run, or did not serve, or the engine shows no processes, ports or changes",
    sources=("Docker certification",),
)
