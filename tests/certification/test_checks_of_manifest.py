"""MAN-*: what the manifest and index promise is what is there."""

import json
from typing import Any

import pytest

from customhouse.certification.checks import man_digest, man_layers, man_media, man_platform, man_size, man_tag
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import DOCKER_FOREIGN_LAYER, OCI_LAYER, OCI_LAYER_ZSTD
from customhouse.oci.wants import Budget
from customhouse.testing.images import (
    BuiltImage,
    File,
    Layer,
    image,
    index,
    layer,
    minimal_server_image,
    server_config,
    tar_of,
)

from .subjects import failed, findings, outcomes

TREE = {"a": b"content"}


def with_blobs(built: BuiltImage, changed: dict[Digest, bytes]) -> BuiltImage:
    return BuiltImage(built.manifest_raw, built.media_type, {**built.blobs, **changed}, built.config_raw, built.layers)


# ---- MAN-DIGEST


@pytest.mark.parametrize("style", ["docker", "oci"])
def test_a_good_image_matches_its_digests(style: str) -> None:
    assert outcomes(findings(man_digest.CHECK, minimal_server_image(style=style))) == {"pass"}  # type: ignore[arg-type]


def test_an_exchanged_layer_is_named_with_both_digests() -> None:
    built = image([layer(TREE)])
    digest = Digest.of(built.layers[0].blob)
    other = layer({"a": b"CONTENT, but longer"}).blob
    found = failed(findings(man_digest.CHECK, with_blobs(built, {digest: other})))
    assert found[0].evidence["layer"] == str(digest)


def test_same_size_other_bytes_are_told_by_digest_and_diff_id() -> None:
    tar, other = tar_of(TREE), tar_of({"a": b"CONTENT"})
    built = image([Layer(tar, "none")])
    found = failed(findings(man_digest.CHECK, with_blobs(built, {Digest.of(tar): other})))
    assert {item.evidence["key"] for item in found} == {"digest:0", "diff_id:0"}


def test_a_wrong_diff_id_and_a_missing_one_are_failures() -> None:
    rootfs: dict[str, Any] = {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}
    (found,) = failed(findings(man_digest.CHECK, image([layer(TREE)], config_changes={"rootfs": rootfs})))
    assert found.evidence["key"] == "diff_id:0" and found.evidence["expected"] == "sha256:" + "0" * 64
    rootfs = {"type": "layers", "diff_ids": []}
    (found,) = failed(findings(man_digest.CHECK, image([layer(TREE)], config_changes={"rootfs": rootfs})))
    assert found.evidence["key"] == "layers"


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_a_truncated_layer_is_a_failure_not_an_exception(compression: str) -> None:
    whole = layer({"f": bytes(range(256)) * 50}, compression=compression)  # type: ignore[arg-type]
    cut = Layer(whole.tar, whole.compression, stored=whole.blob[:-600 if compression == "none" else -9])
    built = image([cut])
    if compression == "none":
        cut = Layer(whole.tar, "none", stored=whole.blob[:1800])
        built = image([cut])
    found = failed(findings(man_digest.CHECK, built))
    assert [item.evidence["key"] for item in found] == ["damage:0"]


def test_a_size_that_is_not_the_declared_one_is_a_failure() -> None:
    descriptor = {**layer(TREE).descriptor("docker"), "size": 10}
    found = failed(findings(man_digest.CHECK, image([layer(TREE)], manifest_changes={"layers": [descriptor]})))
    assert "size:0" in {item.evidence["key"] for item in found}


def test_a_config_with_other_bytes_is_a_failure() -> None:
    built = minimal_server_image()
    changed = built.config_raw.replace(b"10001:10001", b"10002:10002")
    found = failed(findings(man_digest.CHECK, with_blobs(built, {Digest.of(built.config_raw): changed})))
    assert [item.evidence["key"] for item in found] == ["config"]


def test_a_layer_beyond_its_budget_is_not_evaluable() -> None:
    built = image([layer({"zeros": bytes(1 << 20)}, compression="none")])
    found = findings(man_digest.CHECK, built, budget=Budget(unpacked=1 << 18))
    assert outcomes(found) == {"not_evaluable"}


# ---- MAN-MEDIA


@pytest.mark.parametrize(("style", "compression"), [("docker", "gzip"), ("oci", "zstd"), ("oci", "none")])
def test_usual_media_types_pass(style: str, compression: str) -> None:
    built = minimal_server_image(style=style, compression=compression)  # type: ignore[arg-type]
    assert outcomes(findings(man_media.CHECK, built)) == {"pass"}


def test_foreign_layers_urls_and_unknown_types_are_failures() -> None:
    good = layer(TREE).descriptor("docker")
    for change, key in (
        ({"urls": ["https://elsewhere.example/x"]}, "foreign:layer:0"),
        ({"mediaType": DOCKER_FOREIGN_LAYER}, "foreign:layer:0"),
        ({"mediaType": "application/vnd.example.disk"}, "type:0"),
    ):
        built = image([layer(TREE)], manifest_changes={"layers": [{**good, **change}]})
        (found,) = failed(findings(man_media.CHECK, built))
        assert found.evidence["key"] == key


