"""Manifests: one reading only, and a refusal for everything that two tools could read differently."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.oci import manifest as m
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import InvalidManifest, parse_manifest

CONFIG = {"mediaType": m.OCI_CONFIG, "digest": str(Digest.of(b"{}")), "size": 2}
LAYER = {"mediaType": m.OCI_LAYER_GZIP, "digest": str(Digest.of(b"layer")), "size": 5}


def image(**changes: Any) -> bytes:
    document = {"schemaVersion": 2, "mediaType": m.OCI_MANIFEST, "config": CONFIG, "layers": [LAYER], **changes}
    return json.dumps({key: value for key, value in document.items() if value is not ...}).encode()


def index(**changes: Any) -> bytes:
    child = {
        "mediaType": m.OCI_MANIFEST, "digest": str(Digest.of(image())), "size": len(image()),
        "platform": {"os": "linux", "architecture": "arm", "variant": "v7"},
    }  # fmt: skip
    return json.dumps({"schemaVersion": 2, "mediaType": m.OCI_INDEX, "manifests": [child], **changes}).encode()


def test_an_image_manifest_names_its_config_and_layers() -> None:
    parsed = parse_manifest(image(annotations={"a": "b"}), m.OCI_MANIFEST)
    assert parsed.kind == "image"
    assert [reference.digest for reference in parsed.references()] == [CONFIG["digest"], LAYER["digest"]]
    assert parsed.annotations == {"a": "b"}
    assert parsed.referrer_type == m.OCI_CONFIG


def test_an_index_names_its_manifests_and_their_platforms() -> None:
    parsed = parse_manifest(index(), None)
    assert parsed.kind == "index" and parsed.config is None
    assert [str(child.platform) for child in parsed.references()] == ["linux/arm/v7"]


def test_a_docker_manifest_and_list_are_read_the_same_way() -> None:
    assert parse_manifest(image(mediaType=m.DOCKER_MANIFEST), m.DOCKER_MANIFEST).kind == "image"
    assert parse_manifest(index(mediaType=m.DOCKER_LIST), m.DOCKER_LIST).kind == "index"


def test_an_oci_manifest_may_leave_its_media_type_out() -> None:
    assert parse_manifest(image(mediaType=...), None).media_type == m.OCI_MANIFEST
    assert parse_manifest(image(mediaType=...), m.OCI_MANIFEST).media_type == m.OCI_MANIFEST


def test_a_subject_is_read_and_not_needed() -> None:
    subject = {"mediaType": m.OCI_MANIFEST, "digest": str(Digest.of(b"s")), "size": 1}
    parsed = parse_manifest(image(subject=subject, artifactType="application/vnd.example+json"), None)
    assert parsed.subject is not None and parsed.subject.digest == Digest.of(b"s")
    assert parsed.subject not in parsed.references()
    assert parsed.referrer_type == "application/vnd.example+json"


def test_a_foreign_layer_is_known_as_foreign() -> None:
    assert parse_manifest(image(layers=[{**LAYER, "urls": ["https://cdn.example/l"]}]), None).layers[0].foreign
    assert parse_manifest(image(layers=[{**LAYER, "mediaType": m.DOCKER_FOREIGN_LAYER}]), None).layers[0].foreign
    assert not parse_manifest(image(), None).layers[0].foreign


BROKEN: dict[str, tuple[bytes, str | None]] = {
    "no JSON": (b"{", None),
    "not an object": (b"[]", None),
    "not UTF-8": (b'{"a":"\xff"}', None),
    "UTF-16": ('{"schemaVersion":2}'.encode("utf-16"), None),
    "a byte order mark": (b"\xef\xbb\xbf" + image(), None),
    "NaN": (image(size=float("nan")), None),
    "half a surrogate": (image(annotations={"a": "\ud800"}), None),
    "a NUL": (image(annotations={"a": "\x00"}), None),
    "deep nesting": (b'{"a":' * 100_000, None),
    "deep but whole": (b'{"a":' * 200 + b"1" + b"}" * 200, None),
    "a huge number": (b'{"schemaVersion":' + b"9" * 10_000 + b"}", None),
    "5 MiB": (image(annotations={"a": "x" * 5 * 1024 * 1024}), None),
    "the same key twice": (image()[:-1] + b',"layers":[]}', None),
    "the same key in another case": (image()[:-1] + b',"Layers":[]}', None),
    "the same key with a long s": (image()[:-1] + ',"layerſ":[]}'.encode(), None),
    "a descriptor key in another case": (image(config={**CONFIG, "Digest": str(Digest.of(b"other"))}), None),
    "schema 1": (b'{"schemaVersion":1,"fsLayers":[]}', "application/vnd.docker.distribution.manifest.v1+json"),
    "no schemaVersion": (image(schemaVersion=...), None),
    "schemaVersion as text": (image(schemaVersion="2"), None),
    "schemaVersion as fraction": (image(schemaVersion=2.0), None),
    "layers in an index": (index(layers=[LAYER]), None),
    "manifests in an image": (image(manifests=[]), None),
    "an index sent as an image": (index(), m.OCI_MANIFEST),
    "an unknown type": (image(mediaType="application/json"), None),
    "a docker type that is only said outside": (image(mediaType=...), m.DOCKER_MANIFEST),
    "no config": (image(config=...), None),
    "no layers": (image(layers=...), None),
    "layers as an object": (image(layers={}), None),
    "a layer as a text": (image(layers=["x"]), None),
    "a negative size": (image(layers=[{**LAYER, "size": -1}]), None),
    "a size as text": (image(layers=[{**LAYER, "size": "5"}]), None),
    "a size as truth": (image(layers=[{**LAYER, "size": True}]), None),
    "a size beyond 63 bits": (image(layers=[{**LAYER, "size": 2**63}]), None),
    "no digest": (image(config={"mediaType": m.OCI_CONFIG, "size": 2}), None),
    "a digest as number": (image(config={**CONFIG, "digest": 5}), None),
    "an unknown digest": (image(config={**CONFIG, "digest": "md5:" + "0" * 32}), None),
    "no media type": (image(config={**CONFIG, "mediaType": ""}), None),
    "a media type with a line break": (image(config={**CONFIG, "mediaType": "a/b\r\nX: y"}), None),
    "annotations that are no texts": (image(annotations={"a": 1}), None),
    "urls that are no list": (image(layers=[{**LAYER, "urls": "x"}]), None),
    "embedded content of another digest": (
        image(config={**CONFIG, "data": base64.b64encode(b"[]").decode()}), None),
    "a platform that is a text": (index(manifests=[{**LAYER, "platform": "linux"}]), None),
    "too many layers": (image(layers=[LAYER] * 10_001), None),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_or_ambiguous_manifest_is_refused(case: str) -> None:
    raw, media_type = BROKEN[case]
    with pytest.raises(InvalidManifest) as refused:
        parse_manifest(raw, media_type)
    assert refused.value.message.startswith("the manifest ")


def test_embedded_content_of_the_right_digest_is_taken() -> None:
    assert parse_manifest(image(config={**CONFIG, "data": base64.b64encode(b"{}").decode()}), None).config


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["config", "layers", "subject", "annotations", "mediaType", "artifactType"]), json_values)
def test_no_value_in_any_place_makes_the_parser_fail_in_another_way(key: str, value: Any) -> None:
    try:
        parse_manifest(image(**{key: value}), None)
    except InvalidManifest:
        pass
