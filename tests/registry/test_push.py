"""Pushing over a real server: whole or not at all, and every wrong thing is told in the registry's form."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from customhouse.blobs.files import FileBlobs
from customhouse.db import Database
from customhouse.oci import manifest as m
from customhouse.oci.digest import Digest
from customhouse.registry.service import RegistryService
from tests.conftest import Clock
from tests.registry.conftest import CONFIG, Client, Rights, Served, descriptor, image, index
from tests.test_blobs import files_of_at_most

WEB = "staging/alice/web"
LARGE = os.urandom(3 * 1024 * 1024 + 17)
NOTHING = Digest.of(b"nothing has these bytes")


def begin(hub: Client, repository: str = WEB) -> str:
    reply = hub("POST", f"/v2/{repository}/blobs/uploads/")
    assert (reply.status, reply.headers["range"]) == (202, "0-0")
    assert reply.location.startswith(f"/v2/{repository}/blobs/uploads/")
    return reply.location


def blob(hub: Client, digest: Digest, repository: str = WEB) -> bytes | None:
    reply = hub("GET", f"/v2/{repository}/blobs/{digest}")
    return reply.body if reply.status == 200 else None


def test_a_blob_is_pushed_in_one_post(hub: Client) -> None:
    digest = Digest.of(LARGE)
    reply = hub("POST", f"/v2/{WEB}/blobs/uploads/?digest={digest}", LARGE)
    assert (reply.status, reply.location) == (201, f"/v2/{WEB}/blobs/{digest}")
    assert reply.headers["docker-content-digest"] == digest
    assert blob(hub, digest) == LARGE


def test_a_blob_is_pushed_by_post_and_put(hub: Client) -> None:
    assert blob(hub, hub.push_blob(WEB, LARGE)) == LARGE


def test_a_blob_is_pushed_as_docker_does_it_in_one_chunked_patch(hub: Client) -> None:
    location = begin(hub)
    patched = hub("PATCH", location, iter([LARGE[:1000], LARGE[1000:]]))
    assert (patched.status, patched.headers["range"]) == (202, f"0-{len(LARGE) - 1}")
    done = hub("PUT", f"{patched.location}?digest={Digest.of(LARGE)}")
    assert done.status == 201
    assert blob(hub, Digest.of(LARGE)) == LARGE


@pytest.mark.parametrize("way", ["post", "put", "chunks"])
def test_a_blob_is_pushed_under_its_sha512_digest(hub: Client, blobs: FileBlobs, way: str) -> None:
    digest, wrong = Digest.of(LARGE, "sha512"), Digest.of(b"another", "sha512")
    for named, status in ((wrong, 400), (digest, 201)):
        if way == "post":
            reply = hub("POST", f"/v2/{WEB}/blobs/uploads/?digest={named}", LARGE)
        else:
            location, rest = begin(hub), LARGE
            if way == "chunks":
                location, rest = hub("PATCH", location, LARGE[:70_000]).location, LARGE[70_000:]
            reply = hub("PUT", f"{location}?digest={named}", rest)
        assert reply.status == status, reply
    assert reply.headers["docker-content-digest"] == digest and reply.location.endswith(f"/blobs/{digest}")
    assert blob(hub, digest) == LARGE and blob(hub, wrong) is None and list(blobs.digests()) == [digest]
    assert blob(hub, Digest.of(LARGE)) is None, "what was sent under one name is not there under another"
    part = hub("GET", reply.location, range="bytes=-5", if_range=f'"{digest}"')
    assert (part.status, part.body, part.headers["etag"]) == (206, LARGE[-5:], f'"{digest}"')
    layer = {"mediaType": m.OCI_LAYER, "digest": str(digest), "size": len(LARGE)}
    hub.push_blob(WEB, CONFIG)
    assert hub.push_manifest(WEB, "1", image(layers=[layer])).status == 201
    other = "staging/alice/other"
    assert hub("POST", f"/v2/{other}/blobs/uploads/?mount={digest}&from={WEB}").status == 201
    assert blob(hub, digest, other) == LARGE


def test_a_blob_is_pushed_in_numbered_chunks_with_the_last_in_the_put(hub: Client) -> None:
    location, step = begin(hub), 1_000_000
    for start in range(0, 3 * step, step):
        reply = hub("PATCH", location, LARGE[start : start + step], content_range=f"{start}-{start + step - 1}")
        assert (reply.status, reply.headers["range"]) == (202, f"0-{start + step - 1}")
        status = hub("GET", location)
        assert (status.status, status.headers["range"]) == (204, f"0-{start + step - 1}")
        location = reply.location
    rest = LARGE[3 * step :]
    done = hub(
        "PUT", f"{location}?digest={Digest.of(LARGE)}", rest, content_range=f"{3 * step}-{len(LARGE) - 1}"
    )  # fmt: skip
    assert done.status == 201
    assert blob(hub, Digest.of(LARGE)) == LARGE
    assert hub("GET", location).codes == ["BLOB_UPLOAD_UNKNOWN"]


@pytest.mark.parametrize("content_range", ["5-14", "0-9", "100-109", "x-y", "9-0", ""])
def test_a_chunk_out_of_order_is_refused_and_the_progress_told(hub: Client, content_range: str) -> None:
    location = begin(hub)
    assert hub("PATCH", location, b"0123456789", content_range="0-9").status == 202
    if not content_range:
        return
    refused = hub("PATCH", location, b"0123456789", content_range=content_range)
    assert refused.status == 416
    if content_range[0].isdigit() and content_range != "9-0":
        assert refused.headers["range"] == "0-9" and refused.location == location
    assert hub("GET", location).headers["range"] == "0-9"


def test_an_upload_goes_on_after_a_restart_of_the_hub(
    hub: Client, serve: Callable[..., Served], make_service: Callable[[], RegistryService], rights: Rights
) -> None:
    location = begin(hub)
    assert hub("PATCH", location, LARGE[:1_500_000]).status == 202
    again = Client(serve(make_service(), rights).port)
    assert again("GET", location).headers["range"] == "0-1499999"
    reply = again("PATCH", location, LARGE[1_500_000:], content_range=f"1500000-{len(LARGE) - 1}")
    assert reply.status == 202
    assert again("PUT", f"{location}?digest={Digest.of(LARGE)}").status == 201
    assert blob(again, Digest.of(LARGE)) == LARGE
    again.close()


def test_a_wrong_digest_ends_the_upload_and_nothing_is_visible(hub: Client, blobs: FileBlobs) -> None:
    location = begin(hub)
    reply = hub("PUT", f"{location}?digest={NOTHING}", LARGE)
    assert (reply.status, reply.codes) == (400, ["DIGEST_INVALID"])
    assert blob(hub, NOTHING) is None and blob(hub, Digest.of(LARGE)) is None
    assert list(blobs.digests()) == []
    assert hub("GET", location).status == 404


@pytest.mark.parametrize("query", ["", "?digest=", "?digest=sha256:abc", "?digest=md5:" + "0" * 32])
def test_a_put_without_a_digest_that_we_know_is_refused_and_the_upload_stays(hub: Client, query: str) -> None:
    location = begin(hub)
    hub("PATCH", location, b"abc")
    assert hub("PUT", location + query).codes == ["DIGEST_INVALID"]
    assert hub("PUT", f"{location}?digest={Digest.of(b'abc')}").status == 201


def test_a_chunk_whose_range_and_length_differ_is_refused_before_it_is_taken(hub: Client) -> None:
    location = begin(hub)
    reply = hub("PATCH", location, b"0123456789", content_range="0-4")
    assert (reply.status, reply.codes) == (400, ["SIZE_INVALID"])
    assert hub("GET", location).headers["range"] == "0-0"
    more = hub("PATCH", location, iter([b"01234", b"56789"]), content_range="0-5")
    assert (more.status, more.codes) == (400, ["SIZE_INVALID"])
    fewer = hub("PUT", f"{location}?digest={Digest.of(b'x')}", iter([b"01"]), content_range="0-9999")
    assert fewer.status in (400, 416)


def test_a_connection_cut_in_the_middle_leaves_an_upload_to_go_on_with(hub: Client) -> None:
    location = begin(hub)
    with socket.create_connection(("127.0.0.1", hub.port)) as cut:
        head = (
            f"PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice\r\n"
            f"Content-Length: {len(LARGE)}\r\n\r\n"
        )
        cut.sendall(head.encode() + LARGE[:2_000_000])
    deadline = time.monotonic() + 10
    while (status := hub("GET", location)).headers.get("range") != "0-1999999":
        assert time.monotonic() < deadline, status
        time.sleep(0.02)
    assert hub("PATCH", location, LARGE[2_000_000:], content_range=f"2000000-{len(LARGE) - 1}").status == 202
    assert hub("PUT", f"{location}?digest={Digest.of(LARGE)}").status == 201
    assert blob(hub, Digest.of(LARGE)) == LARGE


def test_a_connection_cut_in_a_monolithic_push_makes_nothing_visible(hub: Client, blobs: FileBlobs) -> None:
    digest = Digest.of(LARGE)
    with socket.create_connection(("127.0.0.1", hub.port)) as cut:
        head = (
            f"POST /v2/{WEB}/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice\r\n"
            f"Content-Length: {len(LARGE)}\r\n\r\n"
        )
        cut.sendall(head.encode() + LARGE[:-1])
    time.sleep(0.1)
    assert blob(hub, digest) is None and list(blobs.digests()) == []


def test_a_second_writer_of_an_upload_is_turned_away(hub: Client) -> None:
    location = begin(hub)
    go_on = threading.Event()

    def slowly() -> Any:
        yield b"first"
        go_on.wait(10)
        yield b"second"

    replies: list[Any] = []
    # its own client: a pool's connection is busy with the body
    other = Client(hub.port)
    writer = threading.Thread(target=lambda: replies.append(other("PATCH", location, slowly())))
    writer.start()
    deadline = time.monotonic() + 10
    while hub("GET", location).status != 409:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert hub("PATCH", location, b"mine").codes == ["BLOB_UPLOAD_INVALID"]
    go_on.set()
    writer.join()
    other.close()
    assert replies[0].status == 202
    assert hub("PUT", f"{location}?digest={Digest.of(b'firstsecond')}").status == 201


def test_an_upload_is_cancelled_and_gone(hub: Client, blobs: FileBlobs) -> None:
    location = begin(hub)
    hub("PATCH", location, b"abc")
    assert hub("DELETE", location).status == 204
    for method in ("GET", "PATCH", "DELETE"):
        assert hub(method, location).status == 404
    assert hub("PUT", f"{location}?digest={Digest.of(b'abc')}").codes == ["BLOB_UPLOAD_UNKNOWN"]
    assert list((blobs.path(NOTHING).parents[2] / "uploads").iterdir()) == []


def test_an_upload_of_one_repository_does_not_exist_in_another(hub: Client) -> None:
    location = begin(hub).replace("/alice/web/", "/alice/other/")
    assert hub("PATCH", location, b"abc").codes == ["BLOB_UPLOAD_UNKNOWN"]
    assert hub("GET", location.replace("alice/other", "bob/web"), user="bob").status == 404
    assert hub("PATCH", f"/v2/{WEB}/blobs/uploads/..%2f..%2fx", b"abc").status == 404


def test_a_blob_that_exists_elsewhere_still_has_to_be_sent(hub: Client) -> None:
    digest = hub.push_blob(WEB, b"known to the hub")
    location = hub("POST", "/v2/staging/bob/web/blobs/uploads/", user="bob").location
    claimed = hub("PUT", f"{location}?digest={digest}", user="bob")
    assert claimed.codes == ["DIGEST_INVALID"]
    assert hub("HEAD", f"/v2/staging/bob/web/blobs/{digest}", user="bob").status == 404
    hub.push_blob("staging/bob/web", b"known to the hub", user="bob")
    assert hub("HEAD", f"/v2/staging/bob/web/blobs/{digest}", user="bob").status == 200


@pytest.mark.parametrize("source", ["&from=staging/alice/one", ""])
def test_a_blob_is_mounted_from_where_the_caller_may_read(hub: Client, source: str) -> None:
    digest = hub.push_blob("staging/alice/one", LARGE)
    reply = hub("POST", f"/v2/staging/alice/two/blobs/uploads/?mount={digest}{source}")
    assert (reply.status, reply.location) == (201, f"/v2/staging/alice/two/blobs/{digest}")
    assert blob(hub, digest, "staging/alice/two") == LARGE


@pytest.mark.parametrize("source", ["&from=staging/alice/one", "", "&from=staging/alice/none", "&from=../x", "&from="])
def test_a_mount_of_what_may_not_be_read_looks_like_one_of_what_is_not_there(hub: Client, source: str) -> None:
    there = hub.push_blob("staging/alice/one", b"secret")
    shapes = []
    for digest in (there, NOTHING):
        reply = hub("POST", f"/v2/staging/bob/web/blobs/uploads/?mount={digest}{source}", user="bob")
        assert hub("HEAD", f"/v2/staging/bob/web/blobs/{digest}", user="bob").status == 404
        shapes.append((reply.status, sorted(reply.headers), reply.headers["range"], reply.body))
    assert shapes[0] == shapes[1] and shapes[0][0] == 202


def test_a_mount_from_a_shared_repository_works_for_another_publisher(hub: Client) -> None:
    digest = hub.push_blob("staging/alice/shared", b"for all")
    reply = hub("POST", f"/v2/staging/bob/web/blobs/uploads/?mount={digest}&from=staging/alice/shared", user="bob")
    assert reply.status == 201


def test_a_mount_with_a_broken_digest_becomes_an_upload(hub: Client) -> None:
    assert hub("POST", f"/v2/{WEB}/blobs/uploads/?mount=sha256:x&from={WEB}").status == 202


def test_nobody_pushes_where_only_the_hub_writes(hub: Client) -> None:
    for method, path in (
        ("POST", "blobs/uploads/"), ("PUT", "manifests/1"), ("DELETE", "manifests/1"), ("DELETE", f"blobs/{NOTHING}"),
    ):  # fmt: skip
        reply = hub(method, f"/v2/official/web/{path}", user="root")
        assert (reply.status, reply.codes) == (403, ["DENIED"])
        assert "staging/" in reply.json["errors"][0]["message"]


def test_a_reader_cannot_push_or_delete(hub: Client) -> None:
    raw = hub.push_image("staging/alice/shared")
    assert hub("GET", "/v2/staging/alice/shared/manifests/1", user="bob").status == 200
    assert hub.push_manifest("staging/alice/shared", "2", raw, user="bob").status == 401
    assert hub("DELETE", f"/v2/staging/alice/shared/manifests/{Digest.of(raw)}", user="bob").status == 401


# Manifests


@pytest.mark.parametrize("media_type", [m.OCI_MANIFEST, m.DOCKER_MANIFEST])
def test_every_kind_of_manifest_and_index_is_kept_byte_for_byte(hub: Client, media_type: str) -> None:
    child = hub.push_image(WEB, "child", mediaType=media_type)
    kind = m.OCI_INDEX if media_type == m.OCI_MANIFEST else m.DOCKER_LIST
    parent = index(child, mediaType=kind)
    assert hub.push_manifest(WEB, "all", parent, kind).status == 201
    for reference, raw, of_kind in (("child", child, media_type), ("all", parent, kind)):
        reply = hub("GET", f"/v2/{WEB}/manifests/{reference}")
        assert (reply.body, reply.headers["content-type"]) == (raw, of_kind)


def test_a_push_answers_with_place_and_digest(hub: Client) -> None:
    raw = hub.push_image(WEB)
    reply = hub.push_manifest(WEB, "again", raw)
    assert reply.location == f"/v2/{WEB}/manifests/{Digest.of(raw)}"
    assert reply.headers["docker-content-digest"] == Digest.of(raw)
    assert "oci-subject" not in reply.headers


def test_a_manifest_is_pushed_under_its_sha512_digest(hub: Client) -> None:
    raw = hub.push_image(WEB)
    digest = Digest.of(raw, "sha512")
    assert hub.push_manifest(WEB, digest, raw).status == 201
    assert hub("GET", f"/v2/{WEB}/manifests/{digest}").body == raw


def test_a_manifest_under_the_digest_of_another_is_refused(hub: Client) -> None:
    raw = hub.push_image(WEB)
    reply = hub.push_manifest(WEB, NOTHING, raw)
    assert (reply.status, reply.codes) == (400, ["DIGEST_INVALID"])


def test_a_tag_moves_and_the_older_manifest_stays_under_its_digest(hub: Client) -> None:
    first = hub.push_image(WEB, "1", b"first")
    second = hub.push_image(WEB, "1", b"second")
    assert hub("GET", f"/v2/{WEB}/manifests/1").body == second
    assert hub("GET", f"/v2/{WEB}/manifests/{Digest.of(first)}").body == first


def test_a_manifest_whose_content_is_absent_is_refused_and_each_piece_named(hub: Client) -> None:
    hub.push_blob(WEB, CONFIG)
    raw = image(b"never pushed", layers=[descriptor(b"one", m.OCI_LAYER), descriptor(b"two", m.OCI_LAYER)])
    reply = hub.push_manifest(WEB, "1", raw)
    assert (reply.status, set(reply.codes)) == (400, {"MANIFEST_BLOB_UNKNOWN"})
    assert [entry["detail"]["digest"] for entry in reply.json["errors"]] == [Digest.of(b"one"), Digest.of(b"two")]
    assert hub("GET", f"/v2/{WEB}/manifests/1").status == 404


def test_content_of_another_repository_does_not_count(hub: Client) -> None:
    raw = hub.push_image("staging/alice/other")
    assert set(hub.push_manifest(WEB, "1", raw).codes) == {"MANIFEST_BLOB_UNKNOWN"}
    assert set(hub.push_manifest(WEB, "all", index(raw), m.OCI_INDEX).codes) == {"MANIFEST_BLOB_UNKNOWN"}


def test_a_manifest_that_lies_about_a_size_is_refused(hub: Client) -> None:
    hub.push_image(WEB)
    raw = image(config={**descriptor(CONFIG, m.OCI_CONFIG), "size": 5})
    assert hub.push_manifest(WEB, "1", raw).codes == ["MANIFEST_INVALID"]


@pytest.mark.parametrize(
    ("raw", "media_type"),
    [
        (b"", m.OCI_MANIFEST), (b"{", m.OCI_MANIFEST), (b"[]", m.OCI_MANIFEST), (b"\xff\xfe", m.OCI_MANIFEST),
        (image(), m.DOCKER_MANIFEST), (image(), "text/html"), (image(layers="x"), m.OCI_MANIFEST),
        (b'{"a":' * 10_000, m.OCI_MANIFEST),
        (b'{"schemaVersion":1,"fsLayers":[]}', "application/vnd.docker.distribution.manifest.v1+prettyjws"),
    ],
)  # fmt: skip
def test_a_broken_manifest_is_refused(hub: Client, raw: bytes, media_type: str) -> None:
    reply = hub.push_manifest(WEB, "1", raw, media_type)
    assert (reply.status, reply.codes) == (400, ["MANIFEST_INVALID"])


@pytest.mark.parametrize("tag", ["-x", ".x", "a" * 129, "a%20b", "%00"])
def test_a_manifest_under_no_valid_tag_is_refused(hub: Client, tag: str) -> None:
    raw = hub.push_image(WEB)
    assert hub.push_manifest(WEB, tag, raw).codes == ["TAG_INVALID"]
    assert hub("GET", f"/v2/{WEB}/manifests/{tag}").status == 404


@pytest.mark.parametrize("declared", [True, False])
def test_a_manifest_of_one_byte_more_than_four_mebibytes_is_too_large(hub: Client, declared: bool) -> None:
    raw = image(annotations={"a": "x" * (m.LARGEST_MANIFEST + 1 - len(image(annotations={"a": ""})))})
    assert len(raw) == 4 * 1024 * 1024 + 1
    body = raw if declared else iter([raw[:3_000_000], raw[3_000_000:]])
    reply = hub("PUT", f"/v2/{WEB}/manifests/1", body, content_type=m.OCI_MANIFEST)
    assert (reply.status, reply.codes) == (413, ["SIZE_INVALID"])
    assert hub("GET", "/v2/").status == 200


def test_a_manifest_of_just_four_mebibytes_is_taken(hub: Client) -> None:
    hub.push_image(WEB)
    empty = image(annotations={"a": ""})
    raw = image(annotations={"a": "x" * (m.LARGEST_MANIFEST - len(empty))})
    assert len(raw) == m.LARGEST_MANIFEST
    assert hub.push_manifest(WEB, "1", raw).status == 201
    assert hub("GET", f"/v2/{WEB}/manifests/1").body == raw


def test_a_full_disk_is_told_and_leaves_nothing_half_visible(
    hub: Client, blobs: FileBlobs, service: RegistryService, database: Database
) -> None:
    location = begin(hub)
    with files_of_at_most(1_500_000):  # one file may grow to this; the database is smaller
        full = hub("PATCH", location, LARGE)
    assert (full.status, full.codes) == (507, ["STORAGE_FULL"])
    assert list(blobs.digests()) == [] and list(service.breaches()) == []
    offset = int(hub("GET", location).headers["range"].partition("-")[2]) + 1
    rest = LARGE[offset:] if offset > 1 else LARGE
    assert hub("PATCH", location, rest).status == 202
    assert hub("PUT", f"{location}?digest={Digest.of(LARGE)}").status == 201


# Deletion


def test_a_tag_is_deleted_and_its_manifest_stays(hub: Client) -> None:
    raw = hub.push_image(WEB)
    assert hub("DELETE", f"/v2/{WEB}/manifests/1").status == 202
    assert hub("GET", f"/v2/{WEB}/manifests/1").status == 404
    assert hub("GET", f"/v2/{WEB}/manifests/{Digest.of(raw)}").status == 200
    assert hub("DELETE", f"/v2/{WEB}/manifests/1").status == 404


def test_a_manifest_is_deleted_with_its_tags_and_then_its_blobs(hub: Client) -> None:
    raw = hub.push_image(WEB)
    hub.push_manifest(WEB, "2", raw)
    assert hub("DELETE", f"/v2/{WEB}/blobs/{Digest.of(CONFIG)}").codes == ["UNSUPPORTED"]
    assert hub("DELETE", f"/v2/{WEB}/manifests/{Digest.of(raw)}").status == 202
    assert hub("GET", f"/v2/{WEB}/tags/list").json["tags"] == []
    assert hub("DELETE", f"/v2/{WEB}/manifests/{Digest.of(raw)}").status == 404
    assert hub("DELETE", f"/v2/{WEB}/blobs/{Digest.of(CONFIG)}").status == 202
    assert hub("DELETE", f"/v2/{WEB}/blobs/{Digest.of(CONFIG)}").codes == ["BLOB_UNKNOWN"]
    assert blob(hub, Digest.of(CONFIG)) is None


def test_a_manifest_of_an_index_is_not_deleted_under_it(hub: Client) -> None:
    child = hub.push_image(WEB)
    parent = index(child)
    hub.push_manifest(WEB, "all", parent, m.OCI_INDEX)
    refused = hub("DELETE", f"/v2/{WEB}/manifests/{Digest.of(child)}")
    assert (refused.status, refused.codes) == (405, ["UNSUPPORTED"])
    assert Digest.of(parent) in refused.json["errors"][0]["message"]
    assert hub("DELETE", f"/v2/{WEB}/manifests/{Digest.of(parent)}").status == 202
    assert hub("DELETE", f"/v2/{WEB}/manifests/{Digest.of(child)}").status == 202


def test_deletions_are_in_the_audit_log_with_who_did_them(hub: Client, database: Database) -> None:
    from customhouse.audit import Audit

    raw = hub.push_image(WEB)
    hub.push_manifest(WEB, "2", raw)
    hub("DELETE", f"/v2/{WEB}/manifests/2")
    hub("DELETE", f"/v2/{WEB}/manifests/{Digest.of(raw)}", user="root")
    hub("DELETE", f"/v2/{WEB}/blobs/{Digest.of(CONFIG)}")
    with database.read() as tx:
        entries = list(Audit(database).entries(tx))
        Audit(database).verify(tx)
    assert [(entry.actor, entry.action, entry.subject, entry.digest) for entry in entries] == [
        ("alice", "tag.delete", f"{WEB}:2", Digest.of(raw)),
        ("root", "manifest.delete", WEB, Digest.of(raw)),
        ("alice", "blob.delete", WEB, Digest.of(CONFIG)),
    ]
    assert entries[1].detail == {"tags": ["1"]}


def test_twenty_pushes_of_one_image_at_once_all_end_well(hub: Client, service: RegistryService) -> None:
    done: list[bytes] = []

    def push() -> None:
        own = Client(hub.port)
        done.append(own.push_image(WEB, "1", LARGE[:200_000]))
        own.close()

    pushers = [threading.Thread(target=push) for _ in range(20)]
    for pusher in pushers:
        pusher.start()
    for pusher in pushers:
        pusher.join()
    assert len(done) == 20
    assert json.loads(hub("GET", f"/v2/{WEB}/manifests/1").body) == json.loads(done[0])
    assert list(service.breaches(rehash=True)) == []


def test_a_manifest_is_pushed_by_digest_under_several_tags_at_once(hub: Client) -> None:
    hub.push_image(WEB, "old")
    raw = image(annotations={"a": "1"})
    digest = Digest.of(raw, "sha512")
    put = hub.push_manifest(WEB, f"{digest}?tag=1&tag=1.0&tag=1", raw)
    assert (put.status, put.headers["oci-tag"]) == (201, "1, 1.0")
    for name in ("1", "1.0"):
        assert hub("HEAD", f"/v2/{WEB}/manifests/{name}").headers["docker-content-digest"] == str(digest)
    refused = hub.push_manifest(WEB, f"{digest}?tag=2&tag=-bad", raw)
    assert refused.codes == ["TAG_INVALID"]
    assert hub("GET", f"/v2/{WEB}/tags/list").json["tags"] == ["1", "1.0", "old"]


@pytest.mark.parametrize("media_type", [m.OCI_FOREIGN_LAYER, m.DOCKER_FOREIGN_LAYER])
def test_a_layer_that_is_kept_elsewhere_may_be_absent_and_stays_if_it_is_here(
    hub: Client, service: RegistryService, clock: Clock, media_type: str
) -> None:
    foreign = image(b"far", layers=[descriptor(b"far", media_type, urls=["https://cdn.example/far"])])
    hub.push_blob(WEB, CONFIG)
    assert hub.push_manifest(WEB, "1", foreign).status == 201
    far = hub.push_blob(WEB, b"far")
    clock.advance(days=30)
    service.sweep(clock())
    assert hub("HEAD", f"/v2/{WEB}/blobs/{far}").status == 200
    assert list(service.breaches()) == []
    as_config = image(b"far", config=descriptor(b"other", media_type))
    assert hub.push_manifest(WEB, "2", as_config).codes == ["MANIFEST_BLOB_UNKNOWN"]


def test_a_query_of_very_many_parameters_is_refused(hub: Client) -> None:
    assert hub("GET", f"/v2/{WEB}/tags/list?{'n=1&' * 40}").status == 400
