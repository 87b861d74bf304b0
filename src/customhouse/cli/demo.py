"""`customhouse demo`: the whole chain on this machine, with the commands that anybody would type.

1. A hub of its own in DIR, on a free loopback port; people, keys and logins live in DIR too, nothing else is touched.
2. Every step is a `customhouse` command, run as a process of its own and shown as it is typed.
3. On a terminal the hub keeps running until Ctrl-C, so that the printed commands can be tried.
"""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from customhouse.errors import Undetermined
from customhouse.settings import client_environment

PROGRAM = [sys.executable, "-m", "customhouse"]
ADMINISTRATOR, PUBLISHER = "a demonstration only", "another demonstration"
STOP_SECONDS = 15


@dataclass(frozen=True)
class Person:
    """Somebody with a home, and so with logins and keys, of his own."""

    home: Path
    hub: str

    def run(self, *words: str, stdin: str = "", capture: bool = False) -> str:
        """Type one command; its progress is seen, and its answer when it is not captured. One that is captured may be
        a refusal."""
        click.secho(f"\n[{self.home.name}] $ customhouse {' '.join(words)}", bold=True)
        sys.stdout.flush()  # what the command itself prints comes after
        done = subprocess.run(
            [*PROGRAM, *words], input=stdin, text=True, env=self.environment(),
            stdout=subprocess.PIPE if capture else None,
        )  # fmt: skip
        if done.returncode not in ((0, 1) if capture else (0,)):
            raise Undetermined(f"`customhouse {words[0]} {words[1]}` ended with code {done.returncode}")
        return done.stdout or ""

    def environment(self) -> Mapping[str, str]:
        """Nothing of the caller's but where programs are."""
        self.home.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "CUSTOMHOUSE_ROOT_PASSPHRASE": "demo root passphrase",
            "CUSTOMHOUSE_REPOSITORY_PASSPHRASE": "demo repository passphrase",
            "TERM": "dumb",
        }


@click.command()
@click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), default=Path("demo-data"), show_default=True,
    help="Where the demonstration lives; emptied first.",
)
@click.option("--keep/--stop", default=None, help="Keep the hub running at the end; on a terminal that is the default.")
def demo(data: Path, keep: bool | None) -> int:
    """A hub, a publisher and an image that becomes official: the whole chain in half a minute."""
    data = data.resolve()
    _empty(data)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    serve = ["serve", "--data", str(data / "hub"), "--listen", address.replace("localhost", "127.0.0.1")]
    serve += ["--url", f"https://{address}"]
    click.secho(f"[operator] $ customhouse {' '.join(serve)}", bold=True)
    hub = _start(serve, data)
    try:
        found = _chain(data, address)
        _ending(data, address, found)
        if keep if keep is not None else sys.stdin.isatty() and sys.stdout.isatty():
            click.echo("\nThe hub keeps running; Ctrl-C stops it.")
            try:
                hub.wait()
            except KeyboardInterrupt:
                click.echo()
        else:
            click.echo(f"\nThe hub stops now; start it again with:\n  customhouse {' '.join(serve)}")
    finally:
        hub.terminate()
        try:
            hub.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            hub.kill()
    return 0 if found["state"] == "published" else 1


def _empty(data: Path) -> None:
    """Remove what an earlier demonstration left, and nothing that is not one."""
    mark = data / "this-is-a-demonstration"
    if data.exists() and any(data.iterdir()) and not mark.exists():
        raise click.UsageError(f"{data} is not empty and not of a demonstration; name another --data directory")
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    mark.touch()


