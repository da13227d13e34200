"""Which tasks come before which, by edges and completions, as bit sets over a moving window.

Bit k stands for the task at place base + k of the order of integration. Everything below the base
was completed and so comes before whatever is integrated from now on: no set needs to hold it. So a
set is as wide as the backlog, not as the program, unless one task stays pending for ever.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphopt.engine.recordings.accesses import Phase
from graphopt.engine.recordings.recording import TaskRecord

STRIDE = 1024  # completions between two moves of the window


class Window:
    """Follows a recording's integrations and completions, in their order.

    `before` has, for each task and join, whom it waited for.
    """

    def __init__(self, before: dict[int, list[int]]) -> None:
        self.before = before
        self.base = 0
        self.tasks: list[TaskRecord] = []  # in the order of integration
        self.places: dict[int, int] = {}  # of tasks not completed
        self.done = 0  # the completed ones
        self.completions = 0
        self.upto: dict[int, int] = {}  # a task or join not completed, with all before it
        self.members: dict[Phase, int] = {}

    def integrate(self, task: TaskRecord, mine: list[Phase]) -> Iterator[tuple[TaskRecord, Phase]]:
        """Take in a task that belongs to some phases.

        Yields what must come before it and does not, each time with the task's phase.
        """
        bit = 1 << (len(self.tasks) - self.base)
        self.places[task.seq] = len(self.tasks)
        self.tasks.append(task)
        edges = 0
        for seq in self.before.get(task.seq, ()):
            edges |= self.reach(seq)
        for phase in mine:
            if phase.before is not None:
                missing = self.members.get(phase.before, 0) & ~(edges | self.done)
                yield from ((earlier, phase) for earlier in self.elements(missing))
            self.members[phase] = self.members.get(phase, 0) | bit
        self.upto[task.seq] = edges | bit

    def complete(self, task: TaskRecord) -> None:
        """Put a task before everything that is integrated from now on."""
        place = self.places.pop(task.seq, None)
        if place is None:
            return  # it was never integrated
        self.done |= 1 << (place - self.base)
        del self.upto[task.seq]
        self.completions += 1
        if self.completions % STRIDE == 0:
            self.advance()

    def reach(self, seq: int) -> int:
        """A task not completed, or the members of a join, with all before them."""
        if seq < 0 and seq not in self.upto:
            members = 0
            for member in self.before.get(seq, ()):
                members |= self.reach(member)
            self.upto[seq] = members
        return self.upto.get(seq, 0)

    def elements(self, bits: int) -> Iterator[TaskRecord]:
        """The tasks of a set, the earliest first."""
        while bits:
            lowest = bits & -bits
            bits ^= lowest
            yield self.tasks[self.base + lowest.bit_length() - 1]

    def advance(self) -> None:
        """Take completed tasks out of all sets, and the base up to the first that is not."""
        gone = (~self.done & (self.done + 1)).bit_length() - 1
        left = ~self.done
        kept = ((seq, (bits & left) >> gone) for seq, bits in self.upto.items())
        self.upto = {seq: bits for seq, bits in kept if bits}
        pending = ((phase, (bits & left) >> gone) for phase, bits in self.members.items())
        self.members = {phase: bits for phase, bits in pending if bits}
        self.done >>= gone
        self.base += gone
