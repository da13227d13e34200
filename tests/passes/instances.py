"""Instances of rules, made from what the rules say of themselves.

The example that fires is varied: other dtypes, other sizes (empty, one, coinciding, symbolic),
operands that are an output of a node of several, inner values that are outputs as well. And where
the left side is a pattern of values alone, it is written out over operands of drawn shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from graphopt.dims import Dim, Size, Symbol, atoms, symbol
from graphopt.errors import GraphoptError
from graphopt.ir import Node, rebuild, walk
from graphopt.ops.slicing import split
from graphopt.rewriting.pattern import REST, Apply, Named, Var
from graphopt.rewriting.rule import Rule
from graphopt.structural import constant, graph_input, out
from graphopt.tensor import Tensor
from graphopt.types import DType, TensorType

FLOATS = (DType.FLOAT16, DType.BFLOAT16, DType.FLOAT32, DType.FLOAT64)
INTEGERS = (DType.INT8, DType.UINT8, DType.INT32, DType.UINT32, DType.INT64)
SHAPES: tuple[tuple[Size, ...], ...] = (
    (), (1,), (3,), (0,), (2, 3), (2, 1), (1, 3), (3, 3), (symbol("N"), 3), (symbol("N"), 1),
)  # fmt: skip


@dataclass(frozen=True)
class Instance:
    """Values before a rule: the root first, then others that a caller wants as well."""

    roots: tuple[Node, ...]
    about: str

    @property
    def inputs(self) -> list[Node]:
        """The inputs of all roots, in order."""
        return [node for node in walk(self.roots) if node.op.name == "Input"]


def leaf(node: Node) -> bool:
    """Whether a node is an input or a constant."""
    return node.op.name in ("Input", "Constant")


def replaced(root: Node, change: Callable[[Node], Node]) -> Node | None:
    """The root over changed leaves; None when a type rule refuses that."""
    try:
        return rebuild((root,), lambda node: change(node) if leaf(node) else None)[0]
    except (GraphoptError, ValueError, OverflowError):
        return None


def retyped(root: Node, old: DType, new: DType) -> Node | None:
    """The root with every leaf of one dtype in another."""

    def change(node: Node) -> Node:
        kind = node.derived_type
        if not isinstance(kind, TensorType) or kind.dtype is not old:
            return node
        if (held := node.constant) is None:
            return graph_input(node.attrs["name"], kind.with_dtype(new))
        if held.is_splat:
            return constant(Tensor.splat(new, held.shape, held.element))
        return constant(Tensor.of(held.array.astype(new.numpy), new))

    return replaced(root, change)


def resized(root: Node, sizes: Mapping[int, Size], seed: int = 0) -> Node | None:
    """The root with sizes of its inputs, and of constants of numbers, replaced."""
    rng = np.random.default_rng(seed)

    def change(node: Node) -> Node:
        kind = node.derived_type
        if not isinstance(kind, TensorType) or kind.shape is None:
            return node
        shape = tuple(sizes.get(s, s) if isinstance(s, int) else s for s in kind.shape)
        if shape == kind.shape:
            return node
        held = node.constant
        if held is None:
            return graph_input(node.attrs["name"], kind.with_shape(shape))
        if not held.dtype.is_float or not all(isinstance(s, int) for s in shape):
            return node
        fixed = [s for s in shape if isinstance(s, int)]
        if held.is_splat:
            return constant(Tensor.splat(held.dtype, fixed, held.element))
        made = rng.standard_normal(fixed).astype(held.dtype.numpy)
        return constant(Tensor.of(made, held.dtype))

    return replaced(root, change)


def from_split(root: Node) -> Node | None:
    """The root with each float input as the second output of a Split."""

    def change(node: Node) -> Node:
        kind = node.derived_type
        if node.constant is not None or not isinstance(kind, TensorType) or not kind.shape:
            return node
        first = kind.shape[0]
        if not isinstance(first, int) or first == 0:
            return node
        whole = graph_input(node.attrs["name"], kind.with_shape((2 * first, *kind.shape[1:])))
        return out(split(whole, None, axis=0, outputs=2), 1)

    return replaced(root, change)


def sizes_in(root: Node) -> list[int]:
    """The sizes above 1 of the inputs' axes."""
    found: dict[int, None] = {}
    for node in walk((root,)):
        if node.op.name == "Input" and isinstance(node.derived_type, TensorType):
            found |= {s: None for s in node.derived_type.shape or () if isinstance(s, int)}
    return [size for size in found if size > 1]


