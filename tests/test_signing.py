"""The vault and the signers that live somewhere."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from customhouse.errors import Invalid
from customhouse.keyfiles import KeyFile, WrongPassphrase
from customhouse.keys import PrivateKey
from customhouse.signing import SealBroken, SealedSigner, UnknownSigner, Vault, save_key_file, signer_for
from customhouse.trust.certificates import root_certificate

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_what_is_sealed_opens_only_as_it_was_sealed() -> None:
    vault = Vault(b"m" * 32)
    sealed = vault.seal(b"secret", "key:a")
    assert vault.unseal(sealed, "key:a") == b"secret"
    assert Vault(b"m" * 32).unseal(sealed, "key:a") == b"secret"
    assert vault.seal(b"secret", "key:a") != sealed
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for where, what, context in (
        (vault, sealed, "key:b"), (Vault(b"n" * 32), sealed, "key:a"), (vault, changed, "key:a"),
        (vault, b"", "key:a"), (vault, b"\x02" + sealed[1:], "key:a"),
    ):  # fmt: skip
        with pytest.raises(SealBroken) as refused:
            where.unseal(what, context)
        assert "secret'" not in str(refused.value)


def test_a_short_master_secret_is_refused() -> None:
    with pytest.raises(Invalid, match="shorter than 32 bytes"):
        Vault(b"short")


def test_a_sealed_key_signs_and_shows_nothing() -> None:
    vault, key = Vault(b"m" * 32), PrivateKey.generate()
    certified = key.with_certificate(root_certificate(key, "localhost/a", NOW))
    for each in (key, certified):
        signer = SealedSigner.create(vault, each, "key:a")
        made = signer.sign(b"payload")
        assert made.key_id == each.public.key_id
        assert each.public.verify(b"payload", made.method, made.value)
        assert "sealed" not in repr(signer)
        with pytest.raises(SealBroken):
            SealedSigner(vault, signer.public, signer.sealed, "key:b").sign(b"payload")


def test_a_key_file_is_a_signer(tmp_path: Path) -> None:
    key = PrivateKey.generate()
    path, certificate = tmp_path / "root key", tmp_path / "root.pem"
    save_key_file(path, KeyFile(key, "root"), b"passphrase")
    certificate.write_bytes(root_certificate(key, "localhost/a", NOW))
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".new")] == []
    asked: list[str] = []

    def passphrase(uri: str) -> bytes:
        asked.append(uri)
        return b"passphrase"

    uri = f"file:{tmp_path}/root%20key"
    assert signer_for(uri, passphrase).public == key.public
    assert signer_for(f"{uri}?certificate={certificate}", passphrase).public.keytype == "ecdsa-x509"
    assert asked[0] == uri
    with pytest.raises(WrongPassphrase):
        signer_for(uri, lambda _: b"wrong")


def test_a_key_file_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "key"
    save_key_file(path, KeyFile(PrivateKey.generate()), b"passphrase")
    before = path.read_bytes()
    with pytest.raises(Invalid, match="already a key"):
        save_key_file(path, KeyFile(PrivateKey.generate()), b"passphrase")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("uri", ["file:/nowhere/key", "awskms:alias/a", "file://host/key", "/plain/path", ""])
def test_a_key_that_cannot_be_reached_is_named(uri: str) -> None:
    with pytest.raises(UnknownSigner) as refused:
        signer_for(uri, lambda _: b"secret passphrase")
    assert refused.value.uri == uri
    assert "passphrase" not in str(refused.value)
