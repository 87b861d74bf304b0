"""What can be known of a command line without running it: enough to judge a health probe.

This is no shell. It splits a line into simple commands joined by operators and gives up on nothing: a word that only a
running shell could know (a variable, a substitution) is marked as such and never held against the publisher.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

BUILTINS = frozenset(
    """
    . : [ [[ alias bg break builtin case cd command continue declare do done echo elif else esac eval exec exit export
    false fi for getopts hash if in jobs kill let local printf pwd read readonly return set shift source test then
    time times trap true type ulimit umask unset until wait while { } ! ( )
    """.split()  # noqa: SIM905
)
_KEYWORDS = frozenset({"if", "then", "elif", "else", "while", "until", "do", "!", "{", "(", "time", "exec", "command"})
_ALWAYS_TRUE = frozenset({"true", ":", "echo", "printf", "sleep", "date", "pwd", "hostname", "uname", "id"})
_LOCAL = re.compile(r"localhost|localhost\.localdomain|127(\.\d{1,3}){3}|0\.0\.0\.0|0|::1?|ip6-localhost")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_FETCHERS = frozenset({"curl", "wget"})
_CONNECTORS = frozenset({"nc", "ncat", "netcat", "ping", "ping6", "telnet"})
_HOST_OPTIONS = re.compile(r"(?:-h|--host|--hostname|-H)(?:=(.+))?")
_HOST_TAKERS = frozenset({"pg_isready", "psql", "mysqladmin", "mysql", "mariadb-admin", "redis-cli", "mongosh"})
_BARE_HOST = re.compile(r"[\w-]+(\.[\w-]+)*\.[a-z]{2,}(:\d+)?(/.*)?")
MOST_TEXT = 64 * 1024


@dataclass(frozen=True)
class Command:
    """One simple command. `before` is the operator it follows ("" for the first)."""

    words: tuple[str, ...]
    before: str = ""

    @property
    def name(self) -> str:
        return self.words[0].rpartition("/")[2]


def commands(text: str) -> tuple[Command, ...]:
    """The simple commands of a line, keywords and assignments taken off. Text that cannot be split gives ()."""
    if len(text) > MOST_TEXT:
        return ()
    lexer = shlex.shlex(text.replace("\\\n", " ").replace("\n", " ; "), posix=True, punctuation_chars="();|&")
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        tokens = list(lexer)
    except ValueError:
        return ()
    return tuple(_simple(tokens))


def _simple(tokens: Sequence[str]) -> Iterator[Command]:
    words: list[str] = []
    before = ""
    for token in (*tokens, ";"):
        # Adjoining operators come as one token: ");" or "||(".
        operator = token.strip("()") if set(token) <= set("();|&") else None
        if operator is None:
            words.append(token)
            continue
        stripped = _bare(words)
        if stripped:
            yield Command(tuple(stripped), before)
            before = ""
        before = operator or before
        words = []


def _bare(words: list[str]) -> list[str]:
    while words and (words[0] in _KEYWORDS or _ASSIGNMENT.match(words[0])):
        words = words[1:]
    return words


def unwrap(argv: Sequence[str]) -> tuple[str | None, tuple[Command, ...]]:
    """For `sh -c TEXT` the shell and the commands of TEXT; for anything else None and the one command."""
    if len(argv) >= 3 and argv[0].rpartition("/")[2] in ("sh", "bash", "dash", "ash", "zsh", "busybox"):
        flags = argv[1:] if argv[0].rpartition("/")[2] != "busybox" else argv[2:]
        if len(flags) >= 2 and re.fullmatch(r"-[a-z]*c", flags[0]):
            return argv[0], commands(flags[1])
    return None, (Command(tuple(argv)),) if argv else ()


def known_word(word: str) -> bool:
    """Is the word what it looks like, whatever the shell's variables hold?"""
    return not set("$`*?[{~") & set(word) or word in ("[", "[[")


def always_succeeds(line: Sequence[Command]) -> bool:
    """Would this line report success however the service does?"""
    if not line:
        return False
    gives_up = any(item.name == "exit" and not _trivial(item) for item in line[:-1])
    if _trivial(line[-1]) and line[-1].before not in ("", "&&") and not gives_up:
        return True
    return all(_trivial(command) for command in line)


def _trivial(command: Command) -> bool:
    name, arguments = command.name, command.words[1:]
    if name == "exit":
        return not arguments or arguments[0] == "0"
    if name == "busybox" and arguments:
        return _trivial(Command(arguments))
    if name in ("test", "["):
        plain = [word for word in arguments if word != "]"]
        return len(plain) == 1 and known_word(plain[0]) or (len(plain) == 3 and plain[0] == plain[2])
    return name in _ALWAYS_TRUE and not any(not known_word(word) and "$(" in word for word in arguments)


def outside_hosts(command: Command) -> Iterator[str]:
    """Hosts a command plainly talks to that are not this container."""
    words = command.words[2:] if command.name == "busybox" else command.words[1:]
    name = command.words[1] if command.name == "busybox" and len(command.words) > 1 else command.name
    for word in words:
        for url in _URL.findall(word):
            yield from _outside(_host(url))
    if name in _FETCHERS:
        for word in words:
            if not word.startswith("-") and "://" not in word and _BARE_HOST.fullmatch(word):
                yield from _outside(_host("http://" + word))
    elif name in _CONNECTORS:
        target = next((word for word in words if not word.startswith("-") and not word.isdigit()), None)
        yield from _outside(target)
    elif name in _HOST_TAKERS:
        yield from _outside(_option(words))


def _option(words: Sequence[str]) -> str | None:
    for place, word in enumerate(words):
        match = _HOST_OPTIONS.fullmatch(word)
        if match:
            return match[1] or (words[place + 1] if place + 1 < len(words) else None)
    return None


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _outside(host: str | None) -> Iterator[str]:
    if host and known_word(host) and not host.startswith("/") and not _LOCAL.fullmatch(host.lower()):
        yield host
