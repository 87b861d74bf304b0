"""The registry client against Debian's docker-registry: a real peer with its own opinions."""

import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from customhouse.oci.digest import Digest
from customhouse.oci.manifest import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST
from customhouse.registry.client import ContentMismatch, RegistryClient
from customhouse.remote import (
    AnswerTooLarge,
    RemoteDenied,
    RemoteInvalid,
    RemoteNotFound,
    RemoteUnauthenticated,
    Unreachable,
)
from customhouse.transport import Credentials, Tls, Transport
from tests.peers.postgresql import free_port
from tests.peers.servers import Peer, docker_registry

pytestmark = pytest.mark.needs("docker-registry")


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    server = docker_registry(tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()


@pytest.fixture
def client(peer: Peer) -> RegistryClient:
    return RegistryClient(Transport(f"http://{peer.host}"))


def push(client: RegistryClient, repository: str, content: bytes) -> tuple[Digest, str]:
    digest = Digest.of(content)
    return digest, client.push_blob(repository, digest, len(content), lambda: io.BytesIO(content))


def image(client: RegistryClient, repository: str, reference: str = "1") -> tuple[bytes, Digest]:
    config, layer = b'{"architecture":"amd64","os":"linux"}', os.urandom(2000)
    for content in (config, layer):
        push(client, repository, content)
    raw = json.dumps({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": Digest.of(config), "size": len(config)},
        "layers": [{"mediaType": OCI_LAYER_GZIP, "digest": Digest.of(layer), "size": len(layer)}],
    }, indent=3).encode()
    return raw, client.put_manifest(repository, reference, raw, OCI_MANIFEST)


def test_a_manifest_comes_back_byte_for_byte_by_tag_and_by_digest(client: RegistryClient) -> None:
    raw, digest = image(client, "one/bytes")
    by_tag, by_digest = client.manifest("one/bytes", "1"), client.manifest("one/bytes", digest)
    assert by_tag.raw == by_digest.raw == raw
    assert (by_tag.digest, by_tag.media_type, by_tag.size) == (digest, OCI_MANIFEST, len(raw))
    assert client.has_manifest("one/bytes", "1")
    assert not client.has_manifest("one/bytes", "2")


def test_a_blob_is_sent_once_and_then_mounted(client: RegistryClient) -> None:
    content = os.urandom(5000)
    digest, first = push(client, "two/a", content)
    assert (first, push(client, "two/a", content)[1]) == ("uploaded", "present")
    mounted = client.push_blob("two/b", digest, len(content), lambda: io.BytesIO(content), mount_from="two/a")
    assert mounted == "mounted"
    assert client.blob("two/b", digest) == content


def test_a_large_blob_goes_in_chunks_and_tells_its_progress(peer: Peer) -> None:
    seen: list[tuple[int, int]] = []
    client = RegistryClient(
        Transport(f"http://{peer.host}"), chunk=100_000, progress=lambda digest, done, total: seen.append((done, total))
    )
    content = os.urandom(350_000)
    digest, sent = push(client, "three/a", content)
    assert sent == "uploaded"
    assert [done for done, _ in seen] == [100_000, 200_000, 300_000, 350_000]
    assert client.blob_size("three/a", digest) == 350_000


def test_content_that_is_shorter_than_announced_is_not_sent(client: RegistryClient) -> None:
    content = b"short"
    with pytest.raises(Exception, match="has 5 bytes where 9 were announced"):
        client.push_blob("three/b", Digest.of(content), 9, lambda: io.BytesIO(content))
    assert client.blob_size("three/b", Digest.of(content)) is None


def test_a_blob_with_another_digest_is_refused_with_the_registrys_words(client: RegistryClient) -> None:
    with pytest.raises(RemoteInvalid) as caught:
        client.push_blob("four/a", Digest.of(b"else"), 4, lambda: io.BytesIO(b"this"))
    assert caught.value.code == "DIGEST_INVALID"
    assert "digest" in caught.value.message


def test_a_broken_download_goes_on_where_it_stopped(client: RegistryClient, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    digest, _ = push(client, "five/a", content)
    (tmp_path / "layer.part").write_bytes(content[:1_234_567])
    client.download("five/a", digest, len(content), tmp_path / "layer")
    assert hashlib.sha256((tmp_path / "layer").read_bytes()).hexdigest() == digest.hex
    assert not (tmp_path / "layer.part").exists()


def test_a_damaged_part_is_thrown_away_and_never_gets_the_name(client: RegistryClient, tmp_path: Path) -> None:
    content = os.urandom(100_000)
    digest, _ = push(client, "five/b", content)
    (tmp_path / "layer.part").write_bytes(b"x" * 50_000)
    with pytest.raises(ContentMismatch):
        client.download("five/b", digest, len(content), tmp_path / "layer")
    assert list(tmp_path.iterdir()) == []
    client.download("five/b", digest, len(content), tmp_path / "layer")
    assert (tmp_path / "layer").read_bytes() == content


def test_altered_content_is_refused_by_its_digest(client: RegistryClient, peer: Peer) -> None:
    raw, digest = image(client, "six/a")
    stored = peer.log.parent / "content/docker/registry/v2/blobs/sha256" / digest.hex[:2] / digest.hex / "data"
    assert stored.read_bytes() == raw
    stored.write_bytes(raw.replace(b"amd64", b"arm64").replace(b'"schemaVersion"', b' "schemaVersion"'))
    with pytest.raises(ContentMismatch):
        client.manifest("six/a", digest)


def test_tags_are_listed(client: RegistryClient) -> None:
    raw, _ = image(client, "seven/a", "a")
    for tag in ("b", "c"):
        client.put_manifest("seven/a", tag, raw, OCI_MANIFEST)
    assert sorted(client.tags("seven/a")) == ["a", "b", "c"]
    with pytest.raises(RemoteNotFound):
        client.tags("seven/none")


def test_referrers_are_found_through_the_fallback_tag(client: RegistryClient) -> None:
    raw, digest = image(client, "eight/a")
    assert client.referrers("eight/a", digest) == []
    index = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": OCI_MANIFEST, "digest": digest, "size": len(raw), "artifactType": "a/b"}],
    }).encode()
    client.put_manifest("eight/a", f"sha256-{digest.hex}", index, "application/vnd.oci.image.index.v1+json")
    assert [each.digest for each in client.referrers("eight/a", digest)] == [digest]
    assert client.referrers("eight/a", digest, "c/d") == []


