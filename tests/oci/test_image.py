"""Loading images by digest: one platform, an index, and content behind links."""

from pathlib import Path

import pytest

from customhouse.errors import NotFound
from customhouse.oci.config import InvalidConfig
from customhouse.oci.digest import Digest
from customhouse.oci.image import Content, Image, NotAnImage, load_image, load_platforms
from customhouse.oci.manifest import InvalidManifest
from customhouse.oci.wants import Budget, Wants
from customhouse.testing.images import (
    BuiltImage,
    Hardlink,
    Symlink,
    image,
    index,
    layer,
    minimal_server_image,
    server_config,
    write_docker_save,
    write_oci_layout,
)

PASSWD = Wants(frozenset({"etc/passwd"}))


def load(built: BuiltImage, wants: Wants = PASSWD, budget: Budget | None = None) -> Image:
    return load_image(built.content, built.manifest_raw, wants, budget, media_type=built.media_type, tag="1")


@pytest.mark.parametrize("style", ["docker", "oci"])
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_an_image_is_read_whole(style: str, compression: str) -> None:
    built = minimal_server_image(style=style, compression=compression)  # type: ignore[arg-type]
    found = load(built)
    assert str(found.platform) == "linux/amd64" and found.complete and found.tag == "1"
    assert found.manifest_digest == built.digest and found.config_raw == built.config_raw
    assert [scan.diff_id for scan in found.layers] == list(found.config.diff_ids)
    assert found.fs.executable("/server")
    assert (found.fs.read("etc/passwd") or b"").startswith(b"root:")


def test_the_same_image_has_the_same_bytes_every_time() -> None:
    assert minimal_server_image().digest == minimal_server_image().digest


def test_each_platform_of_an_index_is_an_image() -> None:
    parts = [image([layer({"a": b"x"})], architecture=name, config=server_config()) for name in ("amd64", "arm64")]
    found = list(load_platforms(*opened(index(parts)), PASSWD))
    assert [str(one.platform) for one in found] == ["linux/amd64", "linux/arm64"]


def test_a_plain_manifest_is_an_index_of_one() -> None:
    assert len(list(load_platforms(*opened(minimal_server_image()), PASSWD))) == 1


def test_an_index_member_with_other_bytes_is_refused() -> None:
    part = minimal_server_image()
    whole = index([part])
    blobs = {**whole.blobs, part.digest: part.manifest_raw + b" "}
    spoilt = BuiltImage(whole.manifest_raw, whole.media_type, blobs)
    with pytest.raises(NotAnImage, match="not the content"):
        list(load_platforms(*opened(spoilt), PASSWD))


def test_an_artifact_is_no_image() -> None:
    built = image([layer({"a": b""})], style="oci")
    other = {"mediaType": "application/vnd.example.chart.v1+json", "size": 2, "digest": str(Digest.of(b"{}"))}
    built = image([layer({"a": b""})], style="oci", manifest_changes={"config": other})
    with pytest.raises(NotAnImage, match="chart"):
        load(built)
    with pytest.raises(NotAnImage, match="index"):
        load(index([minimal_server_image()]))


def test_what_cannot_be_read_is_refused_with_its_reason() -> None:
    with pytest.raises(InvalidManifest):
        load_image(minimal_server_image().content, b"{}", PASSWD)
    with pytest.raises(InvalidConfig):
        load(image([layer({"a": b""})], config_changes={"config": 7}))
    built = minimal_server_image()
    with pytest.raises(NotFound):
        load(BuiltImage(built.manifest_raw, built.media_type, {}))


def test_a_foreign_layer_is_not_fetched() -> None:
    urls = {**layer({"a": b""}).descriptor("docker"), "urls": ["https://elsewhere.example/layer"]}
    found = load(image([layer({"a": b""})], manifest_changes={"layers": [urls]}))
    assert not found.complete and found.layers[0].computed is None


def test_a_wanted_file_is_found_behind_links_of_every_kind() -> None:
    text = b"root:x:0:0\n"
    for tree in (
        {"opt/users": text, "etc/passwd": Symlink("/opt/users")},
        {"opt/users": text, "etc/passwd": Hardlink("opt/users")},
        {"opt/etc/passwd": text, "etc": Symlink("opt/etc")},
    ):
        found = load(minimal_image(tree))
        assert found.fs.read("etc/passwd") == text, tree
    two = image([layer({"opt/users": text}), layer({"etc/passwd": Symlink("../opt/users")})])
    assert load(two).fs.read("/etc/passwd") == text


def test_the_budget_is_that_of_the_whole_image() -> None:
    layers = [layer({f"{n}/{m}": b"" for m in range(40)}) for n in range(4)]
    found = load(image(layers), budget=Budget(entries=100))
    assert [scan.complete for scan in found.layers] == [True, True, False, False]


def test_an_image_is_written_as_layout_and_as_archive(tmp_path: Path) -> None:
    built = minimal_server_image(style="oci")
    folder = write_oci_layout(built, tmp_path / "layout", tag="1")
    assert (folder / "blobs" / "sha256" / built.digest.hex).read_bytes() == built.manifest_raw
    assert str(built.digest) in (folder / "index.json").read_text()
    assert write_docker_save(built, tmp_path / "web.tar").stat().st_size > len(built.layers[0].tar)


def minimal_image(tree: dict[str, object]) -> BuiltImage:
    return image([layer(tree)], config=server_config())  # type: ignore[arg-type]


def opened(built: BuiltImage) -> tuple[Content, bytes]:
    return built.content, built.manifest_raw