def _start(serve: list[str], data: Path) -> subprocess.Popen[str]:
    environment = {**Person(data / "operator", "").environment(), "CUSTOMHOUSE_ADMIN_PASSWORD": ADMINISTRATOR}
    if engine := client_environment().docker_host:
        environment["DOCKER_HOST"] = engine
    log = data / "hub.log"
    with log.open("w") as file:
        hub = subprocess.Popen([*PROGRAM, *serve], stdout=subprocess.PIPE, stderr=file, text=True, env=environment)
    line = hub.stdout.readline() if hub.stdout else ""
    if not line.startswith("ready"):
        raise Undetermined(f"the hub did not start: {log.read_text()[-2000:].strip()}", hint=f"See {log}.")
    click.echo(line.rstrip())
    return hub


def _chain(data: Path, address: str) -> dict[str, Any]:
    """From nothing to official; gives the submission as it ended."""
    from customhouse.testing.images import minimal_server_image, write_oci_layout

    url, staging = f"https://{address}", f"{address}/staging/acme/web:1.0.0"
    authority = str(data / "hub" / "tls" / "ca.crt")
    administrator, publisher = Person(data / "administrator", url), Person(data / "publisher", url)
    _say("An administrator signs in, and makes a publisher with one member.")
    administrator.run(
        "login", url, "-u", "admin", "--password-stdin", "--ca-file", authority, stdin=ADMINISTRATOR + "\n"
    )
    administrator.run("user", "add", "alice", "--role", "publisher", "--password-stdin", stdin=PUBLISHER + "\n")
    administrator.run("publisher", "add", "acme", "--member", "alice")

    _say("The publisher makes a root key; its certificate is enrolled, so that the hub knows whom to believe.")
    certificate = str(data / "acme-root.pem")
    publisher.run("image", "root-cert", "--out", certificate)
    administrator.run("publisher", "enrol", "acme", "--root-cert", certificate)

    _say("A small real image: a static web server with a health-check, built here without docker.")
    layout = write_oci_layout(minimal_server_image(), data / "image", tag="1.0.0")
    click.echo(f"built {layout}")

    _say("It is signed and pushed to private staging, and followed until it is official.")
    publisher.run("login", url, "-u", "alice", "--password-stdin", "--ca-file", authority, stdin=PUBLISHER + "\n")
    publisher.run("image", "push", "--sign", f"oci-layout:{layout}", staging)
    found: dict[str, Any] = json.loads(
        publisher.run("submission", "wait", staging, "--timeout", "300", "--json", capture=True)
    )

    _say("A consumer exports nothing but the hub's trust bundle, and verifies with it.")
    consumer = Person(data / "consumer", url)
    bundle = str(data / "trust-bundle.json")
    consumer.run("trust", "export", "--url", url, "--ca-file", authority, "--out", bundle)
    if found["official_reference"]:
        consumer.run("verify", found["official_reference"], "--bundle", bundle)
    return found


def _ending(data: Path, address: str, found: dict[str, Any]) -> None:
    unknown = [item for item in found["findings"] if item["outcome"] == "not_evaluable"]
    click.echo()
    if unknown:
        checks = ", ".join(sorted({item["check"] for item in unknown}))
        click.echo(f"Not evaluable here: {checks}: {unknown[0]['message']}.")
    elif any(item["check"] == "RUN-HEALTH-REAL" and item["outcome"] == "pass" for item in found["findings"]):
        click.echo("The image was run, and its health-check proved: stopped it turns unhealthy, continued healthy.")
    good = found["state"] == "published"
    click.secho(f"verdict    {found['verdict']}, grade {found['grade']}", fg="green" if good else "red")
    click.secho(f"official   {found['official_reference'] or 'no: ' + found['reason']}", fg="green" if good else "red")
    if good:
        reference = found["official_reference"]
        bundle = data / "trust-bundle.json"
        click.echo("\nPull it (docker up to 28.x checks the signature itself), and verify it with any client:")
        click.echo(f"  DOCKER_CONTENT_TRUST=1 docker pull {reference}")
        click.echo(f"  {Path(sys.executable).with_name('customhouse')} verify {reference} --bundle {bundle}")


def _say(text: str) -> None:
    click.secho(f"\n# {text}", fg="cyan")