def test_an_answer_over_its_budget_is_refused(client: RegistryClient) -> None:
    digest, _ = push(client, "nine/a", os.urandom(10_000))
    with pytest.raises(AnswerTooLarge):
        client.blob("nine/a", digest, budget=9_999)


def test_basic_authentication_is_answered_and_a_wrong_password_explained(tmp_path: Path) -> None:
    # htpasswd entry of alice / secret, cost 4
    (tmp_path / "htpasswd").write_text("alice:$2b$04$7EqJtq98hPqEX7fNZaFWoOe0zSbVmXWwgTlBRe/2sGNv3sVOhKEEe\n")
    server = docker_registry(
        tmp_path / "registry", f"auth:\n  htpasswd: {{realm: basic, path: {tmp_path / 'htpasswd'}}}\n"
    )
    try:
        nobody = RegistryClient(Transport(f"http://{server.host}"))
        with pytest.raises(RemoteUnauthenticated) as caught:
            nobody.tags("a/b")
        assert "customhouse login" in caught.value.hint
        wrong = RegistryClient(Transport(f"http://{server.host}", credentials=Credentials("alice", "no")))
        with pytest.raises((RemoteUnauthenticated, RemoteDenied)) as refused:
            wrong.tags("a/b")
        assert "no" not in refused.value.message.split()
    finally:
        server.stop()


def test_each_way_of_not_getting_an_answer_has_its_own_hint(peer: Peer) -> None:
    with pytest.raises(Unreachable, match="nothing answers at"):
        Transport(f"http://127.0.0.1:{free_port()}").request("GET", "/v2/")
    with pytest.raises(Unreachable, match="TLS with"):
        Transport(f"https://{peer.host}").request("GET", "/v2/")
    with pytest.raises(Unreachable, match="there is no host"):
        Transport("https://nowhere.invalid").request("GET", "/v2/")
    with pytest.raises(Exception, match="is not encrypted"):
        Transport("http://registry.example")
    Transport("http://registry.example", tls=Tls(insecure=True))
