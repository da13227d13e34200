"""Random programs for `tools/soak.py`: tasks on cells, and what serial order makes of them."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from graphopt.engine import Completion, Engine, Task, Variable
from graphopt.engine.errors import EngineError, ForkedError, TaskFailedError

MODULUS = (1 << 61) - 1
HANG = float(os.environ.get("GRAPHOPT_PATIENCE", "60"))  # seconds without a sign of life
Value = int | None  # None is poisoned


class SoakError(Exception):
    """The engine did something else than the serial program."""


def mix(*parts: int) -> int:
    """A number that depends on all parts and their order."""
    total = 7
    for part in parts:
        total = (total * 1_000_003 + part) % MODULUS
    return total


class Later:
    """A thread that calls functions a little later, as a network would."""

    def __init__(self) -> None:
        self.begin()
        self.forked = threading.Lock()

    def begin(self) -> None:
        """Start the thread of this process."""
        self.calls: deque[Callable[[], object]] = deque()
        self.some = threading.Semaphore(0)
        self.process = os.getpid()
        threading.Thread(target=self.run, name="later", daemon=True).start()

    def call(self, function: Callable[[], object]) -> None:
        """Let a function be called."""
        if self.process != os.getpid():
            with self.forked:
                if self.process != os.getpid():
                    self.begin()
        self.calls.append(function)
        self.some.release()

    def run(self) -> None:
        """Call them, in order."""
        while True:
            self.some.acquire()
            time.sleep(0.0005)
            self.calls.popleft()()


class Halves:
    """A plan that gives a box a value, each of its two lanes half of it."""

    lanes = 2
    failure: BaseException | None = None

    def __init__(self, box: list[int], value: int) -> None:
        self.box, self.parts = box, (value // 3, value - value // 3)
        self.first = threading.Lock()
        self.first.acquire()

    def run(self) -> None:
        """In order."""
        self.box[0] = sum(self.parts)

    def run_lane(self, lane: int) -> None:
        """The second lane adds to what the first has left."""
        if lane == 0:
            self.box[0] = self.parts[0]
            self.first.release()
        else:
            self.first.acquire()
            self.box[0] += self.parts[1]

    def rearm(self) -> None:
        """It never fails."""


class Cells:
    """Variables with a value each. `step` pushes a random task, and keeps what it should lead to.

    An interrupt can come before or after the last push counts: `before` is what was expected
    without it.
    """

    def __init__(self, engine: Engine, random: Random, later: Later, count: int = 8) -> None:
        self.engine, self.random, self.later = engine, random, later
        self.variables = [engine.new_variable(f"cell{k}") for k in range(count)]
        self.boxes = [[0] for _ in range(count)]  # what the variables stand for
        self.expected: list[Value] = [0] * count
        self.before = self.expected
        self.tasks: deque[Task] = deque(maxlen=16)
        self.doomed: list[tuple[Variable, list[int]]] = []
        self.nested, self.sum = 0, 0
        self.total = engine.new_variable("total")
        self.pushed = 0

    # Pushing.

    def step(self) -> None:
        """Push something at random, or wait for something."""
        chosen = self.random.choices(
            (self.mutate, self.overwrite, self.accumulate, self.fail, self.asynchronous),
            (40, 25, 15, 2, 4),
        )[0]
        special = self.random.random()
        if special < 0.02:
            self.replace(self.random.randrange(len(self.variables)))
        elif special < 0.04:
            self.nest()
        elif special < 0.05:
            self.scoped()
        elif special < 0.06:
            self.plan(self.random.randrange(len(self.variables)))
        elif special < 0.08:
            self.check(self.random.randrange(len(self.variables)))
        else:
            chosen(self.random.randrange(len(self.variables)))
        self.pushed += 1

    def draw(self, cell: int) -> tuple[list[int], list[Variable], int]:
        """Cells to read, their variables, and a number."""
        others = [k for k in range(len(self.variables)) if k != cell]
        reads = self.random.sample(others, self.random.randrange(3))
        return reads, [self.variables[k] for k in reads], self.random.randrange(MODULUS)

    def boxed(self, *cells: int) -> list[list[int]]:
        """The boxes of some cells, as they are now."""
        return [self.boxes[k] for k in cells]

    def options(self) -> dict[str, Any]:
        """A priority, or that it is cheap, now and then."""
        dice = self.random.random()
        if dice < 0.1:
            return {"priority": self.random.randrange(-2, 3)}
        if dice < 0.2:
            return {"nbytes": self.random.randrange(1 << 18)}
        return {"cheap": True} if dice < 0.25 else {"kind": "io"} if dice < 0.27 else {}

    def expect(self, cell: int, value: Value) -> None:
        """From now on a cell should have a value."""
        new = list(self.expected)
        new[cell] = value
        self.before, self.expected = self.expected, new

    def mutate(self, cell: int) -> None:
        """The new value depends on the old one and on others; now and then the task waits."""
        reads, variables, number = self.draw(cell)
        boxes, parts = self.boxed(cell, *reads), [self.expected[k] for k in (cell, *reads)]
        earlier = (
            self.random.choice(self.tasks) if self.random.random() < 0.02 and self.tasks else None
        )

        def run() -> None:
            if earlier is not None:
                earlier.wait()
            boxes[0][0] = mix(number, *(box[0] for box in boxes))

        known = [part for part in parts if part is not None]
        self.expect(cell, mix(number, *known) if len(known) == len(parts) else None)
        target = [self.variables[cell]]
        self.tasks.append(self.engine.push(run, variables, target, **self.options()))

    def overwrite(self, cell: int) -> None:
        """The new value depends on others."""
        reads, variables, number = self.draw(cell)
        boxes, parts = self.boxed(cell, *reads), [self.expected[k] for k in reads]

        def run() -> None:
            boxes[0][0] = mix(number, *(box[0] for box in boxes[1:]))

        known = [part for part in parts if part is not None]
        self.expect(cell, mix(number, *known) if len(known) == len(parts) else None)
        target = [self.variables[cell]]
        self.tasks.append(self.engine.push(run, variables, overwrite=target, **self.options()))

    def accumulate(self, cell: int) -> None:
        """Add a number."""
        number, box, old = self.random.randrange(MODULUS), self.boxes[cell], self.expected[cell]

        def run() -> None:
            box[0] = (box[0] + number) % MODULUS

        self.expect(cell, None if old is None else (old + number) % MODULUS)
        self.engine.push(run, accumulate=[self.variables[cell]], **self.options())

    def fail(self, cell: int) -> None:
        """Poison a cell."""

        def run() -> None:
            raise ValueError("planned")

        self.expect(cell, None)
        self.engine.push(run, mutate=[self.variables[cell]])

    def asynchronous(self, cell: int) -> None:
        """Overwrite a cell from another thread."""
        number, box, later = self.random.randrange(MODULUS), self.boxes[cell], self.later

        def start(done: Completion) -> None:
            def finish() -> None:
                box[0] = number
                done()

            later.call(finish)

        self.expect(cell, number)
        self.engine.push_async(start, overwrite=[self.variables[cell]])

    def plan(self, cell: int) -> None:
        """Overwrite a cell by a plan."""
        number = self.random.randrange(MODULUS)
        self.expect(cell, number)
        plan = Halves(self.boxes[cell], number)
        self.engine.push_plan(plan, overwrite=[self.variables[cell]])

    def replace(self, cell: int) -> None:
        """Delete a cell's variable, and make another."""
        freed: list[int] = []
        self.doomed.append((self.variables[cell], freed))
        self.engine.delete(self.variables[cell], lambda: freed.append(1))
        self.expect(cell, 0)
        self.variables[cell], self.boxes[cell] = self.engine.new_variable(f"cell{cell}"), [0]
        self.overwrite(cell)

    def nest(self) -> None:
        """A task that pushes tasks, whose order among others does not matter."""
        total, engine = self.total, self.engine

        def add() -> None:
            self.sum += 1

        def outer() -> None:
            engine.push(add, accumulate=[total])
            engine.push(add, accumulate=[total])

        self.nested += 2
        engine.push(outer)

    def scoped(self) -> None:
        """A few tasks of which some are cancelled."""
        mine = self.engine.new_variable("scoped")
        with self.engine.scope() as scope:
            for _ in range(5):
                self.engine.push(int, mutate=[mine], scope=scope)
            if self.random.random() < 0.5:
                scope.cancel()
        self.engine.delete(mine)

    # Checking.

    def check(self, cell: int, also: list[Value] | None = None) -> None:
        """Wait for a cell. Raises SoakError where it is not as expected."""
        try:
            self.engine.wait(self.variables[cell], timeout=HANG / 2)
            found: Value = self.boxes[cell][0]
        except TaskFailedError as error:
            if isinstance(error.__cause__, ForkedError):
                return
            found = None
        if found == self.expected[cell]:
            return
        if also is None or found != also[cell]:
            raise SoakError(f"cell {cell} is {found}, not {self.expected[cell]}")
        self.expected[cell] = found

    def settle(self, interrupted: bool = False) -> None:
        """Wait for everything, check everything, and start afresh. Raises SoakError."""
        try:
            self.engine.wait_all(timeout=HANG / 2)
        except ExceptionGroup as group:
            for error in group.exceptions:
                if not isinstance(error.__cause__, (ValueError, ForkedError, EngineError)):
                    raise SoakError(f"a task failed: {error}") from error
        for variable, freed in self.doomed:
            if variable.deleted and freed != [1]:
                raise SoakError(f"{variable!r} was deleted, but freed {len(freed)} times")
        self.doomed.clear()
        for cell, variable in enumerate(self.variables):
            if not variable.deleted:
                self.check(cell, self.before if interrupted else None)
            else:
                self.variables[cell] = self.engine.new_variable(f"cell{cell}")
                self.boxes[cell], self.expected[cell] = [0], 0
        if not interrupted and self.sum != self.nested:
            raise SoakError(f"{self.sum} nested tasks ran, not {self.nested}")
        self.nested = self.sum
        for cell in range(len(self.variables)):
            self.overwrite(cell)


def small_program(engine: Engine) -> None:
    """A fresh program whose result is known. Raises SoakError."""
    x, y, log = engine.new_variable("x"), engine.new_variable("y"), list[int]()
    for k in range(20):
        engine.push(lambda k=k: log.append(k), read=[y], mutate=[x])  # type: ignore[misc]  # a default
    engine.push(lambda: log.append(sum(log)), read=[x], mutate=[y])
    engine.wait(y, timeout=HANG / 2)
    if log != [*range(20), 190]:
        raise SoakError(f"a small program gave {log}")
