import hashlib
import io
import json
import tarfile
from dataclasses import replace

import pytest
import zstandard

from customhouse.oci.digest import Digest
from customhouse.sandbox.archive import DamagedImage, UnreadableImage, docker_archive
from customhouse.sandbox.runner import ImageLayer, ImageSource
from tests.sandbox.boxes import box, layer_tar

MIB = 1024 * 1024


def read(source: ImageSource, most: int = 64 * MIB) -> dict[str, bytes]:
    whole = b"".join(docker_archive(source, "customhouse-run/x:1", most))
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("sized", [True, False])
def test_the_archive_holds_the_config_unchanged_and_the_layers_plain(compressed, sized):
    made = box(["sh"], compressed=compressed, sized=sized, busybox=False)
    members = read(made.source())
    listing = json.loads(members["manifest.json"])[0]
    assert listing["RepoTags"] == ["customhouse-run/x:1"]
    assert members[listing["Config"]] == made.config
    assert listing["Config"] == hashlib.sha256(made.config).hexdigest() + ".json"
    assert members[listing["Layers"][0]] == layer_tar(busybox=False)


def test_a_zstd_layer_is_decompressed_too():
    plain = layer_tar(busybox=False)
    stored = zstandard.compress(plain)
    layer = ImageLayer(Digest.of(stored), len(stored), Digest.of(plain))
    source = ImageSource("s", b"{}", (layer,), lambda digest: io.BytesIO(stored))
    assert read(source)["000/layer.tar"] == plain


def test_a_layer_whose_bytes_are_others_breaks_the_stream():
    made = box(["sh"], busybox=False)
    other = box(["sh"], files={"etc/other": "x"}, busybox=False)
    source = replace(made.source(), content=lambda digest: io.BytesIO(next(iter(other.blobs.values()))))
    with pytest.raises(DamagedImage):
        read(source)


def test_same_sized_other_bytes_break_the_stream_as_well():
    made = box(["sh"], files={"etc/x": "a"}, compressed=False, busybox=False)
    stored = next(iter(made.blobs.values())).replace(b"it works", b"it wOrks")
    source = replace(made.source(), content=lambda digest: io.BytesIO(stored))
    with pytest.raises(DamagedImage, match="not the content that the config names"):
        read(source)


def test_a_truncated_layer_breaks_the_stream():
    made = box(["sh"], busybox=False)
    source = replace(made.source(), content=lambda digest: io.BytesIO(made.blobs[digest][:-20]))
    with pytest.raises(DamagedImage):
        read(source)


@pytest.mark.parametrize("sized", [True, False])
def test_an_image_beyond_the_budget_is_not_sent(sized):
    with pytest.raises(UnreadableImage):
        read(box(["sh"], sized=sized, busybox=False).source(), most=4096)


@pytest.mark.parametrize("sized", [True, False])
def test_a_store_that_does_not_answer_is_no_fault_of_the_image(sized):
    def missing(digest):
        raise FileNotFoundError(digest)

    with pytest.raises(UnreadableImage):
        read(replace(box(["sh"], sized=sized, busybox=False).source(), content=missing))
