"""A guide as a script: the commands in its Markdown, and the world in which they are typed.

The convention, which CONTRIBUTING.md tells to writers. In a ```console block a line `$ …` is a command (a line that
ends in a backslash goes on), the lines below it are what it shows: each must be among what was really printed, `…`
standing for anything. A comment before a block, which readers do not see, says more:

    <!-- as: alice -->          who types from here on; everybody has a home, all share one desk (the working folder)
    <!-- exit: 1 -->            how the last command of the next block ends; 0 if nothing is said
    <!-- serves -->             the next block is a server: it runs on, and its shown lines are waited for
    <!-- file: NAME -->         the next block is the content of this file
    <!-- not run: REASON -->    the next block is only read; test_guides.py has the list of all of these

`hub.example.com` is the hub under test. `ID` in what is shown is remembered and put into later commands. `sudo` and
the folders of a system (/etc, /var/lib, …) mean this world's own; `systemctl … customhouse` runs the unit of the
guide.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.hub_process import PASSWORD, free_port

PROGRAMS = Path(sys.executable).parent
PASSPHRASE = "correct horse battery"
SYSTEM = re.compile(r"(?<![\w./~-])/(?=(?:etc|srv|var/lib|var/backups)(?:/|\s|$))")
START_SECONDS, STOP_SECONDS, COMMAND_SECONDS = 60, 15, 120


@dataclass(frozen=True)
class Command:
    """One command, what the guide shows of its answer, and how it ends."""

    line: int
    text: str
    shown: tuple[str, ...]
    exit: int = 0


@dataclass(frozen=True)
class Block:
    """One block of a guide, with what the comments before it say."""

    line: int
    language: str
    text: str
    person: str
    exit: int = 0
    serves: bool = False
    file: str = ""
    not_run: str = ""

    def commands(self) -> list[Command]:
        found: list[tuple[int, str, list[str]]] = []
        lines = iter(enumerate(self.text.splitlines(), self.line + 1))
        for number, line in lines:
            if line.startswith("$ "):
                text = line[2:]
                while text.endswith("\\"):
                    text = text[:-1] + next(lines)[1].strip()
                found.append((number, text, []))
            elif line.strip():
                assert found, f"line {number}: something is shown before any command"
                found[-1][2].append(line)
        last = len(found) - 1
        return [
            Command(number, text, tuple(shown), self.exit if place == last else 0)
            for place, (number, text, shown) in enumerate(found)
        ]


_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^ *<!-- (as|exit|serves|file|not run)(?:: (.*?))? -->$", re.MULTILINE)


def blocks(markdown: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    person, end = "reader", 0
    for fence in _FENCE.finditer(markdown):
        said = dict(_COMMENT.findall(markdown, end, fence.start()))
        end = fence.end()
        person = said.get("as", person)
        yield Block(
            line=markdown.count("\n", 0, fence.start()) + 1,
            language=fence[2],
            text=fence[3],
            person=person,
            exit=int(said.get("exit", 0)),
            serves="serves" in said,
            file=said.get("file", ""),
            not_run=said.get("not run", ""),
        )


@dataclass
class World:
    """Homes, one desk, a system of its own, and one hub. `words` are further replacements."""

    root: Path
    port: int = field(default_factory=free_port)
    settings: Mapping[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    secrets: Callable[[str], Mapping[str, str]] = lambda person: {}
    captured: dict[str, str] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)
    server: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.desk.mkdir(parents=True)
        for folder in ("etc", "srv", "var/lib", "var/backups"):
            (self.system / folder).mkdir(parents=True)

    @property
    def desk(self) -> Path:
        return self.root / "desk"

    @property
    def system(self) -> Path:
        """Where this world's /etc and /var/lib are."""
        return self.root / "system"

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    def home(self, person: str) -> Path:
        """The person's home; made at first use, with the password that the administrator chose for him in it."""
        home = self.root / "homes" / person
        if not home.exists():
            home.mkdir(parents=True)
            (home / "password").write_text(PASSWORD + "\n")
        return home

    def play(self, markdown: str) -> None:
        """Run everything, in order; the first thing that is not as the guide says ends it."""
        for block in blocks(markdown):
            if block.not_run:
                continue
            if block.file:
                path = Path(self.here(block.file))
                path = path if path.is_absolute() else self.desk / path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self.here(block.text))
            elif block.language == "console":
                for command in block.commands():
                    self.run(command, block)

    def here(self, text: str) -> str:
        """A guide's text, with the names of this world."""
        for name, value in self.words.items():
            text = text.replace(name, value)
        text = text.replace("0.0.0.0:443", f"127.0.0.1:{self.port}").replace("hub.example.com", self.host)
        text = text.replace("/opt/customhouse/bin/", f"{PROGRAMS}/")
        return SYSTEM.sub(f"{self.system}/", text).replace("sudo ", "")

    def run(self, command: Command, block: Block) -> None:
        text = self.here(command.text)
        for name, value in self.captured.items():
            text = re.sub(rf"\b{name}\b", value, text)
        if block.serves:
            self.serve(shlex.split(text), {})
            return
        service = re.fullmatch(r"systemctl (enable --now|start|stop|restart|daemon-reload)(?: customhouse)?", text)
        if service:
            self.unit(service[1])
            return
        code, said = self.shell(block.person, text)
        where = f"line {command.line}, as {block.person}: $ {text}\nended with {code}:\n{said}"
        assert "Traceback (most recent call last)" not in said, where
        assert code == command.exit, f"{where}\nbut the guide says {command.exit}"
        printed = [" ".join(line.split()) for line in said.splitlines()]
        self.printed |= dict(line.split(": ", 1) for line in printed if ": " in line)
        for shown in command.shown:
            pattern = self.pattern(shown)
            matches = [found for found in map(pattern.fullmatch, printed) if found]
            assert matches, f"{where}\nbut the guide shows: {shown}"
            self.captured |= matches[0].groupdict()

    def pattern(self, shown: str) -> re.Pattern[str]:
        """What a shown line may really look like."""
        parts = re.split(r"(…|\bID\b)", " ".join(self.here(shown).split()))
        known = {"…": ".*", "ID": "(?P<ID>[0-9a-f]{12,})"}
        return re.compile("".join(known.get(part) or re.escape(part) for part in parts))

    def environment(self, person: str) -> dict[str, str]:
        return {
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}:/usr/sbin",
            "HOME": str(self.home(person)),
            "DOCKER_BUILDKIT": "0",
            "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE": PASSPHRASE,
            "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE": PASSPHRASE,
            **self.settings,
            **self.secrets(person),
        }

    def shell(self, person: str, text: str) -> tuple[int, str]:
        """Type one line; what is set stays, as in a terminal."""
        removed = re.findall(r"rm -rf (\S+)", text)
        assert all(Path(name).is_relative_to(self.root) for name in removed), f"not of this world: {removed}"
        kept = self.home(person) / ".exported"
        kept.touch()
        keep = f"export -p | grep -v ' OLDPWD\\| SHLVL\\| PWD' > {kept}"
        script = f'set -a\nsource {kept}\ntrap "{keep}" EXIT\n{text}\n'
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", script], cwd=self.desk, env=self.environment(person), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=COMMAND_SECONDS,
        )  # fmt: skip
        return done.returncode, done.stdout

    # ---- the server, as a command in the foreground or as a unit

    def serve(self, words: list[str], environment: Mapping[str, str]) -> None:
        """Start a server and wait for its `ready` line."""
        self.stop()
        log = self.root / "hub.log"
        with log.open("a") as file:
            self.server = subprocess.Popen(
                words, cwd=self.desk, stdout=subprocess.PIPE, stderr=file, text=True, start_new_session=True,
                env={"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "CUSTOMHOUSE_ENGINE": "none", **environment},
            )  # fmt: skip
        impatient = threading.Timer(START_SECONDS, self.server.kill)
        impatient.start()
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        impatient.cancel()
        assert line == f"ready https://{self.host}\n", f"{words} said {line!r}\n{log.read_text()[-4000:]}"

    def unit(self, verb: str) -> None:
        """What systemd would do with the guide's unit file."""
        if verb == "daemon-reload":
            return
        self.stop()
        if verb == "stop":
            return
        text = (self.system / "etc/systemd/system/customhouse.service").read_text()
        command = re.search(r"^ExecStart=(.+)$", text, re.MULTILINE)
        assert command, text
        settings = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.MULTILINE))
        self.serve(shlex.split(command[1]), settings)

    def stop(self) -> None:
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            self.server.wait(timeout=STOP_SECONDS)
        self.server = None

    def close(self) -> None:
        """Whatever state it is in, the server is gone afterwards."""
        if self.server is not None and self.server.poll() is None:
            self.server.kill()
            self.server.wait(timeout=STOP_SECONDS)
