"""Debian's docker-registry and notary-server on free loopback ports, each stopped by the process id we started."""

import json
import socket
import subprocess
import time
from pathlib import Path

from tests.peers.certificates import LoopbackCertificate
from tests.peers.postgresql import free_port


class Peer:
    """One running server; `host` is `localhost:PORT`."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.port, self.host, self.log = port, f"localhost:{port}", log
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, cwd=log.parent)
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            assert self._process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)


def docker_registry(folder: Path, extra: str = "", *, port: int = 0, delete: bool = True) -> Peer:
    """Plain HTTP, files in the folder; `extra` is more YAML of its configuration."""
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "registry.yml"
    configuration.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {folder / 'content'}}}\n"
        f"  delete: {{enabled: {str(delete).lower()}}}\nhttp:\n  addr: 127.0.0.1:{port}\n{extra}"
    )
    return Peer(["docker-registry", "serve", str(configuration)], port, folder / "registry.log")


def notary_server(
    folder: Path, tls: LoopbackCertificate, *, prefix: str = "", database: str = "", port: int = 0
) -> Peer:
    """TLS, no authentication, keys in memory; metadata in memory, or in a PostgreSQL database (its URL).

    With a prefix only repositories below `localhost:PORT/PREFIX` are served.
    """
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    storage = {"backend": "memory"}
    if database:
        _make_tables(database)
        url = database.replace("postgresql+psycopg", "postgres") + "?sslmode=disable"
        storage = {"backend": "postgres", "db_url": url}
    settings: dict[str, object] = {
        "server": {"http_addr": f"127.0.0.1:{port}", "tls_cert_file": str(tls.certificate),
                   "tls_key_file": str(tls.key)},
        "trust_service": {"type": "local", "hostname": "", "port": "", "key_algorithm": "ecdsa"},
        "storage": storage, "logging": {"level": "error"},
    }
    if prefix:
        settings["repositories"] = {"gun_prefixes": [f"localhost:{port}/{prefix}"]}
    configuration = folder / "notary.json"
    configuration.write_text(json.dumps(settings))
    return Peer(["notary-server", "-config", str(configuration)], port, folder / "notary.log")


def _make_tables(database: str) -> None:
    """The tables that notary-server expects to find; its package brings none."""
    import psycopg

    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE tuf_files (id serial PRIMARY KEY, created_at timestamp, updated_at timestamp, "
            "deleted_at timestamp, gun varchar(255), role varchar(255), version integer, data bytea, sha256 char(64), "
            "UNIQUE (gun, role, version))"
        )
        connection.execute(
            "CREATE TABLE changefeed (id serial PRIMARY KEY, created_at timestamp DEFAULT now(), gun varchar(255), "
            "version integer, sha256 char(64), category varchar(20) DEFAULT 'update')"
        )
