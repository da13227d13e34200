"""Random programs for the engine: what is pushed, by whom, and what it does, as data.

A program is drawn from a seed. `tests/engine/serial.py` says what it means, `tests/engine/runs.py`
runs it on an engine. Its values are hashes of what was read, so any broken order is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import Literal

Mode = Literal["read", "mutate", "overwrite", "accumulate"]
What = Literal[
    "push", "async", "delete",  # tasks
    "wait", "result", "all", "cancel", "refused",  # what the program does besides
]  # fmt: skip
TASKS = ("push", "async", "delete")
LANES = (
    ("cpu:0", "compute"),
    ("cpu:0", "copy_in"),
    ("cpu:0", "io"),
    ("gpu:0", "compute"),
    ("gpu:0", "copy_out"),
)


@dataclass(slots=True)
class Op:
    """A step of a program: a task, a wait, or a cancellation. Variables and ops are numbers."""

    number: int
    what: What
    read: tuple[int, ...] = ()
    mutate: tuple[int, ...] = ()
    overwrite: tuple[int, ...] = ()
    accumulate: tuple[int, ...] = ()
    target: int = -1  # of a wait: the variable; of a result or cancellation: the task
    fails: bool = False
    how: str = ""  # an async task completes: now, raise, drop, late, thread; refused: of what
    completes: int = -1  # the async task that it completes
    always: bool = False
    cheap: bool = False
    slow: bool = False  # lets other threads run between reading and writing
    priority: int = 0
    lane: int = -1  # in LANES; -1 for no options at all
    awaits: tuple[int, ...] = ()  # tasks whose results it waits for, inside
    joins: bool = False  # it waits for its children, inside
    children: tuple[Op, ...] = ()  # that it pushes
    modes: dict[int, Mode] = field(default_factory=dict[int, Mode])  # one a variable

    def __str__(self) -> str:
        shown = [f"{self.number} {self.what}"]
        for each in fields(self)[2:-2]:
            value = getattr(self, each.name)
            if value != each.default:
                shown.append(each.name if value is True else f"{each.name}={value}")
        lines = [" ".join(shown)]
        for child in self.children:
            lines += ["    " + line for line in str(child).splitlines()]
        return "\n".join(lines)


def strongest(op: Op) -> dict[int, Mode]:
    """One mode for each variable: two different ones make a mutation."""
    modes: dict[int, Mode] = dict.fromkeys(op.read, "read")
    for variable in dict.fromkeys(op.accumulate):
        modes[variable] = "mutate" if variable in modes else "accumulate"
    for variable in dict.fromkeys(op.overwrite):
        modes[variable] = "mutate" if variable in modes else "overwrite"
    for variable in op.mutate:
        modes[variable] = "mutate"
    return modes


@dataclass(slots=True)
class Program:
    """The steps of each thread that pushes. The first is the main one."""

    seed: int
    threads: list[list[Op]]
    workers: int  # of cpu:0's compute lane
    cancels: bool

    @property
    def flat(self) -> bool:
        """Whether the serial order is the order of the steps."""
        return len(self.threads) == 1 and not any(op.children for op in self.threads[0])

    @property
    def timed(self) -> bool:
        """Whether what happens depends on other threads than the engine's."""
        return len(self.threads) > 1 or any(op.how == "thread" for op in self)

    def __iter__(self) -> Iterator[Op]:
        """All ops, children after their parents."""
        reached = [op for steps in self.threads for op in steps]
        for op in reached:  # grows while it is walked
            reached += op.children
        return iter(reached)

    def __str__(self) -> str:
        lines = [f"program {self.seed}: {self.workers} workers"]
        for number, steps in enumerate(self.threads):
            lines += [f"thread {number}", *(str(op) for op in steps)]
        return "\n".join(lines)


def without(program: Program, dropped: Iterable[int]) -> Program:
    """A program less some of its steps, and less what refers to them."""
    gone = set(dropped)
    threads = [list(steps) for steps in program.threads]
    for steps in threads:
        for op in steps:
            refers = {op.completes, op.target if op.what in ("result", "cancel", "refused") else -1}
            if refers & gone:
                gone.add(op.number)
        steps[:] = [
            replace(op, awaits=tuple(each for each in op.awaits if each not in gone))
            for op in steps
            if op.number not in gone
        ]
    return replace(program, threads=threads)


