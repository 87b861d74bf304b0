"""Scenarios killed at their points, on a few hubs side by side.

1. Each scenario runs once undisturbed, and writes down which points it passes and how often.
2. For each point a scenario that passes it is killed there, started again, settled and checked. A hub lives on for
   the next kill, so each kill also meets what the ones before it left.
3. A hub on which a kill failed is thrown away.
"""

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Literal

from tests.journeys.faults.points import Point
from tests.journeys.faults.scenarios import Scenario
from tests.journeys.faults.site import Site

Depth = Literal["first", "ends", "all"]
UNSTEADY = ("db.commit", "db.committed")  # heartbeats pass them too, at moments of their own


@dataclass(frozen=True)
class Kill:
    """One scenario cut at one passage of one point."""

    scenario: type[Scenario]
    point: str
    passage: int

    def __str__(self) -> str:
        return f"{self.scenario.__name__} killed at {self.point}:{self.passage}"


class Matrix:
    """The kills of one suite on `hubs` hubs at once; `made` gives a new hub."""

    def __init__(self, scenarios: Sequence[type[Scenario]], made: Callable[[], Site], hubs: int) -> None:
        self._scenarios, self._made = scenarios, made
        self._idle: queue.SimpleQueue[Site | None] = queue.SimpleQueue()
        for _ in range(hubs):
            self._idle.put(None)
        self._pool = ThreadPoolExecutor(hubs)
        self._lock = Lock()
        self._done: dict[Kill, Future[None]] = {}
        self.sites: list[Site] = []
        traced = [(scenario, self._pool.submit(self._trace, scenario)) for scenario in scenarios]
        self.passages = {scenario: trace.result(timeout=170) for scenario, trace in traced}

    def names(self, point: Point) -> list[str]:
        """The names that the scenarios pass which this point of the source may have."""
        return sorted({name for passed in self.passages.values() for name in passed if point.matches(name)})

    def kills(self, point: Point, depth: Depth) -> list[Kill]:
        """For each name its first passage, or also its last, in the first scenario that passes it; or all of all."""
        found: list[Kill] = []
        for name in self.names(point):
            passing = [
                (scenario, min(passed[name], scenario.most))
                for scenario, passed in self.passages.items() if name in passed
            ]
            if depth == "all":
                found += [Kill(scenario, name, number + 1) for scenario, count in passing for number in range(count)]
                continue
            scenario, count = passing[0]
            last = max(1, count * 2 // 3) if name in UNSTEADY else count
            chosen = {1} if depth == "first" else {1, last}
            found += [Kill(scenario, name, number) for number in sorted(chosen)]
        return found

    def submit(self, kill: Kill) -> Future[None]:
        """Begin a kill, once."""
        with self._lock:
            if kill not in self._done:
                self._done[kill] = self._pool.submit(self._run, kill)
            return self._done[kill]

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for site in self.sites:
            site.close()

    def _trace(self, scenario: type[Scenario]) -> dict[str, int]:
        with self._site() as site:
            case = scenario(site)
            case.prepare()
            site.forget()
            case.act()
            passed = case.passed() if hasattr(case, "passed") else site.passed()
            case.settle()
            case.check()
            site.assert_sound()
            return {name: passed.count(name) for name in dict.fromkeys(passed)}

    def _run(self, kill: Kill) -> None:
        with self._site() as site:
            case = kill.scenario(site)
            case.prepare()
            site.forget()
            case.cut(kill.point, kill.passage)
            case.settle()
            case.check()
            site.assert_sound()

    @contextmanager
    def _site(self) -> Iterator[Site]:
        site = self._idle.get()
        try:
            if site is None:
                site = self._made()
                self.sites.append(site)
                site.open()
            yield site
        except BaseException as error:
            if site is not None:
                if site.hub.log.exists():
                    error.add_note(f"the hub's log ends with\n{site.hub.log.read_text()[-3000:]}")
                site.close()
            site = None
            raise
        finally:
            self._idle.put(site)
