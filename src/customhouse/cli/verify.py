"""`customhouse verify REFERENCE`: is this official image certified, now, by the hub that we trust?

The answer is always the verdict: on stdout, with --json as one document, and as the exit code 0, 1 or 3.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from customhouse.cli.bundles import read_bundle
from customhouse.cli.hub_api import Connections, HubApi, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.program import DONE, REFUSED, UNDETERMINED
from customhouse.errors import CustomhouseError, Invalid
from customhouse.oci.reference import Reference

if TYPE_CHECKING:
    from customhouse.cli.consumer import Answer, Verification

FIRST_SIGHT = (
    "first sight of {host}: its root key {key} was taken from the hub itself, over TLS. "
    "To be sure, compare or pin it: customhouse trust export, and then --bundle."
)
CODES = {"certified": DONE, "not_certified": REFUSED, "undetermined": UNDETERMINED}
WORDS = {"certified": "certified", "not_certified": "not certified", "undetermined": "could not be determined"}


@click.command()
@click.argument("reference")
@click.option("--bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Trust bundle to believe.")
@click.option("--offline", is_flag=True, help="Ask nobody: judge what the bundle holds, or was seen before.")
@click.option("--image", default="", metavar="dir:DIR|oci-layout:DIR|…", help="Compare a copy here, whole.")
@click.option("--digest", "only_digest", is_flag=True, help="Print NAME@DIGEST only, for the command that pulls it.")
@reporting
@connected
def verify(
    out: Output, connections: Connections, reference: str, bundle: Path | None, offline: bool, image: str,
    only_digest: bool,
) -> int:
    """Verify an official image, as a consumer."""
    from customhouse.cli import consumer
    from customhouse.settings import system_clock

    wanted = Reference.parse(reference)
    if not wanted.registry or not (wanted.tag or wanted.digest):
        raise click.UsageError(f"{reference} names no registry, or neither tag nor digest")
    pinned = read_bundle(bundle) if bundle else None
    if pinned and pinned.host != wanted.registry:
        raise Invalid(f"the bundle is of {pinned.host}, not of {wanted.registry}")
    question = consumer.Verification(wanted, connections.environment.state, system_clock(), pinned, image)
    answer = question.offline() if offline else _online(out, connections, question)
    lines = [f"{WORDS[answer.verdict]}: {reference}", f"  {answer.reason}"]
    if answer.verdict == "certified" and answer.expires:
        lines[1:1] = [
            f"  digest   {answer.digest}",
            f"  signers  {', '.join(answer.signers)}",
            f"  expires  {answer.expires:%Y-%m-%d %H:%M} UTC",
        ]
    elif answer.hint:
        lines.append(f"  {answer.hint}")
    if only_digest and not out.as_json:
        certified = answer.verdict == "certified"
        for line in lines if not certified else ():
            out.note(line)
        lines = [f"{wanted.name}@{answer.digest}"] if certified else []
    out.result(answer.document(), lines)
    return CODES[answer.verdict]


def _online(out: Output, connections: Connections, question: "Verification") -> "Answer":
    from customhouse.cli.kept import Kept
    from customhouse.trust.bundle import Bundle

    host, pinned = str(question.reference.registry), question.bundle
    try:
        transport = connections.content(host, ca_pem=pinned.ca_pem if pinned else "")
        if pinned is not None:
            return question.online(transport, "bundle")
        if Kept(question.state, question.gun).root is not None:
            return question.online(transport, "known")
        seen = Bundle.parse(HubApi(transport).transport.request("GET", "/api/v1/trust/bundle").body)
        out.note(FIRST_SIGHT.format(host=host, key=", ".join(sorted(seen.root_keys))))
        return replace(question, bundle=seen).online(transport, "first_sight")
    except CustomhouseError as error:
        return question.broken(error)
