"""Random steps whose results depend on every byte they touch, and ways to run and judge plans.

What a plan must do is judged here by brute force, with nothing taken from the planner: program
order on private buffers, and the closure of "runs before" over lanes and syncs.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from graphopt.engine.plan import Buffer, Plan, Policy, Program, Step, StepGraph

FORCED = Policy(crossing=1e-6, small=0.0, branch=0.0, gain=-1.0)
"""Takes several lanes whenever there are several."""

POISON = 0xA5


@st.composite
def step_graphs(draw: Callable[[st.SearchStrategy[Any]], Any], most: int = 24) -> StepGraph:
    """Up to some steps that read, mutate, write and rewrite buffers of all kinds."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    buffers = [Buffer("in", 64, "input"), Buffer("weight", 64, "persistent")]
    steps: list[Step] = []
    for index in range(draw(st.integers(0, most))):
        size = chance.choice((0, 8, 64, 64, 100, 192))
        new = Buffer(f"b{index}", size, chance.choice(("step",) * 8 + ("output", "persistent")))
        recent = buffers[-6:] if chance.random() < 0.8 else buffers
        read = [each for each in recent if chance.random() < 0.3] or [buffers[0]]
        changeable = [each for each in buffers if each.kind != "input" and each not in read]
        old = chance.choice(changeable) if changeable and chance.random() < 0.3 else None
        rewrite = old is not None and chance.random() < 0.3
        buffers.append(new)
        steps.append(
            Step(
                f"s{index}",
                read=tuple(each.name for each in read),
                mutate=(old.name,) if old and not rewrite else (),
                write=(new.name, old.name) if old and rewrite else (new.name,),
                cost=chance.choice((0.0, 3e-6, 40e-6, 40e-6, 300e-6)),
                may_share=tuple(each.name for each in read) if chance.random() < 0.5 else (),
            )
        )
    return StepGraph(buffers, steps)


class Memory:
    """The bytes of all buffers: each on its own, or those of steps in the arena of a plan."""

    def __init__(self, graph: StepGraph, plan: Plan | None = None) -> None:
        self.graph = graph
        self.arena = memoryview(bytearray([POISON] * (plan.arena if plan else 0)))
        self.view: dict[str, memoryview] = {}
        for each in graph.buffers:
            at = plan.layout.offset.get(each.name) if plan else None
            private = memoryview(bytearray(each.nbytes))
            self.view[each.name] = private if at is None else self.arena[at : at + each.nbytes]

    def content(self, names: Iterable[str]) -> bytes:
        """What some buffers hold."""
        return b"".join(bytes(self.view[name]) for name in names)

    def call(self, step: Step) -> Callable[[], None]:
        """A step that fills what it changes with a hash of what it reads."""

        def run() -> None:
            self.fill(step, self.content(step.read + step.mutate))

        return run

    def fill(self, step: Step, seen: bytes) -> None:
        """The second half of a step: write what follows from what was read."""
        for name in step.mutate + step.write:
            view = self.view[name]
            key = blake2b(seen + f"{step.name} {name}".encode(), digest_size=8).digest()
            view[:] = (key * (len(view) // 8 + 1))[: len(view)]

    def outcome(self) -> dict[str, bytes]:
        """What is left where others can see it."""
        return {
            each.name: bytes(self.view[each.name])
            for each in self.graph.buffers
            if each.kind != "step"
        }


def expected(graph: StepGraph) -> dict[str, bytes]:
    """What program order leaves, every buffer on its own."""
    memory = Memory(graph)
    for step in graph.steps:
        memory.call(step)()
    return memory.outcome()


def simulate(plan: Plan, chance: random.Random) -> dict[str, bytes]:
    """Run a plan's lanes in a random interleaving of halves of steps, with poison all over.

    What a step is about to write is poisoned when it starts, what dies with it when it ends; what
    it reads must not change in between.
    """
    graph, memory = plan.graph, Memory(plan.graph, plan)
    left = [[(step, half) for step in lane for half in (0, 1)] for lane in plan.line.lanes]
    waits: dict[int, set[int]] = {}
    for earlier, later in plan.syncs:
        waits.setdefault(later, set()).add(earlier)
    done: set[int] = set()
    seen: dict[int, bytes] = {}
    while any(left):
        able = [lane for lane in left if lane and waits.get(lane[0][0], set()) <= done]
        assert able, "all lanes wait"
        index, half = chance.choice(able).pop(0)
        step = graph.steps[index]
        if half == 0:
            seen[index] = memory.content(step.read + step.mutate)
            for name in step.write:
                if not any(overlap(plan, name, other) for other in step.read):
                    memory.view[name][:] = bytes([POISON] * len(memory.view[name]))
        else:
            assert memory.content(step.read + step.mutate) == seen[index], step.name
            memory.fill(step, seen[index])
            for start, size in plan.dead_after(step.name):
                memory.arena[start : start + size] = bytes([POISON] * size)
            done.add(index)
    return memory.outcome()


def run_threads(program: Program) -> list[BaseException]:
    """Run each lane on a thread of its own; returns what they raised. No lane may hang."""
    raised: list[BaseException] = []

    def work(lane: int) -> None:
        try:
            program.run_lane(lane)
        except BaseException as error:
            raised.append(error)

    threads = [
        threading.Thread(target=work, args=[lane], daemon=True) for lane in range(program.lanes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "a lane hangs"
    return raised


def overlap(plan: Plan, one: str, other: str) -> bool:
    """Whether two buffers have bytes of the arena in common."""
    place, size = plan.layout.offset, plan.graph.buffer
    if one not in place or other not in place:
        return False
    (a, b), (c, d) = ((place[n], place[n] + size[n].nbytes) for n in (one, other))
    return max(a, c) < min(b, d)


def closure(count: int, edges: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """All pairs of steps of which the first comes before the second by some path."""
    after: list[set[int]] = [set() for _ in range(count)]
    for earlier, step in edges:
        after[earlier].add(step)
    for middle in range(count):
        for start in range(count):
            if middle in after[start]:
                after[start] |= after[middle]
    return {(start, end) for start in range(count) for end in after[start]}


def lane_edges(plan: Plan) -> list[tuple[int, int]]:
    """What the order of each lane gives."""
    return [edge for lane in plan.line.lanes for edge in pairwise(lane)]


def wanted(plan: Plan) -> set[tuple[int, int]]:
    """Every pair of steps of which the first must be done before the second starts."""
    graph = plan.graph
    pairs: set[tuple[int, int]] = set()
    for later, step in enumerate(graph.steps):
        for earlier in range(later):
            before = graph.steps[earlier]
            changes = set(before.mutate + before.write) & set(step.touches)
            if changes or set(before.touches) & set(step.mutate + step.write):
                pairs.add((earlier, later))
    names = list(plan.layout.offset)
    for one in names:
        for other in names:
            if one != other and overlap(plan, one, other):
                users, heir = graph.users[one], graph.users[other][0]
                if plan.line.start[users[0]] <= plan.line.start[heir]:
                    pairs |= {(user, heir) for user in users if user != heir}
    return pairs


def unsafe(plan: Plan) -> set[tuple[int, int]]:
    """Pairs of steps that some execution of a plan runs in the wrong order or at once."""
    edges = lane_edges(plan) + list(plan.syncs)
    return wanted(plan) - closure(len(plan.graph.steps), edges)


def without(plan: Plan, sync: tuple[int, int]) -> Plan:
    """A plan less one sync."""
    return replace(plan, syncs=tuple(edge for edge in plan.syncs if edge != sync))
