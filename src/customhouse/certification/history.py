"""The build steps of an image, rebuilt from its config's history.

1. Two dialects are read: docker's and buildah's `/bin/sh -c #(nop) COPY …`, and the bare instructions of BuildKit and
   kaniko (`RUN /bin/sh -c … # buildkit`). A build argument in front (`|1 A=b /bin/sh -c …`) is taken off.
2. Lines of other builders (ko, bazel, apko, jib, buildpacks, commits, imports, squashes) tell no commands. They, and a
   history that does not tell every layer, make the history incomplete: what is found in it counts, what is not proves
   nothing.
3. The base image ends where an earlier build set its command: the trailing steps without a layer are skipped, then
   the last CMD without a layer ends the base. This is a guess, and only for who is to be told.
(moby builder/dockerfile; BuildKit frontend/dockerfile2llb; OCI image-spec config.md, history.)
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from customhouse.certification.secrets.text import redacted
from customhouse.certification.shell import MOST_TEXT, Command, commands, unwrap
from customhouse.oci.config import ImageConfig

INSTRUCTIONS = frozenset(
    {"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD"}
    | {"RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
)
_NOP = re.compile(r"(?:/bin/sh -c )?#\(nop\)\s+([A-Z]+)\s?(.*)", re.DOTALL)
_PLAIN = re.compile(r"([A-Z]+)(?: (.*))?", re.DOTALL)
_SHELL = re.compile(r"(?:/usr)?/bin/(?:ba|da|a|z)?sh(?: -[A-Za-z]+(?: pipefail)?){1,4} (.*)", re.DOTALL)
# Base images that were packed from a folder tell how the folder was made, not a step of a build.
_ROOTFS = re.compile(r"#\s*(?:debian\.sh|ubuntu\.sh)|KIWI ")
_WRAPPERS = frozenset({"sudo", "doas", "env", "nohup", "nice", "eatmydata", "chroot", "busybox", "command", "exec"})
_OPTION_WITH_VALUE = frozenset({"-u", "-g", "-n", "-C", "--user", "--group"})
DEEPEST = 3
LONGEST_SHOWN = 400
MOST_COMMANDS = 5000
MOST_HISTORY = 512 * 1024


@dataclass(frozen=True)
class Step:
    """One line of history that is an instruction. `line` counts from 0; `layer` is the position of the layer it made,
    None if it made none or nobody can say; `base`: it belongs to the base image, as far as can be guessed."""

    line: int
    instruction: str
    text: str
    layer: int | None
    base: bool

    def __str__(self) -> str:
        return f"{self.instruction} {self.text}"


@dataclass(frozen=True)
class BuildHistory:
    """`missing` says why the steps are not all there are, or is empty."""

    steps: tuple[Step, ...]
    missing: str

    def of(self, *instructions: str) -> Iterator[Step]:
        return (step for step in self.steps if step.instruction in instructions)


@dataclass(frozen=True)
class Called:
    """A command that a RUN step calls, whatever wraps it. `by` names the wrappers it was taken out of."""

    command: Command
    by: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def words(self) -> tuple[str, ...]:
        return self.command.words


def build_history(config: ImageConfig, layers: int) -> BuildHistory:
    """The steps of a config whose manifest has this many layers."""
    lines = config.history
    if not lines:
        return BuildHistory((), "the image has no build history")
    made = sum(not line.empty_layer for line in lines)
    missing = "" if made == layers else f"the build history tells {made} layers, the image has {layers}"
    last_of_base = _base_ends(config)
    steps, position, left = [], -1, MOST_HISTORY
    for number, line in enumerate(lines):
        left -= len(line.created_by)
        if left < 0:
            missing = missing or f"the build history is longer than {MOST_HISTORY} characters"
            break
        position += not line.empty_layer
        if line.comment.startswith(("merge ", "Imported from")):
            missing = missing or f"line {number} of the build history is a squash or an import"
        if line.author == "kaniko" and not missing:
            missing = "the image was built by kaniko, which tells only some of its steps"
        found = instruction(line.created_by)
        if found is None:
            rootfs = position == 0 and _ROOTFS.match(line.created_by)
            if not rootfs and not missing:
                missing = f"line {number} of the build history is no build instruction: {line.created_by[:60]!r}"
            continue
        layer = None if line.empty_layer or made != layers else position
        steps.append(Step(number, *found, layer, number <= last_of_base))
    return BuildHistory(tuple(steps), missing)


def instruction(created_by: str) -> tuple[str, str] | None:
    """(instruction, its text) of a line, or None if it is none that is known."""
    text = created_by[:MOST_TEXT].strip()
    found = _NOP.fullmatch(text)
    if found is not None:
        return (found[1], found[2].strip()) if found[1] in INSTRUCTIONS else None
    text = text.removesuffix("# buildkit").rstrip()
    plain = _PLAIN.fullmatch(text)
    if plain is not None and plain[1] in INSTRUCTIONS:
        name, rest = plain[1], plain[2] or ""
        return name, _run(rest) or rest if name == "RUN" else rest
    ran = _run(text)
    return None if ran is None else ("RUN", ran)


def _run(text: str) -> str | None:
    """The command line of `[|N arguments] SHELL -c LINE`, or None."""
    if text.startswith("|"):
        # Values may hold blanks, so the shell is looked for and not counted to.
        place = re.search(r" ((?:/usr)?/bin/(?:ba|da|a|z)?sh -)", text)
        text = text[place.start(1) :] if place else ""
    found = _SHELL.fullmatch(text)
    return found[1] if found else None


def shown(text: str) -> str:
    """A line of history for people: cut, and without the values of what looks like secrets."""
    return redacted(text[: 4 * LONGEST_SHOWN])[:LONGEST_SHOWN]


def base_layers(config: ImageConfig, layers: int) -> int:
    """How many of the lowest layers belong to the base image, as far as the history lets guess; 0 if it does not."""
    lines = config.history
    if sum(not line.empty_layer for line in lines) != layers:
        return 0
    return sum(not line.empty_layer for line in lines[: _base_ends(config) + 1])


def _base_ends(config: ImageConfig) -> int:
    """The last line of the base image, or -1."""
    lines = config.history
    number = len(lines) - 1
    while number >= 0 and lines[number].empty_layer:
        number -= 1
    while number >= 0:
        found = instruction(lines[number].created_by) if lines[number].empty_layer else None
        if found is not None and found[0] == "CMD":
            return number
        number -= 1
    return -1


@lru_cache(maxsize=1024)
def called(text: str) -> tuple[Called, ...] | None:
    """The commands of a RUN step's text, also those behind sudo, env and `sh -c`; None if it cannot be read."""
    text = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#")).strip()
    if not text:
        return ()
    line = commands(text)
    if not line:
        return None
    found: list[Called] = []
    for command in line:
        _unwrapped(command, (), found, DEEPEST)
    return tuple(found)


def _unwrapped(command: Command, by: tuple[str, ...], found: list[Called], depth: int) -> None:
    if len(found) >= MOST_COMMANDS:
        return
    found.append(Called(command, by))
    if depth == 0:
        return
    shell, inner = unwrap(command.words)
    if shell is not None:
        for each in inner:
            _unwrapped(each, (*by, command.name), found, depth - 1)
    elif command.name in _WRAPPERS:
        rest = _after_options(command.words[1:])
        if rest:
            _unwrapped(Command(rest, command.before), (*by, command.name), found, depth - 1)


def _after_options(words: Sequence[str]) -> tuple[str, ...]:
    at = 0
    while at < len(words) and (words[at].startswith("-") or re.match(r"[A-Za-z_]\w*=", words[at])):
        at += 2 if words[at] in _OPTION_WITH_VALUE else 1
    return tuple(words[at:])
