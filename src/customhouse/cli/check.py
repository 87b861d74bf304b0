"""`customhouse check`: the hub's checks and verdict on a publisher's own machine, before anything is pushed."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.local_images import LocalImage, looks_local, open_image
from customhouse.cli.output import Output, reporting
from customhouse.cli.program import DONE, REFUSED
from customhouse.cli.submission import finding_lines
from customhouse.oci.digest import Digest
from customhouse.oci.reference import Reference

ANY = click.Path(exists=True, path_type=Path)
CACHE_BYTES = 2 * 10**9
SOCKET = Path("/var/run/docker.sock")


@click.command()
@click.argument("name", metavar="PATH|REFERENCE")
@click.option("--policy", default="baseline", show_default=True, metavar="NAME|FILE", help="Policy to judge by.")
@click.option("--advisories", multiple=True, type=ANY, help="OSV dumps and KEV lists; may be repeated.")
@click.option("--engine", default="auto", show_default=True, help="Container engine: auto, none, or its URL.")
@click.option("--tag", help="The tag it is meant for, which some checks look at.")
@click.option("--no-cache", is_flag=True, help="Read every layer, whatever is known of it.")
@reporting
@connected
def check(
    out: Output, connections: Connections, name: str, policy: str, advisories: tuple[Path, ...], engine: str,
    tag: str | None, no_cache: bool,
) -> int:
    """Run the hub's checks on an image, without a hub; exits 0 only if it would be certified."""
    with tempfile.TemporaryDirectory(prefix="customhouse-") as folder:
        if looks_local(name):
            image = open_image(name)
            tag = tag or image.tag
        else:
            reference = Reference.parse(name)
            image = _remote(connections, reference, Path(folder))
            tag = tag or reference.tag or ("" if reference.digest else "latest")
        if engine == "auto":
            engine = connections.environment.docker_host or (f"unix://{SOCKET}" if SOCKET.exists() else "none")
        address = "" if engine == "none" else engine
        cache = None if no_cache else connections.environment.cache / "analysis"
        document = _examine(image, name, tag, policy, advisories, address, cache)
    lines = [f"{document['verdict'].replace('_', ' ')}, grade {document['grade']}: {document['reason']}"]
    out.result(document, lines + finding_lines(document["findings"]))
    return DONE if document["verdict"] == "certified" else REFUSED


def _examine(
    image: LocalImage, name: str, tag: str, policy_name: str, advisories: Sequence[Path], address: str,
    cache: Path | None,
) -> dict[str, Any]:
    from customhouse.advisories.matching import match
    from customhouse.advisories.memory import MemoryAdvisories
    from customhouse.certification.check import discover
    from customhouse.certification.examination import Examiner, Material
    from customhouse.certification.policy import Policy
    from customhouse.certification.verdict import judge
    from customhouse.sandbox.docker_engine import DockerEngine
    from customhouse.sandbox.runner import AbsentEngine
    from customhouse.scanning.cache import ScanCache
    from customhouse.scanning.contained import ContainedScanner
    from customhouse.settings import system_clock

    now = system_clock()
    checks = discover()
    policy = Policy.load(policy_name).bind(checks)
    source = MemoryAdvisories.load(advisories, now)
    scanner = ContainedScanner(ScanCache(cache, CACHE_BYTES) if cache else None)
    examiner = Examiner(
        checks=checks,
        policy=policy,
        match=lambda packages: match(packages, source, now, policy.advisories_max_age),
        runner=DockerEngine(system_clock, url=address, hub="customhouse-check") if address else AbsentEngine(),
        clock=system_clock,
        scanner=scanner,
    )
    material = Material("check", image.content, image.manifest, image.media_type, name, tag)
    with scanner:
        found, inputs = examiner.content(material)
    run, _ = examiner.run(material, found, inputs)
    verdict = judge([*found, *run], policy, [], now)
    return {
        "reference": name,
        "digest": str(image.digest),
        "verdict": verdict.value,
        "grade": verdict.grade,
        "reason": verdict.reason,
        "findings": [finding.as_json() for finding in verdict.findings],
    }


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
