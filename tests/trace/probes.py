"""One-function NumPy programs, each with one thing that real programs do. `x` is float64[4]."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import zeros as new_zeros

Array = Any
Program = Callable[[Array], Any]


def helper(x: Array) -> Array:
    return np.tanh(x) + new_zeros(4)


def outer_function(x: Array) -> Array:
    return helper(x) * 2


def power(x: Array, n: int) -> Array:
    return x if n == 0 else x * power(x, n - 1)


scale = 3.0
weights = np.arange(4.0)
table: dict[str, Any] = {"a": np.ones(4), "b": [np.full(4, 2.0)]}
partial_add = functools.partial(np.add, 1.0)


class Model:
    """A callable object with arrays and numbers."""

    factor = 2.0

    def __init__(self) -> None:
        self.w = np.arange(4.0)
        self.bias = 1.5

    def __call__(self, x: Array) -> Array:
        return self.forward(x) + np.zeros(4)

    def forward(self, x: Array) -> Array:
        return x * self.w * self.factor + self.shift

    @property
    def shift(self) -> float:
        return self.bias * 2


model = Model()
method = model.forward


def whole_write(x: Array) -> Array:
    y = np.zeros(4)
    y[:] = x * 2
    return y


def in_place(x: Array) -> Array:
    y = x * 1
    y += 2
    y *= x
    return y


def out_argument(x: Array) -> Array:
    y = np.empty(4)
    np.add(x, 1, out=y)
    np.multiply(y, x, y)
    return y


def listed(x: Array) -> Array:
    parts: list[Array] = []
    for k in range(3):
        parts.append(x * k)  # noqa: PERF401 - the append is what is tested
    return np.stack([p + 1 for p in parts])


def with_closure(x: Array) -> Array:
    y = x + 1

    def inner(z: Array) -> Array:
        return z * y + np.ones(4)

    return inner(x) + (lambda v: np.abs(v))(x)


def local_import(x: Array) -> Array:
    import numpy as q  # noqa: ICN001 - another name is what is tested
    from numpy.linalg import norm

    return q.zeros(4) + norm(x)


def static_fill(x: Array) -> Array:
    y = np.zeros((2, 4))
    for k in range(2):
        y[k, k] = k + 1
    return y @ x


def iterates(x: Array) -> Array:
    total = 0.0
    for item in x:
        total = total + item
    return total


def view_of_written(x: Array) -> Array:
    y = x + 0
    v = y[1:]
    y[:] = x * 2
    return v


def scalars_are_bound_anew(x: Array) -> Any:
    s = x.sum()
    t = s
    s += 1
    return s, t


def sizes(x: Array) -> Any:
    n: Any = x.shape[0]
    assert len(x) == n
    if n > 3 and x.ndim == 1 and x.dtype == np.float64:
        return np.reshape(x, (n // 2, 2)) / n
    return x


def isinstances(x: Array) -> Array:
    kinds: Any = (np.ndarray, list)
    return x + 1 if isinstance(x, kinds) and isinstance(scale, float) else x - 1


def int_grid(x: Array) -> Array:
    i = np.arange(4)
    total: Array = np.zeros(4)
    for k in i:
        total = total + x[k] * i
    return total


def numpy_inside(x: Array) -> Any:
    return np.average(x), np.sinc(x)


WORKS: dict[str, Program] = {
    "arithmetic": lambda x: (2 * x - 1) ** 2 / (x + 10) // 1 % 3,
    "reflected": lambda x: 1 - x + 2.0 / (x + 3) + 2**x,
    "compares": lambda x: (x > 1) & (x <= 3) | ~(x == 2) ^ (x != 0),
    "where": lambda x: np.where(x > 1, x, 0),
    "helpers": outer_function,
    "recursion": lambda x: power(x, 3),
    "closure": with_closure,
    "local import": local_import,
    "partial": lambda x: partial_add(x),
    "global number": lambda x: x * scale,
    "global array": lambda x: x @ weights,
    "global containers": lambda x: x * table["a"] + table["b"][0],
    "callable object": lambda x: model(x),
    "bound method": lambda x: method(x) + model.forward(x),
    "new object": lambda x: Model()(x),
    "whole write": whole_write,
    "in place": in_place,
    "out=": out_argument,
    "list and stack": listed,
    "static part write": static_fill,
    "iteration": iterates,
    "enumerate and zip": lambda x: sum(a * k for k, (a, _) in enumerate(zip(x, x, strict=True))),
    "sum builtin": lambda x: sum(x),
    "view of written": view_of_written,
    "scalars": scalars_are_bound_anew,
    "sizes": sizes,
    "isinstance": isinstances,
    "int grid": int_grid,
    "methods": lambda x: x.reshape(2, 2).T.sum(axis=0, keepdims=True).ravel() + x.max() - x.mean(),
    "more methods": lambda x: (x.clip(0, 1).cumsum(), x.argmax(), x.astype(np.float32), x.std()),
    "reductions": lambda x: (np.add.reduce(x), np.multiply.accumulate(x), np.subtract.outer(x, x)),
    "dict and tuple": lambda x: {"a": x + 1, "b": (x, [x.sum()]), "c": None, "d": 3},
    "dtypes": lambda x: np.float32(x) + np.zeros(4, dtype=np.float32),
    "indexing": lambda x: (x[0], x[-1], x[1:3], x[::-1], x[None], x[[0, 2]], x[np.array([1, 1])]),
    "static mask": lambda x: x[np.array([True, False, True, False])],
    "fancy by traced": lambda x: x[np.argsort(x)],
    "numpy in Python": numpy_inside,
    "constants": lambda x: x + np.pi + np.array([1, 2, 3, 4]) + [1, 2, 3, 4],
    "0-d": lambda x: (np.array(x.sum()), x.sum(), x[0] + x[1]),
    "concatenate": lambda x: np.concatenate([x, np.zeros(2), x[:1]]),
    "matmul": lambda x: np.outer(x, x) @ x + np.dot(x, x) + x @ x,
    "getattr": lambda x: x.T + x.real + x.size + x.nbytes,
    "identity": lambda x: x,
    "static result": lambda x: (np.arange(3), 2.5, np.float32(1)),
}


def if_on_value(x: Array) -> Array:
    y = x * 2
    if y.sum() > 3:
        return x
    return -x


def while_on_value(x: Array) -> Array:
    while x.sum() < 10:
        x = x * 2
    return x


def asserts(x: Array) -> Array:
    assert (x > 0).all()
    return x


def part_write(x: Array) -> Array:
    y = np.zeros(4)
    y[1] = x[0]
    return y


def mutated_part(x: Array) -> Array:
    x[0] = 5
    return x


def write_through_view(x: Array) -> Array:
    y = x + 0
    v = y[1:]
    v += 1
    return y


def mask_write(x: Array) -> Array:
    y = x + 0
    y[y > 1] = 0
    return y


def to_float(x: Array) -> float:
    return float(x[0])


def to_int(x: Array) -> Array:
    return x[int(x[0])]


def with_max(x: Array) -> Array:
    return max(x[0], x[1])


def ternary(x: Array) -> Array:
    return x if x[0] > 0 else -x


def and_or(x: Array) -> Any:
    return x[0] and x[1]


def randomness(x: Array) -> Array:
    return x + np.random.rand(4)


calls: list[int] = []


def side_effect(x: Array) -> Array:
    calls.append(1)
    return x


counter = 0


def assigns_global(x: Array) -> Array:
    global counter
    counter = counter + 1
    return x


def writes_captured(x: Array) -> Array:
    weights[:] = x
    return x


def sets_attribute(x: Array) -> Array:
    model.bias = 2.0
    return x


def to_list(x: Array) -> Any:
    return x.tolist()


def adds_at(x: Array) -> Array:
    y = x + 0
    np.add.at(y, [0, 1], 1)
    return y


FAILS: dict[str, tuple[Program, str, str]] = {
    "if": (if_on_value, "y.sum() > 3", "truth"),
    "while": (while_on_value, "x.sum() < 10", "truth"),
    "assert": (asserts, "(x > 0).all()", "truth"),
    "ternary": (ternary, "x[0] > 0", "truth"),
    "and": (and_or, "x[0]", "truth"),
    "max": (with_max, "max(x[0], x[1])", "truth"),
    "float": (to_float, "float(x[0])", "number"),
    "int": (to_int, "int(x[0])", "integer"),
    "tolist": (to_list, "x.tolist()", "elements"),
    "part write": (part_write, "y[1]", "part"),
    "mutated part": (mutated_part, "x[0]", "part"),
    "write through view": (write_through_view, "v += 1", "view"),
    "mask write": (mask_write, "y[y > 1]", "part"),
    "random": (randomness, "np.random", "random"),
    "side effect": (side_effect, "calls.append(1)", "changing a list"),
    "global": (assigns_global, "counter", "counter"),
    "captured": (writes_captured, "weights[:]", "outside"),
    "attribute": (sets_attribute, "model.bias", "bias"),
    "ufunc.at": (adds_at, "np.add.at(y, [0, 1], 1)", "add.at"),
}
"""(program, the text under the caret, a word of the message)."""
