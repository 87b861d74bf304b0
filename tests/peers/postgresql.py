"""A private PostgreSQL for the tests: its own cluster, a free loopback port, stopped by process id."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

LARGE = 512 * 1024  # bytes of a table that is made anew: what is deleted slows down who comes after, until a vacuum


def free_port() -> int:
    """A loopback port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find(program: str) -> str | None:
    """Debian keeps initdb and postgres out of PATH, one folder a version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return str(found[-1]) if found else shutil.which(program)


class PostgreSQL:
    """One running cluster; `url(name)` makes an empty database of its own. Tests need none that is durable."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        initdb, postgres = find("initdb"), find("postgres")
        assert initdb and postgres, "PostgreSQL is not installed: apt-get install postgresql"
        self.port = free_port()
        self.data = folder / "pgdata"
        # PostgreSQL refuses to run as root: root's tests run it as the account that Debian's package made.
        self._account = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        folder.mkdir(parents=True, exist_ok=True)
        if self._account:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)
            for parent in folder.parents:
                if parent.stat().st_uid == 0 and str(parent) not in ("/", "/tmp"):
                    parent.chmod(parent.stat().st_mode | 0o111)
        self._run([initdb, "-D", str(self.data), "-U", "customhouse", "-A", "trust", "-E", "UTF8", "--no-sync"])
        self.log = folder / "postgresql.log"
        self._command = [
            postgres, "-D", str(self.data), "-h", "127.0.0.1", "-p", str(self.port), "-k", "",
            "-c", f"fsync={'on' if durable else 'off'}", "-c", "max_connections=300", "-c", "shared_buffers=64MB",
        ]  # fmt: skip
        self._count = 0
        self._shared: str | None = None
        self.start()

    def start(self) -> None:
        """Once more after `stop`."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, cwd=self.log.parent, **self._as_account()
            )
        self._wait()

    def url(self) -> str:
        """The URL of a new, empty database."""
        import psycopg

        self._count += 1
        name = f"hub{os.getpid()}_{self._count}"
        server = f"host=127.0.0.1 port={self.port} user=customhouse dbname=postgres"
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql+psycopg://customhouse@127.0.0.1:{self.port}/{name}"

    def emptied(self) -> str:
        """The URL of the one database that the tests have in turn: its tables stay, its rows are gone.

        Making a database and its tables takes a quarter of a second, emptying them a few milliseconds.
        """
        import psycopg

        if self._shared is None:
            self._shared = self.url()
        with psycopg.connect(self._shared.replace("+psycopg", ""), autocommit=True) as admin:
            # What an earlier test left running would wait for our locks, or we for its.
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            sizes = admin.execute(
                "SELECT relname, pg_total_relation_size(oid) FROM pg_class"
                " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            ).fetchall()
            counters = admin.execute(
                "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL"
            ).fetchall()
            large = ", ".join(f'"{name}"' for name, size in sizes if size > LARGE)
            done = ["SET session_replication_role = replica"]  # foreign keys are not looked at: every row goes
            done += [f"TRUNCATE {large} CASCADE"] if large else []
            done += [f'DELETE FROM "{name}"' for name, _ in sizes]
            done += [f"SELECT setval('\"{name}\"', 1, false)" for (name,) in counters]
            admin.execute("; ".join(done))
        return self._shared

    def stop(self) -> None:
        """Clients are cut off, what they had begun is undone."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=20)

    def _wait(self) -> None:
        import psycopg

        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(f"host=127.0.0.1 port={self.port} user=customhouse dbname=postgres").close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None and time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.1)

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", **self._as_account())
        assert done.returncode == 0, done.stderr

    def _as_account(self) -> dict[str, object]:
        return {"user": self._account.pw_uid, "group": self._account.pw_gid} if self._account else {}
