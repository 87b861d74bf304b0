"""`customhouse verify REFERENCE`: is this official image certified, now, by the hub that we trust?"""

from pathlib import Path

import click

from customhouse.cli.hub_api import Connections, HubApi, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.program import DONE, REFUSED
from customhouse.errors import Denied, Invalid, NotFound, Unauthenticated, Undetermined
from customhouse.oci.reference import Reference
from customhouse.trust.names import Gun

FIRST_SIGHT = (
    "first sight of {host}: its root was taken from the hub itself, over TLS. "
    "To be sure, compare or pin it: customhouse trust export, and then --bundle."
)


@click.command()
@click.argument("reference")
@click.option("--bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Trust bundle to believe.")
@click.option("--digest", "only_digest", is_flag=True, help="Print NAME@DIGEST only, for the command that pulls it.")
@reporting
@connected
def verify(
    out: Output, connections: Connections, reference: str, bundle: Path | None, only_digest: bool
) -> int:
    """Verify an official image, as a consumer."""
    from customhouse.cli import consumer
    from customhouse.settings import system_clock

    wanted = Reference.parse(reference)
    if not wanted.registry or not (wanted.tag or wanted.digest):
        raise click.UsageError(f"{reference} names no registry, or neither tag nor digest")
    state = connections.environment.state
    pinned = consumer.Bundle.parse(bundle.read_bytes()) if bundle else None
    if pinned and pinned.host != wanted.registry:
        raise Invalid(f"the bundle is of {pinned.host}, not of {wanted.registry}")
    try:
        transport = connections.content(wanted.registry, ca_pem=pinned.ca_pem if pinned else "")
        if pinned is None and consumer.Memory(state, Gun.parse(wanted.name)).root is None:
            out.note(FIRST_SIGHT.format(host=wanted.registry))
            pinned = consumer.Bundle.parse(_bundle_of(HubApi(transport)))
        answer = consumer.verify(wanted, transport, pinned.roots if pinned else None, state, system_clock())
    except (Unauthenticated, Denied) as error:
        raise Undetermined(f"the hub does not let us read: {error.message}", hint=error.hint) from error
    except (Invalid, NotFound) as error:
        answer = consumer.Answer(reference, wanted.digest, "not_certified", (), None, error.message)
    certified = answer.verdict == "certified"
    lines = [f"{answer.verdict.replace('_', ' ')}: {reference}", f"  {answer.reason}"]
    if certified and answer.expires:
        lines[1:1] = [
            f"  digest   {answer.digest}",
            f"  signers  {', '.join(answer.signers)}",
            f"  expires  {answer.expires:%Y-%m-%d %H:%M} UTC",
        ]
    if only_digest and not out.as_json:
        for line in lines if not certified else ():
            out.note(line)
        lines = [f"{wanted.name}@{answer.digest}"] if certified else []
    out.result(answer.document(), lines)
    return DONE if certified else REFUSED


def _bundle_of(hub: HubApi) -> bytes:
    return hub.transport.request("GET", "/api/v1/trust/bundle").body
