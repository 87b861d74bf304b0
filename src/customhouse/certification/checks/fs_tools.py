"""FS-TOOLS: no tools of builders, debuggers and intruders."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._files import UNREAD, at_file, texts
from customhouse.certification.checks._programs import programs
from customhouse.certification.findings import JSON, Severity

_SERVERS = frozenset({"sshd", "telnetd", "in.telnetd", "rshd", "vsftpd"})


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    told: set[str] = set()
    for name, entry in programs(subject, texts(params["tools"])):
        if entry.path in told:
            continue
        told.add(entry.path)
        severity = Severity.HIGH if name in _SERVERS else None
        yield Failure(f"{name} is installed", at_file(subject, entry, name=name), severity)
    both = dict(programs(subject, ("curl", "wget")))
    if len(both) == 2:
        message = "curl and wget are both installed; one is enough"
        yield Failure(message, {"key": "curl+wget", "paths": [entry.path for entry in both.values()]})


CHECK = Check(
    id="FS-TOOLS",
    title="No compilers, debuggers, network tools or login servers",
    why="Each is one more thing to patch, and the first thing an intruder looks for.",
    remedy="Build in one stage and copy the result into another; keep debugging tools in an image of their own.",
    severity=Severity.LOW,
    evaluate=evaluate,
    params={
        "tools": [
            *("gcc", "g++", "cc", "c++", "clang", "tcc", "ld", "as", "make", "cmake", "cargo", "rustc", "javac"),
            *("gdb", "lldb", "strace", "ltrace", "perf", "tcpdump", "tshark", "nmap", "masscan", "hydra", "socat"),
            *("nc", "ncat", "netcat", "nc.openbsd", "nc.traditional", "telnet", "ftp", "tftp", "rsh", "sshd"),
            *("telnetd", "in.telnetd", "rshd", "vsftpd", "git", "svn", "hg", "docker", "kubectl"),
        ]
    },
    sources=("CIS 4.3", "DS-0014", "DL3001", "DL4001"),
    not_evaluable=UNREAD,
)
