"""Random programs of NumPy calls, as lists of instructions that arrays and refs both can run.

An instruction takes the list of the values so far and returns the next. What it does is fixed when
it is drawn, by trying it on arrays: one that NumPy refuses is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

Array = Any
Values = list[Any]
Instruction = Callable[[Values], Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

DTYPES = (np.float32, np.float64, np.int32, np.int64, np.bool_)
LARGEST = 300
"""No value has more elements."""

UNARY = (np.negative, np.absolute, np.square, np.sign, np.logical_not, np.sqrt, np.rint)
BINARY = (
    np.add, np.subtract, np.multiply, np.maximum, np.minimum, np.less, np.equal, np.logical_and,
    np.true_divide,
)  # fmt: skip
REDUCTIONS = (np.sum, np.prod, np.max, np.min, np.any, np.all)
WHOLE: tuple[Callable[[Array], Array], ...] = (
    np.tril,
    np.rot90,
    lambda x: np.roll(x, 1, axis=0),
    lambda x: np.sort(x, axis=-1),
    lambda x: np.lib.stride_tricks.sliding_window_view(x, 1, axis=0),
    lambda x: np.broadcast_arrays(x, np.zeros(x.shape))[0],
)
"""What has no entry in the table of functions; some of it returns views, which are then copied."""


@dataclass
class Sketch:
    """A program while it is drawn. `owned` are the values that an instruction may write to."""

    draw: Draw
    values: Values
    owned: set[int] = field(default_factory=set[int])
    instructions: list[Instruction] = field(default_factory=list[Instruction])

    def take(self, instruction: Instruction, *, owned: bool) -> None:
        """Try an instruction on arrays and keep it if NumPy does."""
        try:
            made = contiguous(instruction(self.values))
        except (ValueError, TypeError, IndexError):
            return
        if made.size > LARGEST or made.dtype.type not in DTYPES:
            return
        if owned:
            self.owned.add(len(self.values))
        self.values.append(made)
        self.instructions.append(instruction)

    def pick(self, owned: bool = False) -> int:
        return int(self.draw(st.sampled_from(sorted(self.owned) if owned else self.all)))

    @property
    def all(self) -> list[int]:
        return list(range(len(self.values)))


def contiguous(made: Array) -> Array:
    """What a call returns, as refs have it: an array in C order, a view where it is one."""
    array = np.asarray(made)
    return array if array.base is not None else np.asarray(array, order="C")


def sketch(draw: Draw, inputs: Sequence[Array], length: int) -> Sketch:
    """A program of at most so many instructions over some inputs."""
    made = Sketch(draw, list(inputs))
    for _ in range(length):
        draw(st.sampled_from(KINDS))(made)
    return made


def play(instructions: Sequence[Instruction], inputs: Sequence[Any]) -> Values:
    """All values of a program on arrays, or on refs."""
    values: Values = list(inputs)
    for instruction in instructions:
        made = instruction(values)
        known = isinstance(made, np.ndarray | np.generic)
        values.append(contiguous(made) if known else made)
    return values


# Kinds of instructions: each draws one.


def elementwise(s: Sketch) -> None:
    k = s.pick()
    if s.draw(st.booleans()):
        unary = s.draw(st.sampled_from(UNARY))
        s.take(lambda v: unary(v[k]), owned=True)
        return
    binary, j = s.draw(st.sampled_from(BINARY)), s.pick()
    number = s.draw(st.sampled_from([None, None, 2, -1, 0.5, True, np.float32(1.5)]))
    s.take(lambda v: binary(v[k], v[j] if number is None else number), owned=True)


def view(s: Sketch) -> None:
    k = s.pick()
    x = s.values[k]
    axes = s.draw(st.permutations(range(x.ndim)))
    index = tuple(s.draw(_part(size)) for size in x.shape[: s.draw(st.integers(0, x.ndim))])
    sizes = [n for n in range(1, 7) if x.size % n == 0]
    rows = s.draw(st.sampled_from(sizes or [1]))
    views: list[Instruction] = [
        lambda v: np.reshape(v[k], (rows, -1)),
        lambda v: v[k].reshape(-1),
        lambda v: np.transpose(v[k], axes),
        lambda v: v[k].T,
        lambda v: v[k][index],
        lambda v: v[k][(..., None)],
        lambda v: np.broadcast_to(v[k], (2, *x.shape)),
        lambda v: np.expand_dims(v[k], 0),
        lambda v: np.squeeze(v[k]),
        lambda v: np.flip(v[k]),
        lambda v: np.swapaxes(v[k], 0, -1),
        lambda v: np.moveaxis(v[k], 0, -1),
        lambda v: np.ravel(v[k]),
        lambda v: np.diagonal(v[k]),
        lambda v: np.split(v[k], [1], axis=0)[1],
        lambda v: v[k].real,
    ]
    chosen = s.draw(st.sampled_from(views))
    s.take(chosen, owned=False)
    if len(s.values) > len(s.instructions) and s.instructions[-1:] == [chosen]:
        made = s.values[-1]
        mine = k in s.owned and made.flags.writeable and made.base is not None
        if mine or (made.base is None and made.size):
            s.owned.add(len(s.values) - 1)


def _part(size: int) -> st.SearchStrategy[Any]:
    ends = st.none() | st.integers(-size - 1, size + 1)
    steps = st.sampled_from([None, 1, 2, -1, -2])
    return st.builds(slice, ends, ends, steps) | st.integers(-size, max(size - 1, 0))


def reduction(s: Sketch) -> None:
    k, func = s.pick(), s.draw(st.sampled_from(REDUCTIONS))
    axis = s.draw(st.sampled_from([None, 0, -1, (0, 1), ()]))
    kept = s.draw(st.booleans())
    s.take(lambda v: func(v[k], axis=axis, keepdims=kept), owned=True)


def along(s: Sketch) -> None:
    k, j, axis = s.pick(), s.pick(), s.draw(st.sampled_from([0, -1]))
    if not s.values[k].ndim:  # which NumPy takes for a vector here and there
        return
    made: list[Instruction] = [
        lambda v: np.cumsum(v[k], axis=axis),
        lambda v: np.argmax(v[k], axis=axis),
        lambda v: np.argmin(v[k], axis),
        lambda v: np.concatenate([v[k], v[j], v[k]], axis=axis),
        lambda v: np.stack([v[k], v[j]], axis=axis),
        lambda v: np.take(v[k], np.array([0, -1, 0]), axis=axis),
        lambda v: np.where(v[k] == v[j], v[k], v[j]),  # pyright: ignore[reportUnknownLambdaType]
        lambda v: np.where(v[k] < v[j], v[j], 1),
        lambda v: np.clip(v[k], -1, 2),
        lambda v: np.pad(v[k], [(1, 0)] + [(0, 2)] * (v[k].ndim - 1), constant_values=1),
        lambda v: np.zeros_like(v[k]) + v[j],
        lambda v: np.matmul(v[k], v[j].T),
    ]
    s.take(s.draw(st.sampled_from(made)), owned=True)


def conversion(s: Sketch) -> None:
    k, dtype = s.pick(), s.draw(st.sampled_from(DTYPES))
    made: list[Instruction] = [
        lambda v: v[k].astype(dtype),
        lambda v: v[k].copy(),
        lambda v: v[k].flatten(),
    ]
    s.take(s.draw(st.sampled_from(made)), owned=True)


def whole(s: Sketch) -> None:
    k, func = s.pick(), s.draw(st.sampled_from(WHOLE))
    s.take(lambda v: np.copy(func(v[k])), owned=True)


def writing(s: Sketch) -> None:
    """Change a value in place, and go on with it."""
    if not s.owned:
        return
    k, j, number = s.pick(owned=True), s.pick(), s.draw(st.sampled_from([2, -1]))
    x, y = s.values[k], s.values[j]
    if not x.size:
        return
    at = tuple(s.draw(_part(size)) for size in x.shape[:1])

    def assign(v: Values) -> Any:
        v[k][at] = number
        return v[k]

    def assign_value(v: Values) -> Any:
        v[k][...] = v[j]
        return v[k]

    def increment(v: Values) -> Any:
        v[k] += number
        return v[k]

    def into(v: Values) -> Any:
        np.add(v[k], v[j], out=v[k])
        return v[k]

    choices = [assign] if x.dtype == np.bool_ else [assign, increment]
    if y.dtype == x.dtype and fits(y.shape, x.shape):
        choices += [assign_value, into]
    s.take(s.draw(st.sampled_from(choices)), owned=True)


def fits(shape: tuple[int, ...], into: tuple[int, ...]) -> bool:
    """Whether an array of one shape can be broadcast to another."""
    try:
        return np.broadcast_shapes(shape, into) == into
    except ValueError:
        return False


KINDS = (
    elementwise,
    elementwise,
    view,
    view,
    reduction,
    along,
    conversion,
    whole,
    writing,
    writing,
)
