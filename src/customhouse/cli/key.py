"""`customhouse key`: the keys that publishers sign with, in docker's own directory or on devices.

1. A key is on disk, encrypted, before anything names it; none is written over.
2. What is public goes to stdout or into `NAME.pub`; nothing secret is ever printed.
"""

import stat
import sys
from pathlib import Path

import click

from customhouse.cli.output import Output, reporting
from customhouse.cli.rotate import rotate
from customhouse.cli.signing_keys import first_line, with_keys
from customhouse.errors import Conflict, Denied, Invalid
from customhouse.keys import PublicKey, Signer
from customhouse.pkcs11 import KINDS, Uri
from customhouse.trust.key_directory import LONGEST_FILE, KeyDirectory, KeyEntry, NoPassphrase
from customhouse.wholefile import write_once

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def key() -> None:
    """Keys to sign with: make, load, list and rotate them."""


key.add_command(rotate)


@key.command()
@click.argument("name")
@click.option("--role", help="Role of the key: root, targets, or a signer's name; NAME if not given.")
@click.option("--repository", "gun", default="", help="HOST/REPOSITORY that a targets key is for.")
@click.option("--dir", "folder", type=FOLDER, default=Path(), help="Where NAME.pub goes; here if not given.")
@click.option("--pkcs11", "device", help="Make it on a token: pkcs11:token=T?module-path=LIBRARY")
@click.option("--type", "kind", type=click.Choice(KINDS), default=KINDS[0], help="Kind of a key on a token.")
@with_keys
@reporting
def generate(
    out: Output, name: str, role: str | None, gun: str, folder: Path, device: str | None, kind: str, keys: KeyDirectory
) -> None:
    """Make a key, and write its public part to NAME.pub for whoever is to accept it.

    Keys in files are ECDSA P-256, which every docker and notary client reads.
    """
    role, target = role or name, folder / f"{name}.pub"
    if role == "targets" and not gun:
        raise click.UsageError("a targets key is for one repository: name it with --repository")
    if "/" in name:
        raise click.UsageError(f"{name} is no name of a key but a path; the folder of its public part is --dir")
    if target.exists():
        raise Conflict(f"there is already a file {target}", hint="Keep it, or choose another name or --dir.")
    if device:
        uri = Uri.parse(device)
        uri = uri if uri.label else Uri.parse(_with_object(device, name))
        made = keys.create_on_device(uri, kind, role, gun)
    elif kind != KINDS[0]:
        raise click.UsageError(f"a key in a file is {KINDS[0]}; --type is for --pkcs11")
    else:
        made = keys.create(role, gun)
    write_once(target, made.public.pem, 0o644)
    _made(out, made, role, target, keys)


@key.command()
@click.argument("source", metavar="FILE|pkcs11:URI")
@click.option("--name", help="Whose key it is: root, targets, or a signer's name; as the file says if not given.")
@click.option("--repository", "gun", default="", help="HOST/REPOSITORY that a targets key is for.")
@with_keys
@reporting
def load(out: Output, source: str, name: str | None, gun: str, keys: KeyDirectory) -> None:
    """Take a private key in, from docker, notary or OpenSSL, or put one on record that is on a token.

    A file that is encrypted keeps its passphrase; one that is not gets one.
    """
    if source.startswith("pkcs11:"):
        uri = Uri.parse(source)
        role = name or uri.label
        if not role:
            raise click.UsageError("the URI does not say whose key it is: give --name")
        _made(out, keys.add_device(uri, role, gun), role, None, keys)
        return
    path = Path(source)
    with path.open("rb") as file:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise Denied(f"others can read {path} (mode {mode:04o})", hint=f"chmod 600 {path}; was it seen by others?")
        pem = file.read(LONGEST_FILE + 1)
    found, secret = keys.open_file(pem, name or "", str(path))
    role, gun = name or found.role, gun or found.gun
    if not role:
        raise click.UsageError(f"{path} does not say whose key it is: give --name")
    if role == "targets" and not gun:
        raise click.UsageError("a targets key is for one repository: name it with --repository")
    from dataclasses import replace

    made = keys.add(replace(found, role=role, gun=gun if role in ("targets", "snapshot") else ""), secret)
    _made(out, made, role, None, keys)


