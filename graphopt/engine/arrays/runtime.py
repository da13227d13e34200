"""How operations on arrays become tasks: memory for results, copies between devices, the push."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.engine.arrays import infer
from graphopt.engine.arrays.access import Declared, Guard, Resource, check, writable
from graphopt.engine.arrays.handle import Handle
from graphopt.engine.arrays.layout import Layout, Raw, as_tuple, intern, is_raw, kind_of, layout_of
from graphopt.engine.arrays.memory import Block, Pool
from graphopt.engine.engine import Engine
from graphopt.engine.errors import TaskSkippedError, UseAfterDeleteError
from graphopt.engine.lanes import Kind
from graphopt.engine.task import Task

if TYPE_CHECKING:
    from graphopt.engine.arrays.ndarray import NDArray

_frame = sys._getframe  # pyright: ignore[reportPrivateUsage]  # the inspect module costs 10 µs
_NOT_THE_USERS = tuple(f"{Path(each).parent}{os.sep}" for each in (__file__, np.__file__))


class Runtime:
    """The mechanism of `Arrays`."""

    def __init__(self, engine: Engine, device: str | None, limit: int, debug: bool) -> None:
        self.engine = engine
        self.debug = debug
        self.limit = limit
        self.pools: dict[str, Pool] = {}
        self.home = self.pool(device or engine.devices[0])
        self.declared = Declared()
        self.plain = not debug and engine.mode != "sim"
        self.quick = self.plain  # and no thread has asked for a device
        self.submit = engine.submit
        self.kind: type[NDArray]

    def pool(self, device: str) -> Pool:
        """The memory of a device. Raises EngineError for one that does not exist."""
        if device not in self.pools:
            self.pools.setdefault(device, Pool(self.engine, device, self.limit, self.debug))
        return self.pools[device]

    # Handles.

    def new(self, layout: Layout, pool: Pool) -> NDArray:
        """An array whose memory is to be overwritten."""
        block = pool.take(layout)
        if self.debug and self.declared.task is not None:
            self.declared.made.append(block.variable)
        return self.kind(self, block, block.data, layout, None)  # type: ignore[arg-type]  # it is an Arrays

    def view(self, raw: Raw, owner: Handle) -> NDArray:
        """An array that shares memory with another."""
        self.usable(owner)
        base = owner if owner.base is None else owner.base
        return self.kind(self, owner.block, raw, layout_of(raw), base)  # type: ignore[arg-type]  # it is an Arrays

    def settled(self, tree: Any) -> Any:
        """A structure with NumPy's arrays as they are now: who owns them may change them later."""
        return infer.mapped(tree, _snapshot)

    def layouts(self, tree: Any) -> Any:
        """A structure with layouts in the places of arrays."""

        def leaf(value: Any) -> Any:
            if isinstance(value, Handle):
                self.usable(value)
                return value.layout
            return layout_of(value) if is_raw(value) else value

        return infer.mapped(tree, leaf)

    def layouts_only(self, tree: Any) -> Any:
        """A structure with layouts in the places of the engine's arrays, NumPy's as they are."""
        return infer.mapped(tree, lambda each: each.layout if isinstance(each, Handle) else each)

    def usable(self, handle: Handle) -> None:
        """Raise where an array was deleted."""
        if handle.block.variable.deleted:
            text = f"{handle.block.variable.name or 'the array'} was deleted before"
            raise UseAfterDeleteError(text)

    # Operations.

    def run(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        layouts: Sequence[Layout],
        given: Sequence[NDArray | None],
        store: str = "positional",
        also: Sequence[Resource] = (),
    ) -> tuple[NDArray, ...]:
        """Push a function with results of known layouts; returns these, the given ones as they are.

        `store` says how it takes them: after the operands, as "keyword" `out`, or not at all:
        "assigned". It changes what is in `also` too.
        """
        writable(given)
        pool = self.place((given, args, kwargs))
        args, kwargs, read = self.operands((args, kwargs), pool)
        out = tuple(
            self.new(layout, pool) if array is None else array
            for layout, array in zip(layouts, given, strict=True)
        )
        raws = [each.data for each in out]
        if store == "assigned":
            call = partial(assign, raws, function, args, kwargs)
        elif store == "keyword":
            call = partial(function, *args, **kwargs, out=raws[0])
        else:
            call = partial(function, *args, *raws, **kwargs)
        whole = "where" not in kwargs
        changed: list[Resource] = [
            each for each in given if each is not None and not (whole and each.base is None)
        ]
        changed += also
        replaced = [each for each in out if not any(each is other for other in changed)]
        self.launch(call, read, changed, replaced, pool, function.__name__)
        return out

    def change(
        self,
        function: Callable[..., Any],
        target: Handle,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        data: Raw | None = None,
        also: Sequence[Resource] = (),
    ) -> None:
        """Push a function that changes an array, given first, or a part `data` of it."""
        writable([target])
        pool = target.block.pool
        args, kwargs, read = self.operands((self.settled(args), self.settled(kwargs)), pool)
        call = partial(function, target.data if data is None else data, *args, **kwargs)
        self.launch(call, read, [target, *also], [], pool, function.__name__)

    def replace(self, function: Callable[..., Any], target: Handle, args: tuple[Any, ...]) -> None:
        """Push a function that gives all of an array new values."""
        writable([target])
        pool = target.block.pool
        args, _, read = self.operands((self.settled(args), {}), pool)
        call = partial(function, target.data, *args)
        self.launch(call, read, [], [target], pool, function.__name__)

    def at_once(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Wait for the operands and call a function on copies of them, which it may not change."""

        def leaf(value: Any) -> Any:
            if not isinstance(value, Handle):
                return value
            raw = self.fetch(value)
            raw.flags.writeable = False
            return raw[()] if value.layout.scalar else raw

        out = kwargs.get("out")
        targets = as_tuple(out)
        if any(isinstance(each, Handle) for each in targets):
            kwargs = {name: value for name, value in kwargs.items() if name != "out"}
        answer = function(*infer.mapped(args, leaf), **infer.mapped(kwargs, leaf))
        if "out" not in kwargs and out is not None:
            answers = as_tuple(answer)
            for target, value in zip(targets, answers, strict=True):
                target[...] = value
            return targets if len(answers) > 1 else next(iter(targets))
        return answer if "out" in kwargs else infer.mapped(answer, self.wrapped)

    def wrapped(self, value: Any) -> Any:
        """A NumPy array as an array of the engine, anything else as it is."""
        if not is_raw(value) or value.dtype.hasobject:
            return value
        return self.filled(value)

    def filled(self, value: Raw) -> NDArray:
        """A new array with the values of a NumPy array that nobody else has."""
        layout = layout_of(value)
        if layout.strides is not None:
            layout = layout_of(np.empty_like(value))
        array = self.new(layout, self.declared.device or self.home)
        self.launch(
            partial(np.copyto, array.data, value), [], [], [array], array.block.pool, "array"
        )
        return array

    def fetch(self, handle: Handle) -> Raw:
        """Wait for an array's values and copy them. Raises what writing them raised."""
        pool, nbytes = handle.block.pool, handle.layout.nbytes
        kind: Kind = "compute" if pool is self.home else "copy_out"
        task = self.launch(
            partial(handle.data.copy, "K"), [handle], [], [], pool, "read", kind=kind, nbytes=nbytes
        )
        try:
            values: Raw = task.result()
        except TaskSkippedError:
            self.engine.wait(handle.block.variable)  # raises the failure itself
            raise
        return values

    def launch(
        self,
        call: Callable[[], Any],
        read: Iterable[Resource],
        mutate: Sequence[Resource],
        overwrite: Sequence[Resource],
        pool: Pool,
        name: str,
        **options: Any,
    ) -> Task:
        """Push a task for the line of the user's program that led here."""
        read = list(read)
        if self.debug:
            check(self.declared, read, [*mutate, *overwrite])
        context = copy_context()  # NumPy's error state, and whatever else is local to the caller
        if not self.plain or context:
            call = partial(context.run, call)
        if options or name not in pool.named:
            given: Any = {"name": name, "device": pool.device, **options}
            made = self.engine.how(**given)
            if not options:
                pool.named[name] = made
        else:
            made = pool.named[name]
        frame = caller()
        task = Task(
            call,
            tuple(each.block.variable for each in read),
            tuple(each.block.variable for each in mutate),
            made,
            frame.f_code,
            frame.f_lasti,
        )
        task.overwrite = tuple(each.block.variable for each in overwrite)
        if isinstance(getattr(call, "args", (None,))[-1], Guard):
            call.args[-1].task = task  # type: ignore[attr-defined]  # it is a partial
        elif isinstance(call, Guard):
            call.task = task
        self.submit(task)
        for each in read:
            each.block.last = task
        for each in (*mutate, *overwrite):
            touch(each.block, task)
        return task

    # Devices.

    def place(self, tree: Any) -> Pool:
        """Where to run: of the first result, else as the caller asked, else of the operands."""
        found: list[Pool] = []

        def leaf(value: Any) -> None:
            if isinstance(value, Handle):
                found.append(value.block.pool)

        given, *operands = tree
        infer.mapped(given, leaf)
        if not found and self.declared.device is not None:
            return self.declared.device
        infer.mapped(operands, leaf)
        return found[0] if found else self.home

    def operands(self, tree: Any, pool: Pool) -> tuple[Any, Any, list[Handle]]:
        """A pair of structures with the memory of arrays on a device, and these arrays."""
        read: list[Handle] = []

        def leaf(value: Any) -> Any:
            if not isinstance(value, Handle):
                return value
            near = self.near(value, pool)
            read.append(near)
            return near.data

        args, kwargs = infer.mapped(tree, leaf)
        return args, kwargs, read

    def near(self, handle: Handle, pool: Pool) -> Handle:
        """An array of the same values on a device; a copy serves until the original changes."""
        block = handle.block
        if block.pool is pool:
            return handle
        key = (pool.device, handle.layout, handle.data.__array_interface__["data"][0])
        version = block.version
        found = block.copies.get(key)
        if found is not None and found[0] == version and not found[1].block.variable.deleted:
            copy: Handle = found[1]
            return copy
        copy = self.twin(handle, pool)
        self.transfer(handle, copy)
        block.copies[key] = version, copy
        return copy

    def twin(self, handle: Handle, pool: Pool) -> Handle:
        """Memory for a copy with the very strides of an array: kernels give the same bits."""
        layout = handle.layout
        if layout.strides is None:
            return self.new(layout, pool)
        like = layout.stand_in()
        assert isinstance(like.base, np.ndarray)
        start = like.__array_interface__["data"][0] - like.base.__array_interface__["data"][0]
        whole = self.new(intern(like.base.shape, np.dtype(np.uint8)), pool)
        raw: Raw = np.ndarray(layout.shape, layout.dtype, whole.data, start, layout.strides)
        return self.view(raw, whole)

    def transfer(self, source: Handle, target: Handle) -> None:
        """Copy in the lane of the device that is not the first one."""
        to, whence = target.block.pool, source.block.pool
        kind: Kind = "copy_out" if to.device == self.engine.devices[0] else "copy_in"
        call = partial(np.copyto, target.data, source.data)
        nbytes = source.layout.nbytes
        pool = whence if kind == "copy_out" else to
        self.launch(
            call, [source], [], [target], pool, f"copy to {to.device}", kind=kind, nbytes=nbytes
        )


def _snapshot(value: Any) -> Any:
    """A copy of an array of NumPy, anything else as it is."""
    return value.copy("K") if is_raw(value) else value


def assign(
    raws: list[Raw], function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Call a function and store what it returns."""
    answer = function(*args, **kwargs)
    answers: tuple[Any, ...] = tuple(answer) if kind_of(answer) is list else as_tuple(answer)
    for raw, value in zip(raws, answers, strict=True):
        assert raw.shape == np.shape(value), f"inferred {raw.shape}, not {np.shape(value)}"
        assert raw.dtype == np.asarray(value).dtype, f"inferred {raw.dtype}"
        np.copyto(raw, value)


def touch(block: Block, task: Task) -> None:
    """Note that a task writes a block: copies of it are old from here on."""
    block.last = task
    block.version += 1
    if block.copies:
        block.copies = {}


def caller() -> FrameType:
    """The frame of the user's line."""
    frame = _frame(2)
    while frame.f_code.co_filename.startswith(_NOT_THE_USERS) and frame.f_back is not None:
        frame = frame.f_back
    return frame
