"""Random programs on arrays, run by NumPy and by the engine at once, step by step.

A program is a list of numbers; what they mean depends on what there is. Whatever NumPy raises, the
engine must raise too, at the same step; shapes, dtypes and strides must agree without waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from graphopt.engine.arrays import Arrays, NDArray

Step = tuple[int, int, int, int]
xp: Any = np  # for functions whose types say too little
DTYPES = "f8 f4 i8 i4 u1 ? c16 f2".split()
SHAPES: list[tuple[int, ...]] = [(), (3,), (4, 3), (1, 3), (2, 1, 3), (0, 3), (4, 4), (8,)]
UNARY: list[Callable[[Any], Any]] = [
    np.negative,
    np.exp,
    np.sqrt,
    np.abs,
    np.sign,
    np.isfinite,
    np.square,
    np.reciprocal,
]
BINARY: list[Callable[[Any, Any], Any]] = [
    np.add, np.subtract, np.multiply, np.divide, np.maximum, np.less, np.floor_divide, np.hypot,
    np.bitwise_and, np.arctan2, np.equal, np.matmul,
]  # fmt: skip
REDUCTIONS: list[Callable[..., Any]] = [np.sum, np.mean, np.max, np.argmin, np.any, np.prod, np.std]
SCALARS: list[Any] = [2, -1, 300, 1.5, True, 2j, np.float32(0.5), np.int8(3)]
VIEWS: list[Callable[[Any], Any]] = [
    lambda a: a[::2], lambda a: a.T, lambda a: a[..., 0], lambda a: a[1:, None],
    lambda a: a.reshape(-1), lambda a: np.flip(a), lambda a: a[0], lambda a: a.swapaxes(0, 1),
    lambda a: np.broadcast_to(a, (2, *a.shape)), lambda a: np.split(a, 2)[1], lambda a: a.real,
    lambda a: a[...], lambda a: np.ravel(a), lambda a: a[-1:, ::-1], lambda a: np.diagonal(a),
]  # fmt: skip
FUNCTIONS: list[Callable[[Any, Any], Any]] = [
    lambda a, b: xp.concatenate([a, b]), lambda a, b: xp.where(a > 0, a, b),
    lambda a, b: np.dot(a, b),
    lambda a, b: np.stack([a, b, a]), lambda a, b: np.sort(a), lambda a, b: np.cumsum(a, axis=0),
    lambda a, b: a.clip(-1, 2), lambda a, b: np.outer(a, b), lambda a, b: np.divmod(a, b)[1],
    lambda a, b: a.astype("f4"), lambda a, b: a.copy(), lambda a, b: np.add.outer(a, b),
    lambda a, b: np.add.accumulate(a), lambda a, b: np.linalg.norm(a), lambda a, b: a[a != b],
    lambda a, b: a[[0, 1, 0]], lambda a, b: a[np.abs(b).astype(int) % len(a)],
    lambda a, b: np.nonzero(a)[0] + 0, lambda a, b: a @ b,
    lambda a, b: np.maximum.reduce(a, axis=-1, keepdims=True), lambda a, b: np.tensordot(a, b, 1),
    lambda a, b: np.add(a, b, where=a > 0, out=np.zeros_like(a)), lambda a, b: np.unique(a),
    lambda a, b: np.add(a, b, dtype="f4"), lambda a, b: np.einsum("...i,...i->...", a, b),
    lambda a, b: np.pad(a, 1), lambda a, b: 2 - a, lambda a, b: a**2, lambda a, b: a**0.5,
    lambda a, b: np.modf(a)[0], lambda a, b: np.add.reduceat(a, [0, 1]),
    lambda a, b: np.take(a, 0, axis=0),
    lambda a, b: a * a.T,
]  # fmt: skip


def change(a: Any, b: Any, which: int, scalar: Any) -> None:
    """Change an array in place."""
    changes: list[Callable[[], Any]] = [
        lambda: np.add(a, b, out=a), lambda: a.__setitem__(slice(None, 2), b),
        lambda: a.__setitem__(..., scalar), lambda: a.__iadd__(scalar), lambda: a.__imul__(b),
        lambda: a.__setitem__(0, scalar), lambda: a.__setitem__([0, 1], scalar),
        lambda: a.__setitem__(a > 1, scalar), lambda: np.copyto(a, b), lambda: a.sort(),
        lambda: np.add.at(a, [0, 0], 1), lambda: a.fill(scalar), lambda: a.__setitem__(..., b),
        lambda: np.multiply(a[1:], a[:-1], out=a[:-1]),
        lambda: np.maximum(a, b, out=a, where=b > 0),
    ]  # fmt: skip
    changes[which % len(changes)]()


class Twin:
    """A program's arrays, of NumPy and of the engine, side by side."""

    def __init__(self, arrays: Arrays, seed: int) -> None:
        self.arrays = arrays
        self.values = np.random.default_rng(seed)
        self.plain: list[Any] = []
        self.ours: list[Any] = []
        self.drawn = np.random.Generator(np.random.PCG64(seed))
        self.generator = arrays.random(seed)
        self.steps: list[Callable[[int, int, int], None]] = [
            self.make, self.unary, self.binary, self.binary, self.scalar, self.view, self.function,
            self.function, self.change, self.change, self.reduce, self.draw, self.forget, self.move,
            self.push, self.swap,
        ]  # fmt: skip
        self.make(2, 0, 0)

    def run(self, program: list[Step]) -> None:
        """Take all steps, and compare all values that are left."""
        for what, x, y, z in program:
            step = self.steps[what % len(self.steps)]
            count = len(self.plain)
            try:
                step(x, y, z)
            except Exception as error:
                one, other = (describe(self.plain[place % count]) for place in (x, z))
                error.add_note(f"{step.__name__}: {y} of {one} and {other}, scalar {x + y + z}")
                raise
        for mine, theirs in zip(self.ours, self.plain, strict=True):
            same(mine, theirs)

    def both(self, call: Callable[[list[Any]], Any]) -> None:
        """Call a function on the arrays of NumPy, and on those of the engine."""
        try:
            expected, error = call(self.plain), None
        except (ValueError, TypeError, IndexError, OverflowError) as raised:
            expected, error = None, raised
        try:
            found = call(self.ours)
        except (ValueError, TypeError, IndexError, OverflowError):
            if error is None:
                raise
            return
        assert error is None, f"only NumPy raises {error!r}"
        if expected is not None and np.size(expected) < 500:
            assert found.shape == np.shape(expected)
            assert found.dtype == expected.dtype
            if np.size(expected) and isinstance(expected, np.ndarray):
                theirs = cast(Any, expected)
                strides = [s for s, n in zip(theirs.strides, theirs.shape, strict=True) if n > 1]
                mine = [s for s, n in zip(found.strides, found.shape, strict=True) if n > 1]
                assert mine == strides
            self.plain.append(expected)
            self.ours.append(found)

    def make(self, x: int, y: int, z: int) -> None:
        shape, dtype = SHAPES[x % len(SHAPES)], DTYPES[y % len(DTYPES)]
        values = np.asarray(self.values.normal(0, 3, shape)).astype(dtype)
        self.plain.append(values)
        self.ours.append(self.arrays.array(values))

    def unary(self, x: int, y: int, z: int) -> None:
        self.both(lambda of: UNARY[y % len(UNARY)](of[x % len(of)]))

    def binary(self, x: int, y: int, z: int) -> None:
        self.both(lambda of: BINARY[y % len(BINARY)](of[x % len(of)], of[z % len(of)]))

    def scalar(self, x: int, y: int, z: int) -> None:
        scalar = SCALARS[z % len(SCALARS)]
        self.both(lambda of: BINARY[y % 8](of[x % len(of)], scalar))

    def view(self, x: int, y: int, z: int) -> None:
        self.both(lambda of: VIEWS[y % len(VIEWS)](of[x % len(of)]))

    def function(self, x: int, y: int, z: int) -> None:
        self.both(lambda of: FUNCTIONS[y % len(FUNCTIONS)](of[x % len(of)], of[z % len(of)]))

    def change(self, x: int, y: int, z: int) -> None:
        scalar = SCALARS[(x + y + z) % len(SCALARS)]
        target = self.plain[x % len(self.plain)]
        scalar_given = isinstance(self.plain[z % len(self.plain)], np.generic)
        if isinstance(target, np.ndarray) and target.flags.writeable and not scalar_given:
            self.both(lambda of: change(of[x % len(of)], of[z % len(of)], y, scalar))

    def reduce(self, x: int, y: int, z: int) -> None:
        axis = (None, 0, -1, (0, 1))[z % 4]
        self.both(lambda of: REDUCTIONS[y % len(REDUCTIONS)](of[x % len(of)], axis=axis))

    def draw(self, x: int, y: int, z: int) -> None:
        size = SHAPES[x % len(SHAPES)]
        draws: list[Callable[[Any, Any], Any]] = [
            lambda rng, a: rng.normal(1.0, 2.0, size),
            lambda rng, a: rng.integers(0, 9, size),
            lambda rng, a: rng.permutation(a),
            lambda rng, a: rng.uniform(size=size),
            lambda rng, a: rng.shuffle(a),
            lambda rng, a: rng.normal(np.zeros(3), 1.0),
        ]

        def call(of: list[Any]) -> Any:
            theirs = self.plain[z % len(self.plain)]
            usable = theirs.shape and theirs.flags.writeable
            chosen = of[z % len(of) if usable else 0]
            return draws[y % len(draws)](self.drawn if of is self.plain else self.generator, chosen)

        self.both(call)

    def forget(self, x: int, y: int, z: int) -> None:
        if len(self.ours) > 2:
            place = 1 + x % (len(self.ours) - 1)
            if sum(each.block is self.ours[place].block for each in self.ours) == 1 and y % 2:
                self.ours[place].delete()
            del self.ours[place], self.plain[place]

    def move(self, x: int, y: int, z: int) -> None:
        devices = self.arrays.engine.devices
        place = x % len(self.ours)
        there = devices[y % len(devices)]
        if self.ours[place].device != there:
            self.plain.append(np.copy(self.plain[place], "K"))
            self.ours.append(self.ours[place].to(there))

    def push(self, x: int, y: int, z: int) -> None:
        """Add one array to another's first elements, as a user's task."""
        one, other = x % len(self.ours), z % len(self.ours)
        target, source = self.plain[one], self.plain[other]
        if not isinstance(target, np.ndarray) or not target.flags.writeable or not source.size:
            return

        def add(source: Any, target: Any) -> None:
            target.reshape(-1)[:1] = source.reshape(-1)[:1].astype(target.dtype)

        add(source, target)
        self.arrays.push(add, [self.ours[other]], [self.ours[one]])

    def swap(self, x: int, y: int, z: int) -> None:
        """Run an operation on another device than its operands'."""
        with self.arrays.device(self.arrays.engine.devices[-1]):
            self.binary(x, y, z)


def describe(values: Any) -> str:
    """Shape, dtype and strides."""
    return f"{type(values).__name__}{values.shape} {values.dtype} {values.strides}"


def same(mine: NDArray, theirs: Any) -> None:
    """Bit for bit."""
    values = mine.numpy()
    assert values.dtype == theirs.dtype
    assert values.shape == np.shape(theirs)
    assert values.tobytes() == np.asarray(theirs).tobytes(), (values - np.asarray(theirs), values)
