"""The assembled server is a real program: it serves, its probe tells the truth, it stops when told to."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from customhouse.certification.program import read_elf
from customhouse.testing.server_program import server_program

RUNS_HERE = sys.platform == "linux" and os.uname().machine == "x86_64"


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port


def test_it_is_the_same_small_static_elf_every_time() -> None:
    program = server_program()
    assert program == server_program() and len(program) < 2048
    elf = read_elf(program)
    assert elf is not None and (elf.machine, elf.wide, elf.interpreter) == (62, True, "")


if RUNS_HERE:

    @pytest.fixture
    def program(tmp_path: Path) -> tuple[Path, int]:
        port = free_port()
        path = tmp_path / "server"
        path.write_bytes(server_program(port))
        path.chmod(0o755)
        return path, port

    @pytest.fixture
    def server(program: tuple[Path, int]) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen([program[0]], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"listening\n"
        yield process
        process.kill()
        process.wait()
        process.stdout.close()

    def probe(program: Path) -> int:
        return subprocess.run([program, "health"], timeout=10, check=False).returncode

    def test_it_answers_and_stops_on_sigterm(program: tuple[Path, int], server: subprocess.Popen[bytes]) -> None:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", program[1]), timeout=5) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = b"".join(iter(lambda: client.recv(4096), b""))
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.0 200 OK") and b"Content-Length: %d" % len(body) in head
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=5) == 0

    def test_the_probe_tells_a_stopped_server_from_a_running_one(
        program: tuple[Path, int], server: subprocess.Popen[bytes]
    ) -> None:
        assert probe(program[0]) == 0
        server.send_signal(signal.SIGSTOP)
        assert probe(program[0]) == 1
        server.send_signal(signal.SIGCONT)
        assert probe(program[0]) == 0
        server.terminate()
        server.wait(timeout=5)
        assert probe(program[0]) == 1

    def test_a_silent_client_does_not_hold_it(program: tuple[Path, int], server: subprocess.Popen[bytes]) -> None:
        with socket.create_connection(("127.0.0.1", program[1])):
            started = time.monotonic()
            while probe(program[0]) != 0:
                assert time.monotonic() - started < 10
