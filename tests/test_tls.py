"""The local authority and its server certificate, judged by ssl and by openssl."""

import socket
import ssl
import subprocess
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from customhouse import tls

NAMES = ["localhost", "hub.example", "127.0.0.1", "::1"]


def handshake(made: tls.Certificates, name: str, *, authority: Path | None = None) -> None:
    """Both sides in this process, over a socket pair."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.chain, made.key)
    client = ssl.create_default_context(cafile=authority or made.authority)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(ours, server_side=True) as connection:
                connection.recv(1)
        except (ssl.SSLError, OSError):
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(theirs, server_hostname=name) as connection:
            connection.send(b"x")
    finally:
        theirs.close()
        thread.join(10)


@pytest.fixture
def moment() -> datetime:
    """Other libraries read the machine's own clock."""
    from customhouse.settings import system_clock

    return system_clock()


@pytest.mark.parametrize("host", NAMES)
def test_clients_who_trust_the_authority_connect_to_every_name(tmp_path: Path, host: str, moment: datetime) -> None:
    made = tls.ensure(tmp_path / "tls", host, moment)
    for name in {host, "localhost", "127.0.0.1", "::1"}:
        handshake(made, name)


def test_another_name_another_authority_and_no_authority_are_refused(tmp_path: Path, moment: datetime) -> None:
    made, other = (tls.ensure(tmp_path / name, "hub.example", moment) for name in "ab")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(made, "elsewhere.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made, "hub.example", authority=other.authority)


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("host", NAMES)
def test_openssl_finds_the_chain_strictly_right(tmp_path: Path, host: str, moment: datetime) -> None:
    made = tls.ensure(tmp_path, host, moment)
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(made.authority), str(made.chain)],
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.needs("openssl")
def test_the_authority_opens_no_other_door(tmp_path: Path, moment: datetime) -> None:
    """A certificate for another host, signed with its stolen key, is refused by its name constraints."""
    tls.ensure(tmp_path / "ours", "hub.example", moment)
    for name in ("ca.crt", "ca.key"):
        (tmp_path / "stolen").mkdir(exist_ok=True)
        (tmp_path / "stolen" / name).write_bytes((tmp_path / "ours" / name).read_bytes())
    forged = tls.ensure(tmp_path / "stolen", "bank.example", moment)
    done = subprocess.run(
        ["openssl", "verify", "-CAfile", str(forged.authority), str(forged.chain)], capture_output=True, text=True
    )
    assert done.returncode != 0 and "permitted subtree violation" in done.stderr
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(forged, "bank.example")


def test_keys_are_for_the_owner_only(tmp_path: Path, now: datetime) -> None:
    made = tls.ensure(tmp_path / "tls", "localhost", now)
    assert made.authority is not None
    assert {made.key.stat().st_mode & 0o777, (tmp_path / "tls" / "ca.key").stat().st_mode & 0o777} == {0o600}
    assert made.authority.stat().st_mode & 0o777 == 0o644
    assert not list((tmp_path / "tls").glob("*.new"))


def contents(made: tls.Certificates) -> list[bytes]:
    assert made.authority is not None
    return [path.read_bytes() for path in (made.authority, made.chain, made.key)]


def test_a_second_start_changes_nothing_and_the_last_month_renews_the_server_only(
    tmp_path: Path, now: datetime
) -> None:
    first = contents(tls.ensure(tmp_path, "localhost", now))
    assert contents(tls.ensure(tmp_path, "localhost", now + timedelta(days=366))) == first
    later = contents(tls.ensure(tmp_path, "localhost", now + timedelta(days=368)))
    assert later[0] == first[0] and later[1] != first[1] and later[2] != first[2]


def test_nothing_outlives_the_authority(tmp_path: Path, now: datetime) -> None:
    tls.ensure(tmp_path, "localhost", now)
    late = tls.ensure(tmp_path, "localhost", now + timedelta(days=3600))
    assert late.authority is not None
    [server], [authority] = (
        x509.load_pem_x509_certificates(file.read_bytes()) for file in (late.chain, late.authority)
    )
    assert server.not_valid_after_utc == authority.not_valid_after_utc


@pytest.mark.parametrize("lost", ["ca.crt", "ca.key", "server.crt", "server.key"])
def test_what_a_crash_left_out_is_made_and_fits_together(tmp_path: Path, lost: str, moment: datetime) -> None:
    tls.ensure(tmp_path, "localhost", moment)
    (tmp_path / lost).unlink()
    handshake(tls.ensure(tmp_path, "localhost", moment), "localhost")
