"""The publisher's key directory as commands open it: docker's own, unless --keys names another.

Passphrases come from the environment (our names or docker's), else from a prompt on a terminal.
"""

import sys
from pathlib import Path

import click

from customhouse.cli.hub_api import Connections
from customhouse.settings import ClientEnvironment, system_clock
from customhouse.trust.key_directory import KeyDirectory
from customhouse.trust.publish import TrustPublisher

keys_option = click.option(
    "--keys",
    type=click.Path(file_okay=False, path_type=Path),
    help="Key directory; docker's ~/.docker/trust if not given.",
)


def open_keys(environment: ClientEnvironment, directory: Path | None) -> KeyDirectory:
    """The directory; nothing is opened yet."""

    def passphrase(role: str, key_id: str, new: bool) -> bytes:
        found = environment.passphrases.get("root" if role == "root" else "repository", "")
        if not found and sys.stdin.isatty():
            what = f"Passphrase for the new {role} key {key_id}" if new else f"Passphrase of the {role} key {key_id}"
            found = str(click.prompt(what, hide_input=True, confirmation_prompt=new, err=True))
        return found.encode()

    return KeyDirectory(directory or environment.docker_config / "trust", passphrase)


def open_publisher(connections: Connections, host: str, directory: Path | None) -> TrustPublisher:
    """The keys of a directory, before the trust server of a host."""
    return TrustPublisher(connections.content(host), open_keys(connections.environment, directory), system_clock)
