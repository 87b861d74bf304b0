"""Digests: only whole, lower-case, known ones can be built."""

import hashlib

import pytest

from customhouse.oci.digest import Digest, InvalidDigest


def test_a_digest_of_bytes_is_their_sha256() -> None:
    assert Digest.of(b"web") == "sha256:" + hashlib.sha256(b"web").hexdigest()


def test_a_sha512_digest_is_taken_and_hashes_with_its_own_algorithm() -> None:
    digest = Digest.of(b"web", "sha512")
    hasher = digest.hasher()
    hasher.update(b"web")
    assert (digest.algorithm, digest.hex) == ("sha512", hasher.hexdigest())


@pytest.mark.parametrize(
    "text",
    [
        "", "sha256", "sha256:", "sha256:" + "a" * 63, "sha256:" + "A" * 64, "sha256:" + "a" * 64 + "\n",
        "md5:" + "a" * 32, "sha512:" + "a" * 64, " sha256:" + "a" * 64, "sha256:" + "g" * 64, "sha256:../" + "a" * 61,
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidDigest):
        Digest.parse(text)


def test_a_number_is_not_a_digest() -> None:
    with pytest.raises(InvalidDigest):
        Digest.parse(5)  # type: ignore[arg-type]
