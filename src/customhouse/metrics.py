"""The hub's numbers in Prometheus' text form: what was counted in this process, and what the database says now.

1. Counting costs what a dictionary costs: doors count their answers by status, and nothing here is on their way. Bodies
   of blobs are not counted.
   Where several processes serve one address, all numbers are theirs together, whichever of them is asked.
2. Labels come from fixed lists; no name of a person, a publisher or a repository is told, because anybody may read it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from customhouse import __version__

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Numbers:
    """One look at a hub. Without its database there are no submissions and no timestamp to tell of."""

    answers: Mapping[str, Mapping[int, int]]
    pulls: Mapping[tuple[str, str], int]
    processes: Sequence[int]
    healthy: bool
    submissions: Mapping[str, int]
    first_timestamp_ends: datetime | None


def render(numbers: Numbers) -> bytes:
    """The text that Prometheus scrapes."""
    from prometheus_client import CollectorRegistry, generate_latest  # not before anybody asks

    registry = CollectorRegistry()
    registry.register(_Processes(numbers.processes))
    registry.register(_Collected(numbers))
    return generate_latest(registry)


class _Processes:
    """Memory, time and files of the processes, each as a sum; of the moment of their start the first."""

    def __init__(self, processes: Sequence[int]) -> None:
        self._processes = processes

    def collect(self) -> "Iterable[Metric]":
        from prometheus_client import ProcessCollector

        found: dict[str, Metric] = {}
        for process in self._processes:
            for metric in ProcessCollector(pid=lambda pid=process: pid, registry=None).collect():  # type: ignore[misc]
                if metric.name not in found:
                    found[metric.name] = metric
                    continue
                for index, sample in enumerate(metric.samples):
                    before = found[metric.name].samples[index]
                    both = (before.value, sample.value)
                    value = min(both) if metric.name == "process_start_time_seconds" else sum(both)
                    found[metric.name].samples[index] = before._replace(value=value)
        return found.values()


class _Collected:
    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def collect(self) -> "Iterable[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        found = self._numbers
        yield InfoMetricFamily("customhouse_build", "The program.", value={"version": __version__})
        answers = CounterMetricFamily(
            "customhouse_answers", "Whole answers of a door, by status; bodies of blobs are not among them.",
            labels=("door", "status"),
        )
        for door, statuses in sorted(found.answers.items()):
            for status, number in sorted(dict(statuses).items()):
                answers.add_metric((door, str(status)), number)
        yield answers
        pulls = CounterMetricFamily(
            "customhouse_clients", "Official tags asked for, by program, and whether it verifies signatures itself.",
            labels=("client", "verifies"),
        )
        for (client, verifies), number in sorted(dict(found.pulls).items()):
            pulls.add_metric((client, verifies), number)
        yield pulls
        yield GaugeMetricFamily("customhouse_database_up", "Does the database answer?", value=int(found.healthy))
        states = GaugeMetricFamily("customhouse_submissions", "Submissions by state.", labels=("state",))
        for state, number in found.submissions.items():
            states.add_metric((state,), number)
        yield states
        if found.first_timestamp_ends is not None:
            yield GaugeMetricFamily(
                "customhouse_first_timestamp_expiry_seconds",
                "Unix time at which the first signed timestamp of a repository ends, if it is not renewed.",
                value=found.first_timestamp_ends.timestamp(),
            )
