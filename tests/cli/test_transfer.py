"""The registry client against our own registry: chunks, mounts, lists, and the rights that tokens carry."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import urllib3

from customhouse.errors import CustomhouseError
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import OCI_EMPTY, OCI_MANIFEST
from customhouse.registry.client import RegistryClient
from customhouse.testing import images
from customhouse.transport import Credentials, Tls, Transport
from tests.cli.conftest import Person
from tests.hub_process import HubProcess


@pytest.fixture
def connect(hub: HubProcess) -> Callable[..., RegistryClient]:
    def connect(name: str = "", chunk: int = 1 << 24, refresh: bool = False) -> RegistryClient:
        who = Credentials(name, "their-password") if name else Credentials()
        transport = Transport(hub.url, credentials=who, tls=Tls(ca_file=hub.ca))
        if refresh:  # as docker login asks for one, to keep it in place of the password
            pool = urllib3.PoolManager(ca_certs=str(hub.ca))
            answer = pool.request(
                "GET", f"{hub.url}/token?service=x&offline_token=true", headers={"Authorization": who.basic}
            )
            transport.credentials = Credentials(refresh_token=answer.json()["refresh_token"])
        return RegistryClient(transport, chunk=chunk)

    return connect


def test_chunks_mounts_lists_and_referrers(
    admin: Person, signed_in: Callable[[str, str], Person], connect: Callable[..., RegistryClient], tmp_path: Path
) -> None:
    signed_in("porter", "publisher")
    admin("publisher", "add", "port", "--member", "porter")
    client = connect("porter", chunk=100_000)
    content = os.urandom(950_000)
    digest = Digest.of(content)
    assert client.push_blob("staging/port/a", digest, len(content), lambda: io.BytesIO(content)) == "uploaded"
    with open(tmp_path / "unused", "wb") as never:
        mounted = client.push_blob("staging/port/b", digest, len(content), lambda: never, mount_from="staging/port/a")
    assert mounted == "mounted"
    (tmp_path / "layer.part").write_bytes(content[:400_000])
    client.download("staging/port/b", digest, len(content), tmp_path / "layer")
    assert (tmp_path / "layer").read_bytes() == content

    built = images.minimal_server_image(style="oci")
    for blob_digest, blob in built.blobs.items():
        client.push_blob("staging/port/a", blob_digest, len(blob), lambda blob=blob: io.BytesIO(blob))
    for number in range(5):
        client.put_manifest("staging/port/a", f"1.{number}", built.manifest_raw, built.media_type)
    assert client.tags("staging/port/a") == [f"1.{number}" for number in range(5)]
    empty = b"{}"
    client.push_blob("staging/port/a", Digest.of(empty), 2, lambda: io.BytesIO(empty))
    descriptor = {"mediaType": OCI_EMPTY, "digest": Digest.of(empty), "size": 2}
    statement = json.dumps({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/x.note", "config": descriptor,
        "layers": [descriptor],
        "subject": {"mediaType": built.media_type, "digest": built.digest, "size": len(built.manifest_raw)},
    }).encode()
    client.put_manifest("staging/port/a", Digest.of(statement), statement, OCI_MANIFEST)
    assert [each.digest for each in client.referrers("staging/port/a", built.digest)] == [Digest.of(statement)]
    assert client.referrers("staging/port/a", built.digest, "application/x.other") == []
    client.delete_manifest("staging/port/a", "1.4")
    assert "1.4" not in client.tags("staging/port/a")

    assert connect("porter", refresh=True).blob_size("staging/port/a", digest) == len(content)
    for nobody in (connect(), connect("porter")):
        with pytest.raises(CustomhouseError):
            nobody.put_manifest("port/a", "1", built.manifest_raw, built.media_type)
    with pytest.raises(CustomhouseError):
        connect().tags("staging/port/a")
