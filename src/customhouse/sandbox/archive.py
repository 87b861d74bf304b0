"""An examined image as the tar that `images/load` takes, made while it is sent.

1. The config is the publisher's bytes, so the engine's image id is their sha256; layers are decompressed to plain
   tar and hashed on the way: what the engine gets is what was verified, or the stream breaks off.
2. Nothing is spooled to disk or held in memory beyond a chunk. A tar names sizes before bytes, so a layer whose
   decompressed size is not known is read twice.
3. Bytes are bounded by a budget over the whole image.

(Docker image specification v1.2, "Combined Image JSON + Filesystem Changeset Format".)
"""

import json
import tarfile
from collections.abc import Iterator
from contextlib import closing

from customhouse.errors import CustomhouseError
from customhouse.oci.compression import Damaged, Decompressed, Overrun
from customhouse.oci.digest import Digest
from customhouse.oci.wants import Budget
from customhouse.sandbox.runner import ImageLayer, ImageSource

CHUNK = 1024 * 1024
BLOCK = tarfile.BLOCKSIZE


class DamagedImage(CustomhouseError):
    """The bytes are not the ones that manifest and config name: nothing of this image may run."""


class UnreadableImage(CustomhouseError):
    """The bytes could not be read, or are more than the budget: nothing is known about the image."""


def docker_archive(image: ImageSource, name: str, most_bytes: int) -> Iterator[bytes]:
    """The chunks of the archive. `name` is the "repository:tag" under which the engine will list the image.

    Raises DamagedImage or UnreadableImage, also in the middle of the stream.
    """
    sizes = []
    left = most_bytes
    for layer in image.layers:
        size = _count(image, layer, left) if layer.size is None else layer.size
        left -= size
        if left < 0:
            raise UnreadableImage(f"the image unpacks to more than {most_bytes} bytes")
        sizes.append(size)
    config_name = f"{Digest.of(image.config).hex}.json"
    layer_names = [f"{number:03d}/layer.tar" for number in range(len(image.layers))]
    listing = [{"Config": config_name, "RepoTags": [name], "Layers": layer_names}]
    yield from _member(config_name, image.config)
    yield from _member("manifest.json", json.dumps(listing).encode())
    for layer, layer_name, size in zip(image.layers, layer_names, sizes, strict=True):
        yield _header(layer_name, size)
        yield from _plain(image, layer, size)
        yield _padding(size)
    yield b"\0" * (2 * BLOCK)


def _plain(image: ImageSource, layer: ImageLayer, size: int) -> Iterator[bytes]:
    """The decompressed layer: exactly `size` bytes whose digest is the diff_id."""
    try:
        with closing(image.content(layer.digest)) as blob:
            source = Decompressed(blob, layer.digest, layer.stored_size, _budget(size))
            while chunk := source.take(CHUNK):
                yield chunk
            if source.produced != size or source.finish() != layer.diff_id:
                raise DamagedImage(f"layer {layer.digest} is not the content that the config names")
    except (Damaged, Overrun) as error:
        raise DamagedImage(f"layer {layer.digest}: {error}") from error
    except OSError as error:
        raise UnreadableImage(f"layer {layer.digest} could not be read: {error}") from error


def _count(image: ImageSource, layer: ImageLayer, most: int) -> int:
    try:
        with closing(image.content(layer.digest)) as blob:
            source = Decompressed(blob, layer.digest, layer.stored_size, _budget(most))
            source.finish()
            return source.produced
    except Overrun as error:
        raise UnreadableImage(f"layer {layer.digest}: {error}") from error
    except Damaged as error:
        raise DamagedImage(f"layer {layer.digest}: {error}") from error
    except OSError as error:
        raise UnreadableImage(f"layer {layer.digest} could not be read: {error}") from error


def _budget(most: int) -> Budget:
    # The ratio was judged when the layer was examined; here only the bytes count.
    return Budget(unpacked=max(most, 1), ratio=most + 1)


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield _header(name, len(content))
    yield content
    yield _padding(len(content))


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return b"\0" * (-size % BLOCK)
