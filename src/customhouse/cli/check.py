"""`customhouse check`: the hub's checks and verdict on a publisher's own machine, before anything is pushed."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from customhouse.cli.attach import documents
from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.local_images import LocalImage, looks_local, open_image
from customhouse.cli.output import Output, reporting
from customhouse.cli.program import DONE, REFUSED
from customhouse.cli.submission import finding_lines, later
from customhouse.oci.digest import Digest
from customhouse.oci.reference import Reference
from customhouse.wholefile import write_whole

if TYPE_CHECKING:
    from customhouse.certification.report.model import Report
    from customhouse.scanning.contained import ContainedScanner

ANY = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
CACHE_BYTES = 2 * 10**9
SOCKET = Path("/var/run/docker.sock")


@click.command()
@click.argument("name", metavar="PATH|REFERENCE")
@click.option("--policy", default="baseline", show_default=True, metavar="NAME|FILE", help="Policy to judge by.")
@click.option("--advisories", multiple=True, type=ANY, help="OSV dumps and KEV lists; may be repeated.")
@click.option("--engine", default="auto", show_default=True, help="Container engine: auto, none, or its URL.")
@click.option("--tag", help="The tag it is meant for, which some checks look at.")
@click.option("--profile", type=FILE, help="The publisher's run profile.")
@click.option("--structure-tests", type=FILE, help="The publisher's container-structure-test file.")
@click.option("--companion", "companions", multiple=True, metavar="NAME=PATH", help="A companion's image, here.")
@click.option("--clamd", default="", metavar="ADDRESS", help="ClamAV's daemon: unix:PATH or tcp:HOST:PORT.")
@click.option("--malware-rules", type=FOLDER, help="Folder of YARA rules beside the shipped ones.")
@click.option("--no-cache", is_flag=True, help="Read every layer, whatever is known of it.")
@click.option(
    "--format", "form", type=click.Choice(("text", "json", "sarif", "html")), default="text", show_default=True,
    help="What to write: lines, one JSON document, SARIF 2.1.0, or an HTML page that needs nothing else.",
)
@click.option("--out", "file", type=click.Path(dir_okay=False, path_type=Path), help="Where to write it; else stdout.")
@reporting
@connected
def check(
    out: Output, connections: Connections, name: str, policy: str, advisories: tuple[Path, ...], engine: str,
    tag: str | None, profile: Path | None, structure_tests: Path | None, companions: tuple[str, ...], clamd: str,
    malware_rules: Path | None, no_cache: bool, form: str, file: Path | None,
) -> int:
    """Run the hub's checks on an image, without a hub; exits 0 only if it would be certified.

    PATH is a `docker save` archive or an OCI layout, as a folder or packed. SOURCE_DATE_EPOCH, where it is set, is the
    moment at which ages are judged: then the same image gives the same bytes.
    """
    with tempfile.TemporaryDirectory(prefix="customhouse-") as folder:
        image, named = image_called(connections, name, Path(folder))
        tag = tag or named
        if engine == "auto":
            engine = connections.environment.docker_host or (f"unix://{SOCKET}" if SOCKET.exists() else "none")
        wanted = Wanted(
            name=name, tag=tag, policy=policy, advisories=advisories, engine="" if engine == "none" else engine,
            now=connections.environment.now(), attached=documents(profile, structure_tests),
            companions=dict(_named(item) for item in companions), clamd=clamd,
            malware_rules=str(malware_rules.resolve()) if malware_rules else "",
        )
        cache = None if no_cache else connections.environment.cache / "analysis"
        with layer_scanner(out, cache) as scanner:
            report = examine(image, wanted, scanner)
    form = "json" if out.as_json else form
    text = _written(report, form)
    if file is None:
        click.echo(text, nl=False)
    else:
        write_whole(file, text.encode("utf-8", "backslashreplace"), mode=0o644)
        out.note(f"{_headline(report)}\nwritten to {file}")
    return DONE if report.verdict.value == "certified" else REFUSED


@dataclass(frozen=True)
class Wanted:
    """How an image is to be examined; `engine` is the URL of a container engine, or empty."""

    name: str
    tag: str
    policy: str
    advisories: Sequence[Path]
    engine: str
    now: datetime
    attached: Mapping[str, bytes] = field(default_factory=dict)
    companions: Mapping[str, LocalImage] = field(default_factory=dict)
    clamd: str = ""
    malware_rules: str = ""


def examine(image: LocalImage, wanted: Wanted, scanner: "ContainedScanner") -> "Report":
    """Everything the hub would look at, but the publisher's signature."""
    from customhouse import __version__
    from customhouse.advisories.matching import match
    from customhouse.advisories.memory import MemoryAdvisories
    from customhouse.certification.check import discover
    from customhouse.certification.examination import Examiner, Material
    from customhouse.certification.malware.scanners import Scanners
    from customhouse.certification.policy import Policy
    from customhouse.certification.report.model import PlatformReport, Report, actions, describe
    from customhouse.certification.verdict import judge
    from customhouse.sandbox.docker_engine import DockerEngine
    from customhouse.sandbox.runner import AbsentEngine
    from customhouse.sandbox.setup import Companion
    from customhouse.settings import system_clock

    now, platforms = wanted.now, list[PlatformReport]()
    checks = Scanners.of(wanted.malware_rules, wanted.clamd).into(discover())
    policy = Policy.load(wanted.policy).bind(checks)
    source = MemoryAdvisories.load(wanted.advisories, now)
    engine = DockerEngine(system_clock, url=wanted.engine, hub="customhouse-check") if wanted.engine else AbsentEngine()
    examiner = Examiner(
        checks=checks,
        policy=policy,
        # All statements, whatever they name: who gives one for this image wants to know that it matches nothing.
        match=lambda packages: replace(
            match(packages, source, now, policy.advisories_max_age), stated=tuple(source.every_statement())
        ),
        runner=engine,
        clock=lambda: now,
        scanner=scanner,
    )
    def companion(one: Companion) -> Material | None:
        """By name and digest: what is not the image that the profile means does not stand in for it."""
        local = wanted.companions.get(one.name)
        if local is None or local.digest != one.digest:
            return None
        return Material(one.name, local.content, local.manifest, local.media_type, one.reference, "")

    material = Material(
        "check", image.content, image.manifest, image.media_type, wanted.name, wanted.tag, wanted.attached, companion
    )
    found, inputs = examiner.content(material, lambda subject: platforms.append(describe(subject)))
    run, more = examiner.run(material, found, inputs)
    verdict = judge([*found, *run], policy, [], now)
    return Report(
        reference=wanted.name,
        digest=str(image.digest),
        made=now.isoformat(timespec="seconds"),
        version=__version__,
        policy=policy.name,
        policy_digest=str(policy.digest),
        verdict=verdict,
        actions=actions(verdict, policy),
        platforms=tuple(platforms),
        runs=more["runs"],
    )


