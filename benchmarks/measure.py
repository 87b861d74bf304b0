"""How things are measured and told: load by wrk, seconds, medians and ratios."""

import re
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import run

MB = 1_000_000
OF_BOTH = ("sha256 alone",)  # what is compared with both


@dataclass(frozen=True)
class Load:
    """What wrk reached: requests a second, and how many there were."""

    rate: float
    requests: int


def wrk(url: str, headers: dict[str, str], seconds: int, script: Path | None = None) -> Load:
    """GET over 32 connections by one thread, of what a script says if there is one; every answer must be a success."""
    sent = {**headers, "accept": "application/vnd.oci.image.manifest.v1+json"}
    words = [word for name, value in sent.items() for word in ("-H", f"{name}: {value}")]
    words += ["-s", str(script)] if script else []
    shown = run(["wrk", "-t1", "-c32", f"-d{seconds}s", *words, url])
    assert "Non-2xx" not in shown, shown
    rate = re.search(r"Requests/sec:\s+([\d.]+)", shown)[1]  # type: ignore[index]
    return Load(float(rate), int(re.search(r"(\d+) requests in", shown)[1]))  # type: ignore[index]


def connections(program: str, url: str, ca: Path, headers: dict[str, str], length: int, workers: int) -> Load:
    """GET over a new connection each time; `program` is connections.go, built."""
    token = headers.get("authorization", "")
    command = [program, "-url", url, "-ca", str(ca), "-authorization", token, "-length", f"{length}s"]
    requests = int(run([*command, "-workers", str(workers)]).split()[0])
    return Load(requests / length, requests)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def memory(pid: int) -> tuple[float, float]:
    """What a process holds now, and the most it held, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    now, most = (int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) for name in ("VmRSS", "VmHWM"))  # type: ignore[index]
    return now * 1024 / MB, most * 1024 / MB


def table(title: str, unit: str, found: dict[str, list[float]], notes: Iterable[tuple[str, str]] = ()) -> None:
    """One line for each server; the ratio is ours by that of the peer that speaks TLS, or not, as we do."""
    print(f"\n{title} ({unit}; median, min – max of {len(next(iter(found.values())))})")
    medians = {name: statistics.median(values) for name, values in found.items()}
    said = dict(notes)
    for name, values in found.items():
        line = f"  {name:20} {medians[name]:10.2f}   {min(values):10.2f} – {max(values):.2f}"
        suffix = " TLS" if name.endswith("TLS") else ""
        others = [other for other in medians if not other.startswith("customhouse")]
        for peer in others if name.startswith("customhouse") else []:
            if peer.endswith("TLS") == bool(suffix) or peer in OF_BOTH:
                line += f"   {medians[name] / medians[peer]:.2f}x {peer}"
        print(f"{line}   {said[name]}" if name in said else line, flush=True)
