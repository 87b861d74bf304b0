"""The publisher's key directory as commands open it: docker's own, unless --keys names another.

Passphrases and PINs: --passphrase-file for the role, --passphrase-file for all, the environment (our names or
docker's), the file that the environment names, a prompt on a terminal. A key's role is root, targets, or its signer's
name; the PIN of a device goes by the role pkcs11.
"""

import functools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from customhouse.cli.hub_api import Connections
from customhouse.errors import Invalid
from customhouse.settings import ClientEnvironment, client_environment, system_clock
from customhouse.trust.key_directory import DEVICE, KeyDirectory
from customhouse.trust.publish import TrustPublisher

P = ParamSpec("P")
R = TypeVar("R")
LONGEST_SECRET = 4096

keys_option = click.option(
    "--keys",
    type=click.Path(file_okay=False, path_type=Path),
    help="Key directory; docker's ~/.docker/trust if not given.",
)


def with_keys(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command --keys and --passphrase-file, and its KeyDirectory as `keys`."""

    @click.option(
        "--keys", "keys_directory", type=click.Path(file_okay=False, path_type=Path),
        help="Key directory; docker's ~/.docker/trust if not given.",
    )
    @click.option(
        "--passphrase-file", "passphrase_files", multiple=True, metavar="[ROLE=]FILE",
        help="File whose first line opens the keys, or those of one role (root, targets, a signer, pkcs11).",
    )
    @functools.wraps(command)
    def with_directory(
        *args: Any, keys_directory: Path | None, passphrase_files: tuple[str, ...], **options: Any
    ) -> R:
        return command(*args, keys=open_keys(client_environment(), keys_directory, passphrase_files), **options)

    return with_directory


def open_keys(environment: ClientEnvironment, directory: Path | None, files: Iterable[str] = ()) -> KeyDirectory:
    """The directory; nothing is opened yet."""
    named = dict(_named(text) for text in files)

    def passphrase(role: str, name: str, new: bool) -> bytes:
        kind = role if role in ("root", DEVICE) else "repository"
        for file in (named.get(role), named.get(kind), named.get("")):
            if file:
                return first_line(file)
        if found := environment.passphrases.get(kind):
            return found.encode()
        if file := environment.passphrase_files.get(kind):
            return first_line(file)
        return _asked(role, name, new) if sys.stdin.isatty() else b""

    return KeyDirectory(directory or environment.docker_config / "trust", passphrase)


def open_publisher(connections: Connections, host: str, keys: KeyDirectory) -> TrustPublisher:
    """The keys of a directory, before the trust server of a host."""
    return TrustPublisher(connections.content(host), keys, system_clock)


def _asked(role: str, name: str, new: bool) -> bytes:
    if role == DEVICE:
        what = f"PIN of the token {name}"
    else:
        what = f"Passphrase for the new {role} key {name}" if new else f"Passphrase of the {role} key {name}"
    return str(click.prompt(what, hide_input=True, confirmation_prompt=new, err=True)).encode()


def _named(text: str) -> tuple[str, str]:
    role, equals, file = text.partition("=")
    return (role, file) if equals and "/" not in role else ("", text)


def first_line(file: str) -> bytes:
    try:
        with Path(file).open("rb") as opened:
            line = opened.read(LONGEST_SECRET + 1).partition(b"\n")[0].rstrip(b"\r")
    except OSError as error:
        raise Invalid(f"the passphrase file {file} cannot be read: {error.strerror}") from None
    if not line or len(line) > LONGEST_SECRET:
        raise Invalid(f"the passphrase file {file} holds no passphrase in its first line")
    return line