@pytest.mark.parametrize("media_type", [OCI_LAYER, OCI_LAYER_ZSTD])
def test_a_type_that_names_another_compression_is_a_failure(media_type: str) -> None:
    built = image([Layer(tar_of(TREE), "gzip", media_type=media_type)], style="oci")
    (found,) = failed(findings(man_media.CHECK, built))
    assert found.evidence["found"] == "gzip"


# ---- MAN-PLATFORM


def test_a_platform_that_the_index_names_passes() -> None:
    parts = [image([layer(TREE)], architecture="amd64"), image([layer(TREE)], architecture="arm64", variant="v8")]
    listing = index(parts, platforms=["linux/amd64", "linux/arm64"])
    for part in parts:
        assert outcomes(findings(man_platform.CHECK, part, index=listing)) == {"pass"}
    assert outcomes(findings(man_platform.CHECK, parts[0])) == {"pass"}


@pytest.mark.parametrize(
    ("platforms", "key"),
    [(["linux/arm64"], "platform"), ([None], "platform"), (["linux/amd64/v3"], "platform")],
)
def test_another_platform_in_the_index_is_a_failure(platforms: list[str | None], key: str) -> None:
    part = image([layer(TREE)])
    found = failed(findings(man_platform.CHECK, part, index=index([part], platforms=platforms)))
    assert [item.evidence["key"] for item in found] == [key]


def test_two_images_for_one_platform_and_an_index_without_it_are_failures() -> None:
    one, two = image([layer(TREE)]), image([layer({"b": b""})])
    for listing, key in ((index([one, two]), "twice"), (index([two]), "index")):
        (found,) = failed(findings(man_platform.CHECK, one, index=listing))
        assert found.evidence["key"] == key


def test_unknown_platforms_are_failures() -> None:
    built = image([layer(TREE)], architecture="z80", config_changes={"os": ""})
    assert {item.evidence["key"] for item in failed(findings(man_platform.CHECK, built))} == {"os", "architecture"}


# ---- MAN-LAYERS, MAN-SIZE, MAN-TAG


def test_forty_layers_pass_and_forty_one_do_not() -> None:
    many = [layer({f"f{n}": b""}) for n in range(41)]
    assert outcomes(findings(man_layers.CHECK, image(many[:40]))) == {"pass"}
    (found,) = failed(findings(man_layers.CHECK, image(many)))
    assert found.evidence["value"] == 41
    assert failed(findings(man_layers.CHECK, image(many[:3]), params={"most": 2}))


def test_size_is_judged_by_the_class_of_the_image() -> None:
    small = {"static_compressed_mb": 0.001, "static_unpacked_mb": 0.02}
    built = image([layer({"app": File(bytes(30_000), mode=0o755)})])
    (found,) = failed(findings(man_size.CHECK, built, params=small))
    assert found.evidence["key"] == "unpacked" and found.evidence["class"] == "static"
    with_shell = image([layer({"app": bytes(30_000), "bin/sh": File(b"#!", mode=0o755)})])
    assert outcomes(findings(man_size.CHECK, with_shell, params=small)) == {"pass"}
    assert failed(findings(man_size.CHECK, with_shell, params={**small, "class": "static"}))
    assert outcomes(findings(man_size.CHECK, built, params={"class": "huge"})) == {"not_evaluable"}
    assert outcomes(findings(man_size.CHECK, minimal_server_image())) == {"pass"}


@pytest.mark.parametrize("tag", ["1", "v1.2", "1.2.3", "1.2.3-alpine3.20", "3.20_r1", "20260101", "1.0.0-rc.1"])
def test_tags_that_name_a_version_pass(tag: str) -> None:
    assert outcomes(findings(man_tag.CHECK, minimal_server_image(), tag=tag)) == {"pass"}


@pytest.mark.parametrize("tag", ["latest", "Latest", "stable", "main", "bookworm", "web", "prod-1"])
def test_tags_that_move_do_not(tag: str) -> None:
    (found,) = failed(findings(man_tag.CHECK, minimal_server_image(), tag=tag))
    assert found.evidence["value"] == tag


def test_an_image_named_by_digest_has_no_tag_to_judge() -> None:
    assert outcomes(findings(man_tag.CHECK, minimal_server_image(), tag="")) == {"not_applicable"}


def test_evidence_is_json() -> None:
    for built in (image([layer({"dev/x": b""})], architecture="z80"), minimal_server_image()):
        for check in (man_digest, man_media, man_platform, man_layers, man_size, man_tag):
            json.dumps([item.as_json() for item in findings(check.CHECK, built, tag="latest")])


def test_server_config_is_what_the_server_image_says() -> None:
    assert json.loads(minimal_server_image().config_raw)["config"] == server_config()
