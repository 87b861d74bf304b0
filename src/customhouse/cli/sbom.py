"""`customhouse sbom`: what an image is made of, as a bill of materials that other tools read."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from customhouse.cli.check import image_called, layer_scanner
from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.wholefile import write_whole

if TYPE_CHECKING:
    from customhouse.catalogue.package import Catalogue
    from customhouse.oci.image import Image


@click.command()
@click.argument("name", metavar="PATH|REFERENCE")
@click.option(
    "--format", "form", type=click.Choice(("cyclonedx", "spdx")), default="cyclonedx", show_default=True,
    help="CycloneDX 1.6 or SPDX 2.3, both as JSON.",
)
@click.option("--platform", help="Which image of an index, e.g. linux/arm64.")
@click.option("--out", "file", type=click.Path(dir_okay=False, path_type=Path), help="Where to write it; else stdout.")
@click.option("--no-cache", is_flag=True, help="Read every layer, whatever is known of it.")
@reporting
@connected
def sbom(
    out: Output, connections: Connections, name: str, form: str, platform: str | None, file: Path | None,
    no_cache: bool,
) -> None:
    """List the packages of an image, each with the layer it came with.

    PATH is a `docker save` archive or an OCI layout. With SOURCE_DATE_EPOCH set, the same image gives the same bytes.
    """
    from customhouse import __version__
    from customhouse.catalogue.bom import Described, cyclonedx, spdx

    with tempfile.TemporaryDirectory(prefix="customhouse-") as folder:
        cache = None if no_cache else connections.environment.cache / "analysis"
        image, packages = _catalogued(out, connections, name, platform, Path(folder), cache)
    described = Described(
        name=name, digest=str(image.manifest_digest), platform=str(image.platform),
        layers=[str(scan.digest) for scan in image.layers], made=connections.environment.now(), version=__version__,
    )
    document = cyclonedx(described, packages) if form == "cyclonedx" else spdx(described, packages)
    for problem in packages.problems:
        out.note(f"incomplete: {problem}")
    text = json.dumps(document, ensure_ascii=False, indent=None if out.as_json else 2) + "\n"
    if file is None:
        click.echo(text, nl=False)
        return
    write_whole(file, text.encode("utf-8", "backslashreplace"), mode=0o644)
    out.note(f"{len(packages.packages)} packages written to {file}")


def _catalogued(
    out: Output, connections: Connections, name: str, platform: str | None, folder: Path, cache: Path | None
) -> tuple["Image", "Catalogue"]:
    """The one image that was asked for, and what is installed in it."""
    from customhouse.catalogue.packages import READERS, WANTS, catalogue
    from customhouse.oci.image import load_platforms
    from customhouse.oci.wants import Wants

    source, _ = image_called(connections, name, folder)
    needed, manifest = Wants(frozenset(WANTS), tuple(READERS)), source.manifest
    plain = load_platforms(source.content, manifest, Wants(), media_type=source.media_type, layers=False)
    there = [str(each.platform) for each in plain]
    if platform is None and len(there) > 1:
        raise click.UsageError(f"{name} is for several platforms; give --platform, one of {', '.join(there)}")
    wanted = platform or there[0]
    if wanted not in there:
        raise click.UsageError(f"{name} is not for {wanted}; it is for {', '.join(there)}")
    with layer_scanner(out, cache) as scanner:
        for image in load_platforms(
            source.content, manifest, needed, media_type=source.media_type, reference=name, scanner=scanner
        ):
            if str(image.platform) == wanted:
                return image, catalogue(image)
    raise click.UsageError(f"{name} is not for {wanted}")
