"""A network of several machines inside this one: each has an address in a network namespace of its own, and is
gone with the process that made it. Needs root.
"""

import asyncio
import itertools
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

Address = tuple[str, int]
_made = itertools.count()


class Network:
    """`addresses[i]` is the i-th machine's, `prefix(i)` puts a command on it; they reach this one at `here`."""

    def __init__(self, machines: int) -> None:
        # 198.18.0.0/15 is for tests of networks (RFC 2544); two runs at a time have different ones.
        number_of_this = next(_made)
        net = f"198.{18 + number_of_this % 2}.{(os.getpid() + number_of_this // 2) % 256}"
        self.here = f"{net}.1"
        self.addresses = [f"{net}.{4 * number + 2}" for number in range(machines)]
        self._processes = [self._machine(number) for number in range(machines)]
        for number, process in enumerate(self._processes):
            outer, inner, gate = f"ch{os.getpid()}.{number_of_this}.{number}", "eth0", f"{net}.{4 * number + 1}"
            _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", str(process.pid))
            _ip("addr", "add", f"{gate}/30", "dev", outer)
            _ip("link", "set", outer, "up")
            on = self.prefix(number)
            _ip("addr", "add", f"{self.addresses[number]}/30", "dev", inner, on=on)
            for name in ("lo", inner):
                _ip("link", "set", name, "up", on=on)
            _ip("route", "add", "default", "via", gate, on=on)

    def prefix(self, number: int) -> Sequence[str]:
        return ("nsenter", f"--net=/proc/{self._processes[number].pid}/ns/net", "--")

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(timeout=10)

    def _machine(self, number: int) -> "subprocess.Popen[bytes]":
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
            assert process.poll() is None and time.monotonic() < deadline, "unshare --net does not work"
            time.sleep(0.02)
        return process


class Relay:
    """Passes each connection to another one of `targets`, as a load balancer does; those that do not listen are left
    out. `targets` may be changed."""

    def __init__(self, at: Address, *targets: Address) -> None:
        self.targets = list(targets)
        self._turn = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        begun = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._pass, *at), self._loop)
        self._server = begun.result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _end(self) -> None:
        self._server.close()
        open_now = asyncio.all_tasks() - {asyncio.current_task()}
        for task in open_now:
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(len(self.targets)):
            self._turn += 1
            try:
                to = await asyncio.open_connection(*self.targets[self._turn % len(self.targets)])
            except OSError:
                continue
            try:
                await asyncio.gather(_pump(reader, to[1]), _pump(to[0], writer))
            except asyncio.CancelledError:  # the relay is stopped
                pass
            to[1].close()
            break
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(256 * 1024):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


def _ip(*words: str, on: Sequence[str] = ()) -> None:
    done = subprocess.run([*on, "ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {words}: {done.stderr}"