def variants(root: Node) -> Iterator[tuple[str, Node | None]]:
    """The example in other dtypes and sizes."""
    yield "as it is", root
    dtypes = {node.dtype for node in walk((root,)) if node.op.name == "Input" and _tensor(node)}
    for old in sorted(dtypes, key=str):
        group = FLOATS if old.is_float else INTEGERS if old.is_integer else ()
        for new in group:
            if new is not old:
                yield f"{old} as {new}", retyped(root, old, new)
    sizes = sizes_in(root)
    for size in sizes:
        for other in (0, 1, *sizes[:2]):
            if other != size:
                yield f"size {size} as {other}", resized(root, {size: other})
    if sizes:
        named = {size: symbol(f"S{k}") for k, size in enumerate(sizes)}
        yield "sizes as names", resized(root, named)
    yield "out of a Split", from_split(root)


def _tensor(node: Node) -> bool:
    return isinstance(node.derived_type, TensorType)


def written_out(rule: Rule, seed: int) -> Node | None:
    """The left side over operands of drawn shapes and dtypes; None where that is not possible."""
    random = Random(seed)
    dtype = random.choice((*FLOATS, *INTEGERS, DType.BOOL))
    made: dict[str, Node | None] = {}

    def write(pattern: Any) -> Any:
        if isinstance(pattern, Named):
            return write(pattern.pattern)
        if isinstance(pattern, Apply):
            if REST in pattern.attrs or any(isinstance(v, Var) for v in pattern.attrs.values()):
                raise LookupError
            return pattern.op(*map(write, pattern.operands), **pattern.attrs)
        if isinstance(pattern, Var):
            if pattern.name not in made:
                made[pattern.name] = _operand(pattern, dtype, random)
            return made[pattern.name]
        if isinstance(pattern, int | float):
            shape = random.choice([s for s in SHAPES if all(isinstance(n, int) for n in s)])
            return constant(Tensor.splat(dtype, shape, pattern))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        return pattern

    try:
        root = write(rule.left)
    except (GraphoptError, LookupError, ValueError, OverflowError):
        return None
    return root if isinstance(root, Node) else None


def _operand(variable: Var, dtype: DType, random: Random) -> Node | None:
    if variable.kind in ("Many", "Attr"):
        raise LookupError
    if variable.kind.startswith("Maybe") and random.random() < 0.5:
        return None
    shape = random.choice(SHAPES)
    if variable.kind.endswith("Const"):
        fixed = [size if isinstance(size, int) else 2 for size in shape]
        drawn = np.array([random.choice((-2, -1, 0, 1, 2, 3)) for _ in range(int(np.prod(fixed)))])
        return constant(Tensor.of(drawn.reshape(fixed).astype(dtype.numpy), dtype))
    return graph_input(variable.name, TensorType(dtype, shape))


def instances(rule: Rule, written: int = 40) -> Iterator[Instance]:
    """All that is tried of a rule; many of them it does not apply to."""
    assert rule.fires is not None
    root = rule.fires()
    for about, made in variants(root):
        if made is not None:
            yield Instance((made,), about)
    inner = tuple(node for node in root.inputs if node.inputs and _tensor(node))
    if inner and _tensor(root):
        yield Instance((root, *inner), "inner values are outputs, too")
    for seed in range(written):
        if (made := written_out(rule, seed)) is not None:
            yield Instance((made,), f"written out, seed {seed}")


def named_sizes(nodes: list[Node]) -> set[str]:
    """The symbols in the shapes of inputs."""
    found: set[str] = set()
    for node in nodes:
        for size in node.shape or () if _tensor(node) else ():
            if isinstance(size, Dim):
                found |= {atom.name for atom in atoms(size) if isinstance(atom, Symbol)}
    return found
