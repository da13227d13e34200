"""Where step buffers lie in one arena, given when each step runs.

A buffer lives from the start of its first step to the end of its last, as the timeline has it.
Planned so, after scheduling, sharing bytes slows nothing; planned in program order it would
serialize lanes. First, a result takes over the bytes of an operand that dies with its step. Then
blocks are placed by size, the largest first, each in the tightest gap between those alive at the
same time (greedy by size: Pisarchyk and Lee, "Efficient memory management for deep neural net
inference", 2020); the block that ends up highest is placed first in the next round.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from graphopt.engine.plan.schedule import Timeline
from graphopt.engine.plan.steps import StepGraph

ALIGNMENT = 64
"""Offsets are multiples of this: a cache line, and the widest vector register."""

ROUNDS = 32
"""How often blocks are placed at most, each time in a better order."""

EFFORT = 1_000_000
"""How many pairs of blocks all rounds together may look at; a first round is always made."""


@dataclass(frozen=True)
class Layout:
    """The offset of each step buffer in an arena of some bytes."""

    arena: int
    offset: dict[str, int]


@dataclass(eq=False, slots=True)
class _Block:
    """Bytes that one buffer, or several in succession, hold.

    `holder` is the latest buffer, `last` its last step on each lane: the others there are before.
    `rivals` are the blocks alive at some time when this is.
    """

    size: int
    first: int
    holder: str
    last: dict[int, int] = field(default_factory=dict[int, int])
    rivals: list[_Block] = field(default_factory=list["_Block"])


def lay_out(graph: StepGraph, line: Timeline, rounds: int = ROUNDS) -> Layout:
    """Place all step buffers that some step uses."""
    held = _blocks(graph, line)
    blocks = list(dict.fromkeys(held.values()))
    arena, offset = _place(blocks, _meet(blocks, line), rounds)
    return Layout(arena, {name: offset[block] for name, block in held.items()})


def _blocks(graph: StepGraph, line: Timeline) -> dict[str, _Block]:
    """The block of each step buffer, by birth; those computed in place have one in common."""
    held: dict[str, _Block] = {}
    for step in line.order:
        for name in graph.steps[step].write:
            each = graph.buffer[name]
            if each.kind != "step" or name in held:
                continue
            block = _dying(graph, step, each.nbytes, held, line)
            if block is None:
                block = _Block(-(-each.nbytes // ALIGNMENT) * ALIGNMENT, step, name)
            held[name] = block
            block.holder = name
            for user in graph.users[name]:
                last = block.last.setdefault(line.lane[user], user)
                block.last[line.lane[user]] = max(last, user, key=line.start.__getitem__)
    return held


def _dying(
    graph: StepGraph, step: int, nbytes: int, held: dict[str, _Block], line: Timeline
) -> _Block | None:
    """The block of an operand of this size that nothing uses once a step has run, if any."""
    for name in graph.steps[step].may_share:
        block = held.get(name)
        if block is None or block.holder != name or graph.buffer[name].nbytes != nbytes:
            continue
        if all(last == step or line.sees(step, last) for last in block.last.values()):
            return block
    return None


def _meet(blocks: list[_Block], line: Timeline) -> int:
    """Find the rivals of blocks that come by birth; returns the most bytes alive at once."""
    alive: list[_Block] = []
    most = 0
    for block in blocks:
        born = block.first
        alive = [b for b in alive if not all(line.sees(born, last) for last in b.last.values())]
        for other in alive:
            other.rivals.append(block)
        block.rivals += alive
        alive.append(block)
        most = max(most, sum(other.size for other in alive))
    return most


def _place(blocks: list[_Block], least: int, rounds: int) -> tuple[int, dict[_Block, int]]:
    """The smallest arena found, at best `least`, and each block's offset in it."""
    order = sorted(blocks, key=lambda block: -block.size)
    found: list[tuple[int, dict[_Block, int]]] = []
    pairs = sum(len(block.rivals) for block in blocks)
    for _ in range(max(1, min(rounds, EFFORT // (pairs + 1)))):
        offset: dict[_Block, int] = {}
        for block in order:
            offset[block] = _gap(block, offset)
        highest = max(order, key=lambda block: offset[block] + block.size, default=None)
        arena = offset[highest] + highest.size if highest else 0
        found.append((arena, offset))
        if highest is None or arena <= least:
            break
        order.remove(highest)
        order.insert(0, highest)
    return min(found, key=lambda each: each[0])


def _gap(block: _Block, offset: dict[_Block, int]) -> int:
    """The start of the tightest gap between a block's rivals, else the end of the last."""
    best, room, free = -1, 0, 0
    for start, size in sorted((offset[each], each.size) for each in block.rivals if each in offset):
        if start - free >= block.size and (best < 0 or start - free < room):
            best, room = free, start - free
        free = max(free, start + size)
    return free if best < 0 else best