@key.command("list")
@with_keys
@reporting
def list_keys(out: Output, keys: KeyDirectory) -> None:
    """List the keys here, with the repositories in which each may sign, as far as is known on this machine."""
    from customhouse.trust.known import known_uses

    uses = known_uses(keys.directory)
    next_root = keys.next_root()
    rows = [
        {"key": entry.key_id, "role": entry.role, "gun": entry.gun or None, "where": entry.device or str(entry.path),
         "signs": uses.get(entry.key_id, []), "next_root": entry == next_root}
        for entry in keys.entries()
    ]  # fmt: skip
    short = [
        {"key": entry.key_id[:12], "role": entry.role, "where": "token" if entry.device else "file",
         "signs": [f"{use['role']} of {use['repository']}" for use in uses.get(entry.key_id, [])]
         or ([f"targets of {entry.gun}"] if entry.gun else [])}
        for entry in keys.entries()
    ]  # fmt: skip
    out.result(rows, out.table(short, ("key", "role", "where", "signs")))


@key.command()
@click.argument("name", metavar="NAME|ID")
@click.option("--out", "target", type=click.Path(dir_okay=False, path_type=Path), help="File to write, else stdout.")
@with_keys
@reporting
def export(out: Output, name: str, target: Path | None, keys: KeyDirectory) -> None:
    """Write the public part of a key, for whoever is to accept it."""
    entry = keys.entry(name)
    public = keys.open(entry.key_id).public
    pem = public.pem
    if target:
        write_once(target, pem, 0o644)
    document = {"key": public.canonical_id, "role": entry.role, "file": str(target) if target else None}
    out.result(document | {"pem": pem.decode()}, pem.decode().rstrip() if not target else f"{target}: {entry.key_id}")


@key.command()
@click.argument("name", metavar="NAME|ID")
@click.option("--new-passphrase-file", "new_file", type=FILE, help="Its first line is the new passphrase.")
@with_keys
@reporting
def passwd(out: Output, name: str, new_file: Path | None, keys: KeyDirectory) -> None:
    """Give a key file another passphrase. Copies elsewhere keep the old one."""
    entry = keys.entry(name)

    def new() -> bytes:
        if new_file:
            return first_line(str(new_file))
        if not sys.stdin.isatty():
            raise NoPassphrase(f"{entry.role} key {entry.key_id[:12]}")
        asked = click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True)
        return str(asked).encode()

    keys.change_passphrase(entry, new)
    out.result({"key": entry.key_id, "changed": True}, f"the {entry.role} key {entry.key_id} has a new passphrase")


def _made(out: Output, made: Signer, role: str, target: Path | None, keys: KeyDirectory) -> None:
    entry: KeyEntry = keys.entry(made.public.canonical_id)
    where = entry.device or str(entry.path)
    document = {
        "key": entry.key_id, "role": role, "type": _kind(made.public), "where": where,
        "public": str(target) if target else None,
    }  # fmt: skip
    lines = [f"{role} key {entry.key_id}", f"  private  {where}"]
    out.result(document, [*lines, *([f"  public   {target}"] if target else [])])


def _kind(public: PublicKey) -> str:
    curve = getattr(public.crypto, "curve", None)
    return curve.name if curve else public.bare.keytype


def _with_object(device: str, name: str) -> str:
    path, mark, query = device.partition("?")
    if not path.removeprefix("pkcs11:"):
        raise Invalid("the URI names no token", hint="Write pkcs11:token=LABEL?module-path=LIBRARY")
    return f"{path};object={name}{mark}{query}"
