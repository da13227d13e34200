"""Where tasks run: devices with their lanes, and the links that copies go through.

A lane is a queue with its own workers: compute, copies in and out, communication, blocking I/O. So
a device computes while it copies. A virtual device is the same thing with a link whose bandwidth
and latency are modelled; real time passes (`threads`), or a clock is advanced (`sim`).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from graphopt.engine.errors import EngineError

if TYPE_CHECKING:
    from graphopt.engine.scheduler import Scheduler
    from graphopt.engine.task import Task

Kind = Literal["compute", "copy_in", "copy_out", "comm", "io"]
KINDS: tuple[Kind, ...] = ("compute", "copy_in", "copy_out", "comm", "io")
WORKERS: dict[Kind, int] = {"compute": 1, "copy_in": 1, "copy_out": 1, "comm": 1, "io": 4}


@dataclass(frozen=True)
class Link:
    """A modelled connection: a transfer takes `latency` seconds + bytes / `bandwidth` (bytes/s)."""

    bandwidth: float
    latency: float = 0.0

    def __post_init__(self) -> None:
        if not (self.bandwidth > 0 and self.latency >= 0):
            raise EngineError(f"a link needs a bandwidth > 0 and a latency >= 0, not {self}")

    def seconds(self, nbytes: int) -> float:
        """How long a transfer of some bytes takes."""
        return self.latency + nbytes / self.bandwidth


class Lane:
    """A queue of tasks that are ready, and the workers that take them.

    Higher priorities go first; equal ones in the order in which they became ready.
    """

    __slots__ = (
        "device",
        "idle",
        "kind",
        "link",
        "paced",
        "parts",
        "ready",
        "scheduler",
        "size",
        "surplus",
        "urgent",
        "wake",
    )

    def __init__(
        self,
        scheduler: Scheduler,
        device: str,
        kind: str,
        size: int,
        link: Link | None = None,
        paced: bool = False,
    ) -> None:
        self.scheduler = scheduler
        self.device = device
        self.kind = kind
        self.size = size
        self.link = link
        self.paced = paced or link is not None
        self.ready: deque[Task] = deque()
        self.urgent: list[tuple[int, int, Task]] = []  # a heap of those with a priority
        self.parts: deque[Task] = deque()  # of plans that have started: before all else
        self.surplus = 0  # workers too many, for one that waited in a task is back
        # What wakes a sleeping worker, each once; empty where nobody sleeps.
        self.idle: deque[Callable[[], object]] = deque()
        self.wake: Callable[[], object] = scheduler.driver.waker(self)

    @property
    def name(self) -> str:
        """Such as "cpu:0/copy_in"."""
        return f"{self.device}/{self.kind}"

    def put(self, task: Task) -> None:
        """Queue a task that is ready."""
        if priority := task.options.priority:
            heapq.heappush(self.urgent, (-priority, task.seq, task))
        else:
            self.ready.append(task)

    def take_first(self) -> Task:
        """The next task, where there are others than plain ones."""
        if self.parts:
            return self.parts.popleft()
        if self.urgent and (self.urgent[0][0] < 0 or not self.ready):
            return heapq.heappop(self.urgent)[2]
        return self.ready.popleft()

    def promote(self, place: int) -> None:
        """Let the task at some place of `queued` be taken next."""
        others = place - len(self.parts)
        if others < 0:
            self.parts.rotate(-place)
        elif others < len(self.ready):
            self.parts.appendleft(self.ready[others])
            del self.ready[others]
        else:
            self.parts.appendleft(self.urgent.pop(others - len(self.ready))[2])
            heapq.heapify(self.urgent)

    def queued(self) -> list[Task]:
        """The tasks that are ready and not started."""
        return [*self.parts, *self.ready, *(task for _, _, task in self.urgent)]

    def __len__(self) -> int:
        return len(self.parts) + len(self.ready) + len(self.urgent)

    def __bool__(self) -> bool:
        return True

    def seconds(self, task: Task) -> float | None:
        """How long a task takes by the model, None where there is none."""
        return self.link.seconds(task.options.nbytes) if self.link else task.options.cost


class Device:
    """A device's lanes, made when they are first used."""

    def __init__(
        self,
        scheduler: Scheduler,
        name: str,
        workers: dict[Kind, int],
        links: dict[Kind, Link],
        paced: bool,
    ) -> None:
        self.scheduler = scheduler
        self.name = name
        self.workers = {**WORKERS, **workers}
        self.links = links
        self.paced = paced
        self.lanes: dict[str, Lane] = {}
        for kind, count in self.workers.items():
            if kind not in KINDS or count < 1:
                raise EngineError(f"{name} cannot have {count} workers in a lane {kind!r}")

    def lane(self, kind: Kind) -> Lane:
        """The lane of a kind. Raises EngineError for a kind that does not exist."""
        if kind not in self.workers:
            raise EngineError(f"there is no lane {kind!r}; the lanes are {', '.join(KINDS)}")
        if kind not in self.lanes:
            paced = self.paced and kind == "compute"
            lane = Lane(
                self.scheduler, self.name, kind, self.workers[kind], self.links.get(kind), paced
            )
            self.lanes.setdefault(kind, lane)  # another thread may have been first
        return self.lanes[kind]
