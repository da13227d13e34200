"""Memory of arrays: blocks that are recycled together with their engine variable.

When an array dies, its block goes to a free list at once, though tasks may still use it; whoever
gets it next *overwrites* its variable, and the engine orders that after them. So freeing never
waits. Reusing a busy block costs parallelism, though: the pool prefers blocks that are idle, and
fresh memory while it is under its limit.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from graphopt.engine.arrays.layout import ALIGNMENT, Layout, Raw
from graphopt.engine.engine import Engine
from graphopt.engine.errors import DeadlockError
from graphopt.engine.task import DONE, Options, Task, Variable

POISON = 0xFF  # of all bytes of a freed block in debug mode: NaN, -1, or True


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What a pool holds, in bytes, and how often it gave out new and recycled blocks."""

    allocated: int
    free: int
    peak: int
    limit: int
    fresh: int
    recycled: int

    @property
    def live(self) -> int:
        """Bytes of blocks that arrays have."""
        return self.allocated - self.free


class Block:
    """A piece of memory, the variable that orders its uses, and the last task that uses it."""

    __slots__ = (
        "buffer", "capacity", "copies", "data", "last", "layout", "pool", "shared", "variable",
        "version",
    )  # fmt: skip

    def __init__(self, pool: Pool, buffer: Raw, capacity: int, variable: Variable) -> None:
        self.pool = pool
        self.buffer = buffer
        self.capacity = capacity
        self.variable = variable
        self.layout: Layout | None = None
        self.data: Raw = buffer  # with that layout
        self.last: Task | None = None
        self.version = 0  # how many writes were pushed
        self.copies: dict[Any, Any] = {}  # on other devices, of this version
        self.shared = False  # with something outside: it is never recycled

    @property
    def idle(self) -> bool:
        """Whether nothing uses it, as far as is known."""
        return self.last is None or self.last.state == DONE

    def shape(self, layout: Layout) -> Raw:
        """Its memory as an array of some layout."""
        if self.layout is not layout:
            self.data = np.ndarray(layout.shape, layout.dtype, self.buffer, 0, layout.strides)
            self.layout = layout
        return self.data


class Pool:
    """The blocks of one device."""

    def __init__(self, engine: Engine, device: str, limit: int, debug: bool) -> None:
        self.engine = engine
        self.device = device
        self.options: Options = engine.how(device=device)
        self.named: dict[str, Options] = {}  # the same, with the names of operations
        self.limit = limit
        self.debug = debug
        self.free: dict[int, deque[Block]] = {}  # by capacity; the longest free first
        self.gone: deque[int] = deque()  # capacities of blocks that died outside of any free list
        self.deletions: deque[Task] = deque()  # that may give blocks back
        self.lock = Lock()  # never taken by a finalizer
        self.allocated = self.peak = self.fresh = self.recycled = 0

    def take(self, layout: Layout) -> Block:
        """A block for an array; what it holds is undefined, and others may still use it."""
        free = self.free.get(layout.capacity)
        if not free:
            return self.allocate(layout)
        try:
            block = free.popleft()
        except IndexError:  # another thread was faster
            return self.allocate(layout)
        last = block.last
        if last is not None and last.state != DONE and self.has_room(layout.capacity):
            free.appendleft(block)
            return self.allocate(layout)
        self.recycled += 1
        if block.layout is not layout:
            block.shape(layout)
        return block

    def has_room(self, nbytes: int) -> bool:
        """Whether so many bytes are left under the limit."""
        return self.allocated + nbytes <= self.limit

    def allocate(self, layout: Layout) -> Block:
        """A fresh block. Above the limit, free ones of other sizes are given up for it."""
        size = layout.capacity
        while self.deletions and not self.has_room(size):
            with suppress(DeadlockError):
                self.deletions.popleft().wait()
            if self.free.get(size):
                return self.take(layout)
        with self.lock:
            while self.gone:
                self.allocated -= self.gone.popleft()
            self.allocated += size
            self.fresh += 1
            surplus = self.trim()
            self.peak = max(self.peak, self.allocated)
        for block in surplus:  # so that memory which is not ours any more is really free
            with suppress(DeadlockError):
                if block.last is not None:
                    block.last.wait()
        memory = np.empty(size + ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % ALIGNMENT
        block = Block(self, memory[start : start + size], size, self.engine.new_variable())
        block.shape(layout)
        return block

    def trim(self) -> list[Block]:
        """Give up free blocks until the limit is kept or none is left; returns the busy ones."""
        busy: list[Block] = []
        for free in tuple(self.free.values()):  # finalizers add to it
            while free and self.allocated > self.limit:
                block = free.popleft()
                self.allocated -= block.capacity
                if not block.idle:
                    busy.append(block)
        return busy

    def give(self, block: Block) -> None:
        """Take back the block of an array that died. A finalizer calls it: it never waits."""
        if block.variable.deleted:
            return  # the deletion gives its memory back
        if block.shared:
            self.gone.append(block.capacity)
        elif self.debug:
            self.delete(block)
        else:
            if block.copies:
                block.copies = {}
            try:
                self.free[block.capacity].append(block)
            except KeyError:
                self.free.setdefault(block.capacity, deque()).append(block)

    def delete(self, block: Block) -> None:
        """Delete a block's variable, and take its memory back when all uses of it are over."""
        self.deletions.append(self.engine.delete(block.variable, partial(self.wipe, block)))
        if len(self.deletions) > 16 and self.deletions[0].done:
            self.deletions.popleft()

    def adopt(self, raw: Raw) -> Block:
        """A block for memory that somebody else has too; its layout is that of `raw`."""
        block = Block(self, raw, 0, self.engine.new_variable())
        block.shared = True
        return block

    def wipe(self, block: Block) -> None:
        """Reclaim a block after its variable was deleted and all uses are over."""
        if block.shared:
            self.gone.append(block.capacity)
            return
        if self.debug:
            block.buffer[...] = POISON
        fresh = Block(self, block.buffer, block.capacity, self.engine.new_variable())
        self.free.setdefault(fresh.capacity, deque()).append(fresh)

    def stats(self) -> PoolStats:
        """A snapshot of its figures."""
        with self.lock:
            while self.gone:
                self.allocated -= self.gone.popleft()
            free = sum(size * len(blocks) for size, blocks in tuple(self.free.items()))
            return PoolStats(self.allocated, free, self.peak, self.limit, self.fresh, self.recycled)
