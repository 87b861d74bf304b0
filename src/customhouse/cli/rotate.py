"""`customhouse key rotate`: other keys for a repository in use, and what is to be done next."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.signing_keys import open_publisher, with_keys
from customhouse.oci.reference import Reference
from customhouse.trust.key_directory import KeyDirectory

if TYPE_CHECKING:
    from customhouse.trust.rotation import Rotated

PUBLIC_KEY = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("repository", metavar="HOST/REPOSITORY")
@click.argument("role", metavar="root|targets|snapshot|timestamp|SIGNER")
@click.option("--to", default="", help="A key that is here, by its id, to go on with; one is made if not given.")
@click.option("--key", "public", type=PUBLIC_KEY, help="Public key to go on with, for a signer elsewhere.")
@with_keys
@reporting
@connected
def rotate(
    out: Output, connections: Connections, repository: str, role: str, to: str, public: Path | None, keys: KeyDirectory
) -> None:
    """Give a role of a repository another key; clients that trusted the old one follow.

    root, targets, snapshot and timestamp need the root key here; a signer needs the targets key. A root key that was
    made after the present one is taken before another is made: so one new key serves all your repositories.
    """
    from customhouse.keys import PublicKey
    from customhouse.trust import rotation
    from customhouse.trust.names import ROOT, TARGETS, Gun, RoleName

    gun = Gun.parse(Reference.parse(repository).name)
    publisher = open_publisher(connections, gun.host, keys)
    if role in rotation.SERVER_ROLES:
        done = rotation.rotate_server(publisher, gun, RoleName(role))
    elif role == ROOT:
        done = rotation.rotate_root(publisher, gun, to)
    elif role == TARGETS:
        done = rotation.rotate_targets(publisher, gun, to)
    else:
        given = PublicKey.of_pem(public.read_bytes()).bare if public else None
        done = rotation.rotate_signer(publisher, gun, role, given, to)
    steps = _next_steps(done, keys)
    document = {
        "repository": str(gun), "role": done.role, "old": done.old, "new": done.new, "root_version": done.root_version,
        "lost": [{"tag": tag.tag, "digest": str(tag.digest)} for tag in done.lost],
        "elsewhere": [str(other) for other in done.elsewhere], "next": steps,
    }  # fmt: skip
    out.result(document, [f"{done.role} of {gun} is now key {done.new}", *(f"  {step}" for step in steps)])


def _next_steps(done: "Rotated", keys: KeyDirectory) -> list[str]:
    """What the person must do, and what happens by itself."""
    steps = [
        f"{tag.tag} lost its signature; sign it again: customhouse image sign {done.gun}:{tag.tag}@{tag.digest}"
        for tag in done.lost
    ]
    if keys.has(done.new):
        steps.append(f"back up {keys.entry(done.new).path}")
    if done.role == "root":
        steps.append("docker, notary and the hub follow by themselves: the old key signed the new root")
        steps += [f"{gun} uses the old key: customhouse key rotate {gun} root" for gun in done.elsewhere]
        steps.append(
            "new repositories begin with the new key: have it enrolled before you make one "
            f"(customhouse key export {done.new[:12]} --out root.pem)"
        )
    elif done.role in ("snapshot", "timestamp"):
        steps.append("nothing else is to be done: the key is the server's")
    elif not keys.has(done.new):
        steps.append("tags are signed by whoever has that key; releases keep the signatures of the other signers")
    return steps