def _named(item: str) -> tuple[str, LocalImage]:
    name, equals, path = item.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{item!r} names no companion; write NAME=PATH")
    return name, open_image(path)


def _written(report: "Report", form: str) -> str:
    if form == "html":
        from customhouse.certification.report.html import html

        return html(report)
    if form == "sarif":
        from customhouse.certification.check import discover
        from customhouse.certification.report.sarif import sarif

        return json.dumps(sarif(report, discover()), ensure_ascii=False) + "\n"
    document: dict[str, Any] = report.as_json()
    if form == "json":
        return json.dumps(document, ensure_ascii=False) + "\n"
    return "\n".join([_headline(report), *finding_lines(document["findings"])]) + "\n"


def _headline(report: "Report") -> str:
    said: dict[str, Any] = report.as_json()
    return f"{said['verdict'].replace('_', ' ')}, grade {said['grade']}{later(said)}: {said['reason']}"


@contextmanager
def layer_scanner(out: Output, cache: Path | None) -> Iterator["ContainedScanner"]:
    """What reads the layers; on a terminal it is seen how far it is."""
    from customhouse.scanning.cache import ScanCache
    from customhouse.scanning.contained import ContainedScanner

    with out.progress("reading layers") as show:
        scanner = ContainedScanner(
            ScanCache(cache, CACHE_BYTES) if cache else None,
            report=lambda progress: show(progress.done, progress.total),
        )
        with scanner:
            yield scanner


def image_called(connections: Connections, name: str, folder: Path) -> tuple[LocalImage, str]:
    """An image in a file, a folder or a registry, with its tag ("" for none); what is fetched goes to `folder`."""
    if looks_local(name):
        image = open_image(name)
        return image, image.tag
    reference = Reference.parse(name)
    return _remote(connections, reference, folder), reference.tag or ("" if reference.digest else "latest")


def _remote(connections: Connections, reference: Reference, folder: Path) -> LocalImage:
    """An image in a registry; blobs are fetched when a check first asks for them, and only once."""
    from customhouse.oci.manifest import Descriptor, parse_manifest
    from customhouse.registry.client import RegistryClient

    if not reference.registry:
        raise click.UsageError(f"{reference} is neither a file nor a reference with its registry")
    client = RegistryClient(connections.content(reference.registry))
    top = client.manifest(reference.repository, reference.digest or reference.tag or "latest")
    parsed = parse_manifest(top.raw, top.media_type or None)
    known: dict[Digest, Descriptor] = {item.digest: item for item in parsed.references()}

    def content(digest: Digest) -> BinaryIO:
        file = folder / digest.hex
        if not file.exists():
            if any(digest == member.digest for member in parsed.manifests):
                member_raw = client.manifest(reference.repository, digest).raw
                known.update({item.digest: item for item in parse_manifest(member_raw, None).references()})
                file.write_bytes(member_raw)
            else:
                client.download(reference.repository, digest, known[digest].size, file)
        return file.open("rb")

    return LocalImage(top.raw, parsed.media_type, content)
