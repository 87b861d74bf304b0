"""`customhouse doctor`: every broken invariant by name, of a stopped hub by its data or of a live one by its URL."""

from pathlib import Path

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.program import DONE, REFUSED
from customhouse.transport import Patience


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Data of a stopped hub.")
@click.option("--public-url", help="With --data: the public URL, if not the one that was signed.")
@click.option("--rehash", is_flag=True, help="Read every stored byte again.")
@reporting
@connected
def doctor(out: Output, connections: Connections, data: Path | None, public_url: str | None, rehash: bool) -> int:
    """Check the invariants of a whole hub; names each break and exits 1."""
    if data is not None:
        breaks = _of_data(data, public_url, rehash)
    else:
        hub = connections.hub(patience=Patience(read=3600, total=3600))
        breaks = hub.get("/doctor", rehash="true" if rehash else None).get("breaks", [])
    lines = [f"{item['invariant']}  {item['subject']}: {item['what']}" for item in breaks]
    out.result({"sound": not breaks, "breaks": breaks}, lines or ["every invariant holds"])
    return REFUSED if breaks else DONE


def _of_data(data: Path, public_url: str | None, rehash: bool) -> list[dict[str, str]]:
    from customhouse import doctor as examination
    from customhouse.hub import Hub
    from customhouse.settings import load

    hub = Hub(load(data, url=public_url or signed_url(data)))
    try:
        return [item.as_json() for item in examination.examine(hub, rehash=rehash)]
    finally:
        hub.close(1)


def signed_url(data: Path) -> str | None:
    """The public URL as the hub's root certificate has it (`HOST/*`): the first signature fixed it."""
    from customhouse.keys import PublicKey
    from customhouse.trust.certificates import common_name

    certificate = data / "keys" / "root.crt"
    if not certificate.exists():
        return None
    name = common_name(PublicKey.of_certificate(certificate.read_bytes()).certificates[0])
    return f"https://{name.removesuffix('/*')}" if name.endswith("/*") else None
