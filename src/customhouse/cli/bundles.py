"""Trust bundles on this machine: fetched from a hub, written as a file or as a folder to hand out, and read again."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from customhouse.cli.hub_api import HubApi
from customhouse.cli.logins import write_private
from customhouse.errors import Conflict, Invalid, TooLarge
from customhouse.oci.reference import Reference
from customhouse.remote import RemoteFailed
from customhouse.trust.bundle import (
    LARGEST_BUNDLE,
    MOST_REPOSITORIES,
    Bundle,
    BundledRepository,
    InvalidBundle,
    Listed,
    repositories,
)

README = """\
Trust in {host} ({hub_name}), as of {made}

Nothing here is secret, and all of it decides whom you believe: compare the root
key with what the hub's administrator tells you on another way.

  root key    {keys}
  certificate {certificates}
  valid until {not_after}

FILE                     FOR WHOM, AND WHERE IT GOES
bundle.json              customhouse verify --bundle bundle.json HOST/NAME:TAG
                         customhouse trust pin --bundle bundle.json
{ca}root.crt                 people who compare: the root certificate
root.pub.pem             the root's public key, for verifiers that pin a key
docker/trust/            docker up to 28.x: copy it into ~/.docker/, so that
                         docker trusts no root at first sight. For who has pulled
                         from this hub before: customhouse trust pin, which looks
                         before it writes.
notary/config.json       notary: notary -c notary/config.json list {host}/NAME
                         It believes this root for {host}/* and no other.
admission/connaisseur.yaml
                         Connaisseur: put it into the values of its Helm chart
admission/portieris.yaml Portieris: which server to ask, and which signer. It
                         pins signers, not roots; the file says how
signer.pub.pem           the key of the signer {hub_name}, for Portieris

docker 29 and later ignore DOCKER_CONTENT_TRUST. There, and with podman and
containerd: customhouse verify --digest prints what to pull.
"""
CA_LINE = """\
ca.crt                   the hub's own CA: /etc/docker/certs.d/{host}/ca.crt for
                         the engine, ~/.docker/tls/{host}/ca.crt for the client
"""
CONNAISSEUR = """\
# Connaisseur admits what the hub signed, by this root key.
# With a login, add auth.secretName to the validator.
application:
  validators:
  - name: customhouse
    type: notaryv1
    host: {host}
    trustRoots:
    - name: default
      key: |
{key}
{cert}  policy:
  - pattern: "{host}/*:*"
    validator: customhouse
"""
PORTIERIS = """\
# Portieris admits what the hub signed. It trusts the root that it sees first, so its signer is pinned:
# kubectl create secret generic hub-signer --from-literal=name={hub_name} --from-file=publicKey=signer.pub.pem
# When the hub's release key is rotated, the secret must follow.
apiVersion: portieris.cloud.ibm.com/v1
kind: ClusterImagePolicy
metadata:
  name: customhouse
spec:
  repositories:
  - name: "{host}/*"
    policy:
      trust:
        enabled: true
        trustServer: "{url}"
        signerSecrets:
        - name: hub-signer
"""


def read_bundle(path: Path) -> Bundle:
    """Raises InvalidBundle."""
    with path.open("rb") as file:
        return Bundle.parse(file.read(LARGEST_BUNDLE + 1))


def fetch_bundle(hub: HubApi, named: tuple[str, ...], *, metadata: bool) -> Bundle:
    """What the hub gives: its roots, and the official repositories (those `named`, else all that we may read)."""
    head = Bundle.parse(hub.transport.request("GET", "/api/v1/trust/bundle").body)
    asked: dict[str, str | int | None] = {"metadata": "true" if metadata else None}
    found: list[BundledRepository] = []
    if named:
        for text in named:
            repository = Reference.parse(text)
            if repository.registry not in (None, head.host):
                raise Invalid(f"{text} is not a repository of {head.host}")
            found += _page(hub, head.host, None, repository=repository.repository, **asked)[0]
    else:
        after: str | None = None
        while True:
            listed, after = _page(hub, head.host, after, **asked)
            if after and (not listed or (found and listed[0].gun <= found[-1].gun)):
                raise RemoteFailed(f"the list of {head.host} does not come to an end")
            found += listed
            if sum(each.size for each in found) * 4 // 3 > LARGEST_BUNDLE or len(found) > MOST_REPOSITORIES:
                raise TooLarge(
                    f"the bundle of all repositories would be larger than {LARGEST_BUNDLE} bytes",
                    hint="Name those that you need with --repository.",
                )
            if not after:
                break
    return replace(head, repositories=tuple(found))


def _page(
    hub: HubApi, host: str, after: str | None, **asked: str | int | None
) -> tuple[tuple[BundledRepository, ...], str | None]:
    answer = hub.get("/trust/repositories", after=after, **asked)
    try:
        listed = msgspec.convert(answer.get("repositories"), list[Listed])
    except msgspec.ValidationError as error:
        raise InvalidBundle(str(error)) from None
    following = answer.get("next")
    return repositories(listed, host), following if isinstance(following, str) else None


def write_bundle(bundle: Bundle, path: Path) -> None:
    """Whole or not at all."""
    write_private(path, json.dumps(bundle.document(), indent=1).encode() + b"\n")
    path.chmod(0o644)


def write_folder(bundle: Bundle, folder: Path) -> list[str]:
    """Everything that is handed out, under names that README.txt explains; the names. Raises Conflict."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} exists and is not an empty folder", hint="Name a new one.")
    files = _files(bundle)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for each in bundle.repositories:
        path = folder / "docker" / "trust" / "tuf" / each.gun / "metadata" / "root.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(each.root)
    write_bundle(bundle, folder / "bundle.json")
    return ["bundle.json", *files, *(["docker/trust"] if bundle.repositories else [])]


def _files(bundle: Bundle) -> Mapping[str, str]:
    host, roots = bundle.host, bundle.roots
    public = "".join(root.key.pem.decode() for root in roots)
    said = [root.document() for root in roots]
    ca = bundle.ca_pem
    notary = {
        "remote_server": {"url": bundle.url, **({"root_ca": "../ca.crt"} if ca else {})},
        "trust_pinning": {
            "certs": {f"{host}/*": [entry["certificate_id"] for entry in said]},
            "disable_tofu": True,
        },
    }
    cert = f"    cert: |\n{_indented(ca, 6)}\n" if ca else ""
    return {
        "README.txt": README.format(
            host=host, hub_name=bundle.hub_name, made=f"{bundle.made:%Y-%m-%d %H:%M} UTC",
            keys=", ".join(entry["key_id"] for entry in said),
            certificates=", ".join(entry["certificate_id"] for entry in said),
            not_after=", ".join(entry["not_after"] for entry in said), ca=CA_LINE.format(host=host) if ca else "",
        ),
        **({"ca.crt": ca} if ca else {}),
        "root.crt": "".join(root.certificate for root in roots),
        "root.pub.pem": public,
        "notary/config.json": json.dumps(notary, indent=2) + "\n",
        "admission/connaisseur.yaml": CONNAISSEUR.format(host=host, key=_indented(public, 8), cert=cert),
        "admission/portieris.yaml": PORTIERIS.format(host=host, url=bundle.url, hub_name=bundle.hub_name),
        "signer.pub.pem": bundle.signer_pem,
    }


def _indented(text: str, spaces: int) -> str:
    return "\n".join(" " * spaces + line for line in text.strip().splitlines())
