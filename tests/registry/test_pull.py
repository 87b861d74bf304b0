"""Pulling over a real server: what is there comes byte for byte, and what may not be seen is not there."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import uvicorn

from customhouse.blobs.files import FileBlobs
from customhouse.oci import manifest as m
from customhouse.oci.digest import Digest
from customhouse.registry.service import RegistryService
from tests.registry.conftest import CONFIG, Client, Rights, Served, image, index

WEB = "staging/alice/web"
LARGE = os.urandom(3 * 1024 * 1024 + 17)


def test_a_manifest_comes_back_byte_for_byte_by_tag_and_by_digest(hub: Client) -> None:
    raw = hub.push_image(WEB, "1")
    digest = Digest.of(raw)
    for reference in ("1", digest):
        reply = hub("GET", f"/v2/{WEB}/manifests/{reference}")
        assert (reply.status, reply.body) == (200, raw)
        assert reply.headers["content-type"] == m.OCI_MANIFEST
        assert reply.headers["docker-content-digest"] == digest
        assert reply.headers["docker-distribution-api-version"] == "registry/2.0"


def test_a_head_tells_length_and_digest_without_a_body(hub: Client) -> None:
    raw = hub.push_image(WEB, "1")
    reply = hub("HEAD", f"/v2/{WEB}/manifests/1")
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", str(len(raw)))
    reply = hub("HEAD", f"/v2/{WEB}/blobs/{Digest.of(CONFIG)}")
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", str(len(CONFIG)))
    assert reply.headers["docker-content-digest"] == Digest.of(CONFIG)


@pytest.mark.parametrize("reference", ["none", ".INVALID", "sha256:" + "0" * 64, "sha256:short"])
def test_an_unknown_manifest_is_not_found(hub: Client, reference: str) -> None:
    hub.push_image(WEB)
    reply = hub("GET", f"/v2/{WEB}/manifests/{reference}")
    assert (reply.status, reply.codes) == (404, ["MANIFEST_UNKNOWN"])
    assert hub("HEAD", f"/v2/{WEB}/manifests/{reference}").status == 404


def test_several_accept_lines_count_as_one(hub: Client) -> None:
    hub.push_image(WEB)
    path = f"/v2/{WEB}/manifests/1"
    assert hub("GET", path, accept=m.OCI_MANIFEST).status == 200
    refused = hub("GET", path, accept=m.DOCKER_MANIFEST)
    assert (refused.status, refused.codes) == (404, ["MANIFEST_UNKNOWN"]) and m.OCI_MANIFEST in refused.body.decode()
    # As docker sends it: one line for each type.
    import http.client

    raw = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=10)
    raw.putrequest("GET", path)
    raw.putheader("Authorization", "Bearer alice")
    for kind in (m.DOCKER_LIST, m.DOCKER_MANIFEST, m.OCI_INDEX, m.OCI_MANIFEST):
        raw.putheader("Accept", kind)
    raw.endheaders()
    assert raw.getresponse().status == 200
    raw.close()


def test_what_the_client_has_already_is_not_sent_again(hub: Client) -> None:
    hub.push_image(WEB)
    for path in (f"/v2/{WEB}/manifests/1", f"/v2/{WEB}/blobs/{Digest.of(CONFIG)}"):
        etag = hub("GET", path).headers["etag"]
        reply = hub("GET", path, if_none_match=f'"other", {etag}')
        assert (reply.status, reply.body) == (304, b"")
        assert hub("HEAD", path, if_none_match=f"W/{etag}").status == 304
        assert hub("GET", path, if_none_match="*").status == 304
        assert hub("GET", path, if_none_match='"other"').status == 200


@pytest.mark.parametrize("zero_copy", [True, False])
@pytest.mark.parametrize("protocol", ["httptools", "h11"])
def test_a_large_blob_comes_whole_and_in_ranges_on_every_way_out(
    serve: Callable[..., Served], service: RegistryService, rights: Rights, zero_copy: bool, protocol: str
) -> None:
    hub = Client(serve(service, rights, zero_copy=zero_copy, http=protocol).port)
    digest = hub.push_blob(WEB, LARGE)
    path = f"/v2/{WEB}/blobs/{digest}"
    reply = hub("GET", path)
    assert (reply.status, reply.body == LARGE) == (200, True)
    size = len(LARGE)
    for header, start, end in [
        ("bytes=0-0", 0, 1), ("bytes=100-", 100, size), ("bytes=-17", size - 17, size),
        ("bytes=5-2000004", 5, 2_000_005), ("bytes=1048576-9999999", 1_048_576, size),
    ]:  # fmt: skip
        part = hub("GET", path, range=header)
        assert (part.status, part.body == LARGE[start:end]) == (206, True), header
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    # The connection is still in step after each of them.
    assert hub("GET", path, if_range='"other"', range="bytes=0-0").status == 200
    assert hub("GET", path, if_range=f'"{digest}"', range="bytes=0-0").status == 206
    for ignored in ("bytes=0-1,5-6", "lines=1-2", "bytes=a-b"):
        assert hub("GET", path, range=ignored).status == 200, ignored
    head = hub("HEAD", path, range="bytes=0-0")
    assert (head.status, head.headers["content-length"], head.headers["accept-ranges"]) == (200, str(size), "bytes")
    refused = hub("GET", path, range=f"bytes={size}-")
    assert (refused.status, refused.headers["content-range"]) == (416, f"bytes */{size}")
    hub.close()


def test_a_blob_comes_over_tls_without_sendfile(
    serve: Callable[..., Served], service: RegistryService, rights: Rights, tmp_path: Path
) -> None:
    import ssl
    import subprocess

    import urllib3

    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    plain = Client(serve(service, rights).port)
    digest = plain.push_blob(WEB, LARGE)
    plain.close()
    port = serve(service, rights, ssl_keyfile=str(key), ssl_certfile=str(certificate)).port
    context = ssl.create_default_context(cafile=str(certificate))
    with urllib3.HTTPSConnectionPool("127.0.0.1", port, ssl_context=context, retries=False) as pool:
        path = f"/v2/{WEB}/blobs/{digest}"
        for _ in range(2):  # out of the page cache, and from the disk
            reply = pool.request("GET", path, headers={"Authorization": "Bearer alice"})
            assert (reply.status, reply.data == LARGE) == (200, True)
            with service.blobs.open(Digest(digest)) as content:
                os.posix_fadvise(content.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_sendfile_is_offered_by_the_uvicorn_that_is_installed(
    serve: Callable[..., Served], service: RegistryService
) -> None:
    from customhouse.registry.transfer import ZeroCopy

    offered: list[bool] = []

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        offered.append("http.response.zerocopysend" in scope.get("extensions", {}))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    server = Served(ZeroCopy(app))
    client = Client(server.port)
    client("GET", "/")
    client.close()
    server.stop()
    assert offered == [True], f"uvicorn {uvicorn.__version__} looks different: sendfile is off"


def test_a_client_that_reads_slowly_and_goes_away_leaves_the_server_well(hub: Client) -> None:
    import socket

    digest = hub.push_blob(WEB, os.urandom(16 * 1024 * 1024))
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", hub.port)) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            request = f"GET /v2/{WEB}/blobs/{digest} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice\r\n\r\n"
            slow.sendall(request.encode())
            assert slow.recv(1000).startswith(b"HTTP/1.1 200")
            assert hub("GET", "/v2/").status == 200
    assert hub("HEAD", f"/v2/{WEB}/blobs/{digest}").status == 200


def test_an_empty_blob_is_a_blob(hub: Client) -> None:
    digest = hub.push_blob(WEB, b"")
    reply = hub("GET", f"/v2/{WEB}/blobs/{digest}")
    assert (reply.status, reply.body) == (200, b"")
    assert hub("GET", f"/v2/{WEB}/blobs/{digest}", range="bytes=0-").status == 416


def test_a_blob_whose_bytes_were_cut_in_the_store_is_not_sent_as_if_whole(hub: Client, blobs: FileBlobs) -> None:
    digest = hub.push_blob(WEB, LARGE)
    os.truncate(blobs.path(digest), 100)
    reply = hub("GET", f"/v2/{WEB}/blobs/{digest}")
    assert (reply.status, reply.codes) == (503, ["UNAVAILABLE"])
    blobs.path(digest).unlink()
    assert hub("GET", f"/v2/{WEB}/blobs/{digest}").codes == ["BLOB_UNKNOWN"]


def test_the_base_challenges_until_a_valid_token_comes(hub: Client) -> None:
    for user in (None, "nobody"):
        reply = hub("GET", "/v2/", user=user)
        assert (reply.status, reply.codes) == (401, ["UNAUTHORIZED"])
        assert reply.headers["www-authenticate"].startswith('Bearer realm="https://hub.test/token",service="customhouse"')
    assert (hub("GET", "/v2/").status, hub("GET", "/v2/").body) == (200, b"{}")


def test_a_challenge_names_the_scope_that_is_needed(hub: Client) -> None:
    reply = hub("GET", f"/v2/{WEB}/manifests/1", user=None)
    assert f'scope="repository:{WEB}:pull"' in reply.headers["www-authenticate"]
    assert hub("HEAD", f"/v2/{WEB}/manifests/1", user=None).status == 401


def test_a_blob_of_another_repository_is_as_good_as_absent(hub: Client) -> None:
    digest = hub.push_blob("staging/alice/one", b"mine")
    for method in ("GET", "HEAD"):
        assert hub(method, f"/v2/staging/alice/two/blobs/{digest}").status == 404
        assert hub(method, f"/v2/staging/bob/web/blobs/{digest}", user="bob").status == 404
        assert hub(method, f"/v2/staging/alice/one/blobs/{digest}", user="bob").status == 401


def test_a_manifest_of_another_repository_is_as_good_as_absent(hub: Client) -> None:
    digest = Digest.of(hub.push_image(WEB))
    assert hub("GET", f"/v2/staging/bob/web/manifests/{digest}", user="bob").status == 404


def test_tags_are_listed_in_order_and_in_pages(hub: Client) -> None:
    raw = hub.push_image(WEB, "b")
    for tag in ("a", "C", "10", "9"):
        hub.push_manifest(WEB, tag, raw)
    path = f"/v2/{WEB}/tags/list"
    assert hub("GET", path).json == {"name": WEB, "tags": ["10", "9", "C", "a", "b"]}
    seen: list[str] = []
    following: str | None = f"{path}?n=2"
    while following:
        page = hub("GET", following)
        seen += page.json["tags"]
        link = page.headers.get("link")
        following = link[1 : link.index(">")] if link else None
    assert seen == ["10", "9", "C", "a", "b"]
    assert hub("GET", f"{path}?last=C").json["tags"] == ["a", "b"]
    assert hub("GET", f"{path}?n=0").json["tags"] == []
    assert hub("GET", f"{path}?n=x").status == 400
    assert hub("GET", f"{path}?last=%00").status == 200


def test_an_unknown_repository_has_no_tags(hub: Client) -> None:
    reply = hub("GET", f"/v2/{WEB}/tags/list")
    assert (reply.status, reply.codes) == (404, ["NAME_UNKNOWN"])
    hub.push_blob(WEB, b"x")
    assert hub("GET", f"/v2/{WEB}/tags/list").json["tags"] == []


def test_referrers_are_listed_by_type_and_the_push_names_the_subject(hub: Client) -> None:
    subject = hub.push_image(WEB)
    about = {"mediaType": m.OCI_MANIFEST, "digest": str(Digest.of(subject)), "size": len(subject)}
    path = f"/v2/{WEB}/referrers/{Digest.of(subject)}"
    assert hub("GET", path).json == {"schemaVersion": 2, "mediaType": m.OCI_INDEX, "manifests": []}
    made = {}
    for kind in ("application/vnd.example.sbom", "application/vnd.example.signature"):
        raw = image(subject=about, artifactType=kind, annotations={"made.by": kind})
        pushed = hub.push_manifest(WEB, Digest.of(raw), raw)
        assert (pushed.status, pushed.headers["oci-subject"]) == (201, Digest.of(subject))
        made[kind] = raw
    plain = image(subject=about)
    hub.push_manifest(WEB, Digest.of(plain), plain)
    everything = hub("GET", path)
    assert everything.headers["content-type"] == m.OCI_INDEX and "oci-filters-applied" not in everything.headers
    assert {entry["digest"] for entry in everything.json["manifests"]} == {
        str(Digest.of(raw)) for raw in (*made.values(), plain)
    }
    assert {entry["artifactType"] for entry in everything.json["manifests"]} == {*made, m.OCI_CONFIG}
    kind, raw = next(iter(made.items()))
    filtered = hub("GET", f"{path}?artifactType={kind}")
    assert filtered.headers["oci-filters-applied"] == "artifactType"
    assert filtered.json["manifests"] == [
        {"mediaType": m.OCI_MANIFEST, "digest": str(Digest.of(raw)), "size": len(raw), "artifactType": kind,
         "annotations": {"made.by": kind}}
    ]  # fmt: skip
    assert hub("GET", f"/v2/{WEB}/referrers/sha256:bad").codes == ["DIGEST_INVALID"]
    assert hub("GET", f"/v2/staging/alice/other/referrers/{Digest.of(subject)}").json["manifests"] == []


def test_many_or_large_referrers_come_in_pages(hub: Client) -> None:
    hub.push_image(WEB)
    subject = Digest.of(b"absent")
    about = {"mediaType": m.OCI_MANIFEST, "digest": str(subject), "size": 6}
    pushed = set()
    for number in range(3):
        raw = image(subject=about, artifactType="a/b", annotations={"n": str(number) * 2_000_000})
        assert hub.push_manifest(WEB, Digest.of(raw), raw).status == 201
        pushed.add(str(Digest.of(raw)))
    seen = []
    following: str | None = f"/v2/{WEB}/referrers/{subject}?artifactType=a/b"
    pages = 0
    while following:
        page = hub("GET", following)
        seen += [entry["digest"] for entry in page.json["manifests"]]
        link = page.headers.get("link")
        following = link[1 : link.index(">")] if link else None
        pages += 1
    assert (sorted(seen), pages) == (sorted(pushed), 2)


def test_a_withdrawn_manifest_is_refused_with_its_reason_until_it_is_not(
    hub: Client, service: RegistryService
) -> None:
    raw = hub.push_image(WEB)
    digest = Digest.of(raw)
    with service.store.write() as tx:
        service.refuse(tx, WEB, digest, "CVE-2026-1 is exploited")
    for reference in ("1", digest):
        reply = hub("GET", f"/v2/{WEB}/manifests/{reference}")
        assert (reply.status, reply.codes) == (403, ["DENIED"])
        assert "CVE-2026-1 is exploited" in reply.body.decode()
        assert hub("HEAD", f"/v2/{WEB}/manifests/{reference}").status == 403
    assert service.manifest(WEB, digest).raw == raw
    with service.store.write() as tx:
        assert service.unrefuse(tx, WEB, digest)
    assert hub("GET", f"/v2/{WEB}/manifests/1").status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/staging/alice/web", 404),
        ("GET", "/v2/staging/Alice/web/manifests/1", 400),
        ("GET", "/v2/staging/alice/../bob/web/manifests/1", 400),
        ("GET", f"/v2/{'a/' * 140}b/manifests/1", 400),
        ("POST", "/v2/staging/alice/web/manifests/1", 405),
        ("PUT", "/v2/", 405),
        ("GET", "/v2/staging/alice/web/blobs/sha256:x", 400),
        ("GET", "/v2/staging/alice/web/blobs/uploads/", 405),
    ],
)
def test_a_wrong_path_or_method_gets_an_error_in_the_registrys_form(
    hub: Client, method: str, path: str, status: int
) -> None:
    reply = hub(method, path)
    assert reply.status == status
    assert set(reply.json["errors"][0]) == {"code", "message"}


def test_an_index_and_its_children_are_pulled_by_digest(hub: Client) -> None:
    child = hub.push_image(WEB, "child")
    parent = index(child)
    assert hub.push_manifest(WEB, "all", parent, m.OCI_INDEX).status == 201
    assert hub("GET", f"/v2/{WEB}/manifests/all", accept=m.OCI_INDEX).body == parent
    assert hub("GET", f"/v2/{WEB}/manifests/{Digest.of(child)}").body == child