class Style:
    """How likely what is, in one program."""

    def __init__(self, random: Random) -> None:
        draw = random.random
        self.variables = random.randint(1, 12)
        self.plain = draw()  # tasks without options
        self.fails = draw() ** 3 * 0.3
        self.asynchronous = draw() ** 2 * 0.3
        self.accumulate = draw() ** 2
        self.sums = draw() < 0.3  # mostly accumulations
        self.overwrite = draw() * 0.5
        self.write = 0.2 + draw() * 0.8
        self.reads = random.choice((1, 2, 4))
        self.always = draw() ** 2 * 0.3
        self.waits = draw() ** 3 * 0.15
        self.deletes = draw() ** 2 * 0.1
        self.fresh = draw() ** 2 * 0.2
        self.awaits = draw() * 0.1 if draw() < 0.2 else 0.0
        self.hot = draw() < 0.2  # everything reads variable 0, and few write it
        self.slow = draw() * 0.2


class Writer:
    """Draws the steps of one thread."""

    def __init__(self, random: Random, style: Style, shared: list[int], first: int) -> None:
        self.random = random
        self.style = style
        self.shared = shared  # variables that others use too: never deleted here
        self.own: list[int] = []
        self.pool = list(shared)
        self.next_number = self.next_variable = first
        self.steps: list[Op] = []
        self.late: list[int] = []  # async tasks that a later one must complete
        self.handles: list[int] = []
        self.flat = True
        self.summed: set[int] = set()

    def number(self) -> int:
        """A new op."""
        self.next_number += 1
        return self.next_number - 1

    def variable(self) -> int:
        """A new variable."""
        self.next_variable += 1
        return self.next_variable - 1

    def some(self, pool: list[int], most: int) -> tuple[int, ...]:
        """A few variables, some of them twice."""
        random, size = self.random.random, len(pool)
        return tuple([pool[int(random() * size)] for _ in range(int(random() * (most + 1)))])

    def task(self, pool: list[int], what: What = "push") -> Op:
        """A task on some variables."""
        style, draw = self.style, self.random.random
        op = Op(self.number(), what)
        if style.sums and draw() < 0.7:
            op.accumulate = self.some(pool, 3)
        else:
            self.access(op, pool)
        op.fails = draw() < style.fails
        op.slow = draw() < style.slow
        if draw() > style.plain:
            self.dress(op)
        return op

    def access(self, op: Op, pool: list[int]) -> None:
        """Any accesses."""
        style, draw = self.style, self.random.random
        op.read = self.some(pool, style.reads)
        if style.hot:
            op.read = (*op.read, pool[0])
            pool = pool[1:] if len(pool) > 1 and draw() < 0.9 else pool
        if draw() < style.write:
            if draw() < style.accumulate:
                op.accumulate = self.some(pool, 2)
            if draw() < style.overwrite:
                op.overwrite = tuple(v for v in self.some(pool, 2) if v not in op.accumulate)
            if draw() < 0.6:
                op.mutate = self.some(pool, 2)

    def dress(self, op: Op) -> None:
        """Options."""
        draw = self.random.random
        op.lane = int(draw() * len(LANES))
        op.always = draw() < self.style.always
        op.cheap = op.what == "push" and draw() < 0.1
        op.priority = int(draw() * 7) - 3 if draw() < 0.3 else 0

    def asynchronous(self, pool: list[int], hows: tuple[str, ...]) -> Op:
        """An asynchronous task."""
        op = self.task(pool, "async")
        op.how = self.random.choice(hows)
        op.fails = op.fails or op.how in ("raise", "drop")
        return op

    def completer(self, number: int) -> Op:
        """A task that completes an asynchronous one."""
        return Op(self.number(), "push", completes=number, cheap=self.random.random() < 0.2)

    def flush(self) -> None:
        """Push what completes all asynchronous tasks, since there will be a wait."""
        self.random.shuffle(self.late)
        self.steps += [self.completer(number) for number in self.late]
        self.late.clear()

    def family(self, depth: int) -> tuple[Op, ...]:
        """Tasks that a task pushes: on what others use too, and on variables of their own."""
        draw, local = self.random.random, [self.variable() for _ in range(2)]
        pool = [*self.shared, *local]
        children: list[Op] = []
        for _ in range(1 + int(draw() * 3)):
            if draw() < self.style.asynchronous:
                op = self.asynchronous(pool, ("now", "raise", "drop", "late"))
                children.append(op)
                if op.how == "late":
                    children.append(self.completer(op.number))
                continue
            op = self.task(pool)
            if depth and draw() < 0.3:
                op.children = self.family(depth - 1)
            children.append(op)
        if draw() < 0.3:
            children.append(Op(self.number(), "delete", overwrite=(local[0],), always=True))
        return tuple(children)

    def relatives(self) -> tuple[Op, ...]:
        """Children on variables that nobody else has, so that their parent can wait for them."""
        local = [self.variable() for _ in range(2)]
        return tuple([self.task(local) for _ in range(1 + int(self.random.random() * 3))])

    def push(self, nested: float, hows: tuple[str, ...]) -> None:
        """Push a task of any kind."""
        style, draw = self.style, self.random.random
        if draw() < style.asynchronous:
            # Whoever pushes what completes a late one may be held up by a task that waits.
            op = self.asynchronous(self.pool, ("now", "drop") if style.awaits else hows)
            if op.how == "late":
                self.late.append(op.number)
        else:
            op = self.task(self.pool)
            if draw() < nested:
                op.joins = draw() < 0.15 and not op.accumulate
                op.children = self.relatives() if op.joins else self.family(2)
            if style.awaits and draw() < style.awaits and self.handles and not op.accumulate:
                self.flush()
                op.number = self.number()
                count = 1 + int(draw() * 2)
                op.awaits = tuple([self.random.choice(self.handles) for _ in range(count)])
        self.handles.append(op.number)
        self.summed.update(op.accumulate)
        self.steps.append(op)

    def wait(self) -> None:
        """Wait for something."""
        draw = self.random.random
        self.flush()
        kind = draw()
        if kind < 0.2:
            self.steps.append(Op(self.number(), "all"))
        elif kind < 0.6 and self.handles:
            target = self.random.choice(self.handles)
            self.steps.append(Op(self.number(), "result", target=target))
        else:
            # A wait ends a group of accumulations: its place in the serial program must be known.
            pool = self.pool if self.flat else [v for v in self.own if v not in self.summed]
            if pool:
                write = "write" if draw() < 0.3 else ""
                op = Op(self.number(), "wait", target=self.random.choice(pool), how=write)
                self.steps.append(op)

    def delete(self) -> None:
        """Delete a variable that nobody else has, and perhaps try to use it again."""
        pool = self.pool if self.flat else self.own
        if len(self.pool) < 2 or not pool:
            return
        variable = self.random.choice(pool)
        for each in (self.pool, self.own):
            if variable in each:
                each.remove(variable)
        op = Op(self.number(), "delete", overwrite=(variable,), always=True)
        op.fails = self.random.random() < self.style.fails
        self.steps.append(op)
        if self.random.random() < 0.5:
            how = self.random.choice(
                ("read", "mutate", "overwrite", "accumulate", "delete", "wait")
            )
            self.steps.append(
                Op(self.number(), "refused", target=op.number, how=how, overwrite=(variable,))
            )

    def write(self, count: int, nested: float, hows: tuple[str, ...], cancels: bool) -> list[Op]:
        """So many steps."""
        style, draw = self.style, self.random.random
        while len(self.steps) < count:
            kind = draw()
            if kind < style.fresh or not self.pool:
                self.pool.append(self.variable())
                self.own.append(self.pool[-1])
            self.push(nested, hows)
            if len(self.late) > 4 or (self.late and draw() < 0.1):
                self.flush()
            if draw() < style.waits:
                self.wait()
            if draw() < style.deletes:
                self.delete()
            if cancels and draw() < 0.1:
                target = self.random.choice(self.steps)
                if (target.what == "push" and target.completes < 0) or target.how == "now":
                    self.steps.append(Op(self.number(), "cancel", target=target.number))
        self.flush()
        return self.steps


def generate(seed: int, *, threads: bool | None = None) -> Program:
    """The program of a seed; `threads` says whether other threads than the engine's take part."""
    random = Random(seed)
    style, draw = Style(random), random.random
    count = min(500, 50 + int(random.expovariate(1 / 40)))
    nested = random.choice((0.05, 0.2)) if draw() < 0.35 else 0.0
    among = draw() < 0.2 if threads is None else threads
    pushers = random.randint(2, 3) if among and draw() < 0.6 else 1
    cancels = draw() < 0.15
    hows = ["now", "late", "raise", "drop"] if pushers == 1 else ["now", "thread", "raise", "drop"]
    hows += ["thread"] if among else []
    shared = list(range(style.variables))
    steps: list[list[Op]] = []
    for pusher in range(pushers):
        first = pusher * 1_000_000
        writer = Writer(random, style, shared, first + len(shared))
        writer.flat = pushers == 1 and not nested
        steps.append(writer.write(count // pushers, nested, tuple(hows), cancels))
    program = Program(seed, steps, random.choice((1, 1, 2, 2, 3, 8)), cancels)
    for op in program:
        op.modes = strongest(op)
    return program
