"""`customhouse mirror`: official repositories kept at another registry and trust server."""

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from customhouse.cli.hub_api import Connections, connected, password_from
from customhouse.cli.output import Output, reporting
from customhouse.errors import Undetermined
from customhouse.wholefile import write_whole

PEM = click.Path(exists=True, dir_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def mirror() -> None:
    """Official repositories kept at other registries."""


@mirror.command()
@click.argument("name")
@click.argument("address", metavar="https://REGISTRY[:PORT]")
@click.option("--trust", metavar="https://HOST[:PORT]", help="Its trust server; without one only content is sent.")
@click.option("--repository", multiple=True, metavar="PATTERN", help="Which ones, such as acme/*; all without it.")
@click.option("--tag", multiple=True, metavar="PATTERN", help="Which tags, such as 1.*; all without it.")
@click.option("--as", "target", default="{repository}", show_default=True, help="The name of a repository there.")
@click.option("--authority", type=PEM, help="CA of the two servers, PEM, if they have one of their own.")
@click.option("--username", help="Who the hub is there; with --password-stdin, or asked for.")
@click.option("--password-stdin", is_flag=True, help="Read that user's password from standard input.")
@reporting
@connected
def add(
    out: Output, connections: Connections, name: str, address: str, trust: str | None, repository: tuple[str, ...],
    tag: tuple[str, ...], target: str, authority: Path | None, username: str | None, password_stdin: bool,
) -> None:
    """Keep official repositories at another registry, or change how."""
    if password_stdin and not username:
        raise click.UsageError("--password-stdin is for the password of --username")
    asked: dict[str, Any] = {
        "name": name, "url": address, "trust_url": trust or "", "repositories": repository, "tags": tag,
        "target": target, "ca": authority.read_text() if authority else "",
    }
    if username:
        asked |= {"username": username, "secret": password_from(password_stdin, f"Password of {username} there")}
    made = connections.hub().post("/mirrors", asked)
    signed = f", signed at {made['trust_url']}" if made["trust_url"] else ", without signatures"
    out.result(made, f"mirror {name}: {made['url']}{signed}")


@mirror.command("list")
@reporting
@connected
def list_mirrors(out: Output, connections: Connections) -> None:
    """List the mirrors."""
    found = connections.hub().get("/mirrors")
    columns = ("name", "url", "trust_url", "target", "finished", "attempts", "error")
    out.result(found, out.table(found["mirrors"], columns))


@mirror.command()
@click.argument("name")
@reporting
@connected
def show(out: Output, connections: Connections, name: str) -> None:
    """Show how a mirror stands: each repository and tag, and what went wrong."""
    found = connections.hub().get(_path(name))
    out.result(found, _lines(out, found))


@mirror.command()
@click.argument("name")
@click.option("--seconds", default=600, show_default=True, help="How long to wait for the end.")
@reporting
@connected
def run(out: Output, connections: Connections, name: str, seconds: int) -> None:
    """Make a mirror as it should be now, whatever pause was meant, and wait for that."""
    _waited(out, connections, f"{_path(name)}/run", None, seconds)


@mirror.command()
@click.argument("name")
@click.argument("role", type=click.Choice(("root", "targets")))
@click.option("--seconds", default=600, show_default=True, help="How long to wait for the end.")
@reporting
@connected
def rotate(out: Output, connections: Connections, name: str, role: str, seconds: int) -> None:
    """Make a new key for the mirror's host, and sign everything there anew with it.

    Whoever pinned the root of before goes on. Give new consumers a new bundle.
    """
    _waited(out, connections, f"{_path(name)}/rotate", {"role": role}, seconds)


@mirror.command()
@click.argument("name")
@reporting
@connected
def remove(out: Output, connections: Connections, name: str) -> None:
    """Forget a mirror; what was sent stays there."""
    connections.hub().delete(_path(name))
    out.result({"name": name, "removed": True}, f"{name} is a mirror no more; what was sent is still there")


@mirror.command()
@click.argument("name")
@click.option("--output", "-o", type=FILE, help="Where to; standard output without it.")
@reporting
@connected
def bundle(out: Output, connections: Connections, name: str, output: Path | None) -> None:
    """Get what consumers of a mirror pin: its root certificate, as a trust bundle."""
    found = connections.hub().get(f"{_path(name)}/bundle")
    if output is None:
        out.result(found, json.dumps(found, indent=1))
        return
    write_whole(output, json.dumps(found, indent=1).encode() + b"\n")
    out.result({"file": str(output)}, f"{output}: for `customhouse trust pin --bundle`")


def _waited(out: Output, connections: Connections, path: str, body: Any, seconds: int) -> None:
    """Post what makes a mirror run, and wait for the end of that run."""
    hub, until = connections.hub(), time.monotonic() + seconds
    found = hub.post(path, body)
    name = found["name"]
    while found["asked"]:
        if time.monotonic() > until:
            raise Undetermined(f"mirror {name} is still at work", hint=f"See `customhouse mirror show {name}`.")
        time.sleep(0.2)
        found = hub.get(_path(name))
    out.result(found, _lines(out, found))
    wrong = found["error"] or next((each["error"] for each in found["states"] if each["error"]), "")
    if wrong:
        raise Undetermined(f"mirror {name} is not as it should be: {wrong}", hint="It is tried again by itself.")


def _path(name: str) -> str:
    return f"/mirrors/{quote(name, safe='')}"


def _lines(out: Output, found: dict[str, Any]) -> list[str]:
    lines = [f"{found['name']}: {found['url']}" + (f", error: {found['error']}" if found["error"] else "")]
    rows = [
        {
            "repository": each["repository"], "there": each["target"], **tag,
            "error": tag["error"] or each["error"],
        }
        for each in found["states"]
        for tag in each["tags"] or [{"tag": "", "state": "waiting", "digest": "", "error": ""}]
    ]
    return lines + out.table(rows, ("repository", "there", "tag", "state", "digest", "error"))
