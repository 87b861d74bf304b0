"""What the checks of the build history share: the steps, the words of package managers, and the end of an incomplete
history, which is never a pass."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from customhouse.certification.check import NotApplicable, NotEvaluable, Subject, at_layer
from customhouse.certification.findings import JSON
from customhouse.certification.history import BuildHistory, Called, Step, build_history, called, shown

NOT_EVALUABLE = "the build history is missing, or written by a builder that tells no commands"
APT = frozenset({"apt-get", "apt", "aptitude"})
DNF = frozenset({"yum", "dnf", "dnf5", "microdnf", "tdnf"})
MANAGERS = APT | DNF | frozenset({"apk", "zypper"})
INSTALL = frozenset({"install", "add", "in", "reinstall", "localinstall", "groupinstall"})
_VALUED = frozenset(
    {"-o", "-t", "-c", "-X", "-p", "-r", "--option", "--target-release", "--repository", "--root", "--config-file"}
    | {"--virtual", "--keys-dir", "--setopt", "--enablerepo", "--disablerepo", "--installroot", "--releasever"}
)


@dataclass(frozen=True)
class Ran:
    """One call of one RUN step, with its step."""

    step: Step
    call: Called

    @property
    def name(self) -> str:
        return self.call.name

    @property
    def words(self) -> tuple[str, ...]:
        return self.call.words

    def verb(self) -> tuple[str, tuple[str, ...]]:
        """The first word that is no option, and the words after it that are none (`apt-get -y install curl`)."""
        plain, options_end = [], False
        words = iter(self.call.words[1:])
        for word in words:
            if word == "--" and not options_end:
                options_end = True
            elif word.startswith("-") and not options_end:
                # apk's -t and --virtual name a package of their own; the others take a value too.
                if word in _VALUED or (word == "-t" and self.name == "apk"):
                    next(words, None)
            elif not word.startswith((">", "<", "2>", "&>", "1>")):
                plain.append(word)
        return (plain[0], tuple(plain[1:])) if plain else ("", ())

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(word for word in self.call.words[1:] if word.startswith("-"))


def history(subject: Subject) -> BuildHistory:
    return build_history(subject.image.config, len(subject.image.manifest.layers))


def runs(read: BuildHistory, *, base: bool = True) -> Iterator[tuple[Step, Sequence[Ran]]]:
    """Each RUN step with its calls; `base` False leaves out those of the base image."""
    for step in read.of("RUN"):
        if base or not step.base:
            yield step, [Ran(step, call) for call in called(step.text) or ()]


def require_whole(read: BuildHistory) -> None:
    """Nothing more was found: does that mean anything? Raises NotEvaluable or NotApplicable."""
    if read.missing:
        raise NotEvaluable(read.missing)
    for step in read.of("RUN"):
        if called(step.text) is None:
            raise NotEvaluable(f"the command of line {step.line} of the build history cannot be read")
    if not read.steps:
        raise NotApplicable("the build history tells no step")


def evidence(subject: Subject, step: Step, key: str, value: str = "") -> dict[str, JSON]:
    """What names a step: the layer it made, its line, and the words at fault."""
    found: dict[str, JSON] = {"key": key}
    if step.layer is not None and step.layer < len(subject.image.layers):
        found |= at_layer(subject, step.layer)
    found |= {"line": step.line, "history": shown(str(step)), "base": step.base}
    if value:
        found["value"] = value[:200]
    return found
