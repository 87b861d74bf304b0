"""What the doors count, over all processes that serve one address (processes.py).

1. Each process posts its counts every second, and before it answers with the sum: the sum that one tells is never less
   than what another told before.
2. A process that takes a dead one's place begins with the dead one's counts.
"""

import os
import threading
from collections.abc import Mapping

from customhouse.processes import Counts, Place

POST_SECONDS = 1.0
Answers = Mapping[str, Mapping[int, int]]
Pulls = Mapping[tuple[str, str], int]


class Counted:
    """The counters of this process, and those of the others at its address."""

    def __init__(self, answers: Answers, pulls: Pulls, place: Place | None = None) -> None:
        self._answers, self._pulls, self._place = answers, pulls, place
        if place is not None:
            self._before = place.board.read(place.number)[1]
            threading.Thread(target=self._keep_posting, args=(place,), name="counts", daemon=True).start()

    @property
    def shared(self) -> bool:
        """Do others count too?"""
        return self._place is not None

    def all(self) -> tuple[Answers, Pulls, list[int]]:
        """Answers by door and status, pulls by client, and the processes that they are of."""
        if self._place is None:
            return self._answers, self._pulls, [os.getpid()]
        self._post(self._place)
        processes, counts = self._place.board.sum()
        answers: dict[str, dict[int, int]] = {door: {} for door in self._answers}
        pulls: dict[tuple[str, str], int] = {}
        for (kind, first, second), number in counts.items():
            if kind == "answers":
                answers.setdefault(first, {})[int(second)] = number
            else:
                pulls[first, second] = number
        return answers, pulls, processes

    def _post(self, place: Place) -> None:
        counts: Counts = dict(self._before)
        for door, statuses in self._answers.items():
            for status, number in dict(statuses).items():
                name = ("answers", door, str(status))
                counts[name] = self._before.get(name, 0) + number
        for (client, verifies), number in dict(self._pulls).items():
            name = ("pulls", client, verifies)
            counts[name] = self._before.get(name, 0) + number
        place.board.post(place.number, counts)

    def _keep_posting(self, place: Place) -> None:
        pause = threading.Event()
        while True:
            self._post(place)
            pause.wait(POST_SECONDS)
