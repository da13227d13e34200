"""Control flow that is decided or says things twice: rules on If.

A branch is a body over captures; both branches of an If have the same. What both compute is
computed whatever the predicate is, so it may stand before the If even where it can fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from graphopt.body import Body, all_nodes
from graphopt.ir import Node, rebuild, walk
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.control import if_
from graphopt.ops.functions import neg
from graphopt.ops.logic import not_
from graphopt.rewriting import (
    Attr,
    Boolean,
    Const,
    Declined,
    Equations,
    Guard,
    Many,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, filled
from graphopt.rewriting.rule import Guards
from graphopt.structural import constant, out, out_op
from graphopt.types import DType

Values = Sequence[Node]
Make = Callable[[int], Node]
"""Makes an example node with so many outputs."""


def of_outputs(
    left: Any,
    several: Any,
    values: Callable[[Node], Values | Declined],
    when: tuple[str, Callable[[Node, int], bool]] | None,
    fires: Make,
    misses: Make,
) -> Iterator[Rule]:
    """The rules "single" and "several" that replace each output of a node by one of `values`.

    `left` matches the node when it has one output, `several` one output of many: the node is bound
    to `node` and the output's number to `i`. The guard `when` is asked of both.
    """
    one: Guards = ()
    each: Guards = ()
    if when is not None:
        name, test = when
        one = Guard(name, lambda root: test(root, 0), ("root",))
        each = Guard(name, test, ("node", "i"))
    yield Rule(
        "single",
        left,
        lambda root: _at(values(root), 0),
        when=one,
        fires=lambda: fires(1),
        misses=lambda: misses(1),
    )
    yield Rule(
        "several",
        several,
        lambda node, i: _at(values(node), i),
        when=each,
        fires=lambda: out(fires(2), 1),
        misses=lambda: out(misses(2), 1),
    )


def _at(values: Values | Declined, index: int) -> Node | Declined:
    return values if isinstance(values, Declined) else values[index]


def branches(node: Node) -> tuple[Body, Body]:
    """The branches of an If."""
    return node.attrs["then_branch"], node.attrs["else_branch"]


def rebuilt_if(predicate: Node, captures: Iterable[Node], bodies: tuple[Body, Body]) -> Node:
    """An If over other captures and bodies."""
    made: Node = if_(
        predicate,
        *captures,
        then_branch=bodies[0],
        else_branch=bodies[1],
        outputs=len(bodies[0].outputs),
    )
    return made


def fixed(values: Iterable[Node]) -> set[Node]:
    """The nodes under some values that stay where they are, and those that depend on them.

    These are the ones that are not understood or mutate something, in bodies too.
    """
    found: set[Node] = set()
    for node in walk(values):
        inner = all_nodes(tuple(item for _, body in node.bodies for item in body.outputs))
        if any(i in found for i in node.inputs) or any(map(_stays, (node, *inner))):
            found.add(node)
    return found


def _stays(node: Node) -> bool:
    return node.op.facts.opaque or bool(node.op.facts.mutates)


# If with a known predicate


def taken(node: Node) -> Values:
    """The outputs of the branch that an If with a constant predicate takes."""
    predicate = node.inputs[0].constant
    assert predicate is not None
    return branches(node)[not predicate.element].open(node.inputs[1:])[1]


def _choice(predicate: Node, outputs: int = 1) -> Node:
    x, y = example("float32[3]", "x"), example("float32[3]", "y")
    then_branch = Body.close((), (x, y), (x, y)[:outputs])
    else_branch = Body.close((), (x, y), (y, x)[:outputs])
    return rebuilt_if(predicate, (x, y), (then_branch, else_branch))


@rules(Soundness.EXACT)
def known_if(p: Const, c: Many, a: Attr, i: Attr, node: Value) -> Equations:
    """if true then f else g = f"""
    yield from of_outputs(
        if_(p, c, attrs=a),
        out_op(node.of(if_(p, c, attrs=a)), index=i),
        taken,
        when=None,
        fires=lambda outputs: _choice(filled(outputs % 2, dtype="bool"), outputs),
        misses=lambda outputs: _choice(example("bool[]", "p"), outputs),
    )


# If whose branches agree


def first_branch(node: Node) -> Values:
    """What the first branch of an If returns."""
    return branches(node)[0].open(node.inputs[1:])[1]


def agree(node: Node, index: int) -> bool:
    """Whether both branches of an If return the same as an output."""
    one, other = (body.outputs[index] for body in branches(node))
    return one is other and one not in fixed((one,))


def _same(outputs: int, differ: bool = False) -> Node:
    x, y = example("float32[3]", "x"), example("float32[3]", "y")
    last = add(x, y) if differ else mul(x, y)
    one = Body.close((), (x, y), (x, mul(x, y))[-outputs:])
    other = Body.close((), (x, y), (y, last)[-outputs:])
    return rebuilt_if(example("bool[]", "p"), (x, y), (one, other))


@rules(Soundness.EXACT)
def same_if(p: Boolean, c: Many, a: Attr, i: Attr, node: Value) -> Equations:
    """if p then f else f = f"""
    yield from of_outputs(
        if_(p, c, attrs=a),
        out_op(node.of(if_(p, c, attrs=a)), index=i),
        first_branch,
        when=("the branches return the same", agree),
        fires=_same,
        misses=lambda outputs: _same(outputs, differ=True),
    )


# What both branches compute


def shared_work(node: Node) -> list[Node]:
    """The values that both branches compute, as far as other work of a branch takes them."""
    one, other = branches(node)
    if one.params != other.params:
        return []
    both = set(walk(one.outputs)).intersection(walk(other.outputs))
    common = set(filter(_is_work, both))
    if not common:
        return []
    common -= fixed(one.outputs)
    found: dict[Node, None] = {}
    for body in (one, other):
        for user in walk(body.outputs):
            for item in user.inputs if user not in common else ():
                if item in common:  # of a node of several outputs, one is taken
                    found[user if user.op is out_op else item] = None
        found.update(dict.fromkeys(item for item in body.outputs if item in common))
    return list(found)


def _is_work(node: Node) -> bool:
    return node.op.name != "Bound" and node.constant is None and not node.is_absent


def before(root: Node) -> Node | Declined:
    """An If whose branches capture what both computed."""
    shared = shared_work(root)
    if not shared:
        return Declined("the branches compute nothing that is the same")
    one, other = branches(root)
    formals, outputs = one.open()
    captured = (*rebuild(shared, lambda item: _argument(item, formals)), *formals)
    values = rebuild(shared, lambda item: _argument(item, root.inputs[1:]))
    bodies = [Body.close((), captured, made) for made in (outputs, other.open(formals)[1])]
    return rebuilt_if(root.inputs[0], (*values, *root.inputs[1:]), (bodies[0], bodies[1]))


def _argument(node: Node, arguments: Sequence[Node]) -> Node | None:
    index: int = node.attrs.get("index", 0)
    return arguments[index] if node.op.name == "Bound" else None


def _prefixed(shared: bool = True) -> Node:
    x, y = example("float32[3]", "x"), example("float32[3]", "y")
    one = Body.close((), (x, y), (neg(mul(x, y)),))
    other = Body.close((), (x, y), (add(mul(x, y) if shared else add(x, y), x),))
    return rebuilt_if(example("bool[]", "p"), (x, y), (one, other))


@rules(Soundness.EXACT)
def common_work(p: Boolean, c: Many, a: Attr) -> Equations:
    """if p then f(g) else h(g) = let y = g in if p then f(y) else h(y)"""
    yield Rule(
        "before",
        if_(p, c, attrs=a),
        before,
        fires=_prefixed,
        misses=lambda: _prefixed(shared=False),
    )


# What a branch knows


def swapped(root: Node) -> Node:
    """An If on not p as one on p."""
    one, other = branches(root)
    return rebuilt_if(root.inputs[0].inputs[0], root.inputs[1:], (other, one))


def told(root: Node) -> Node | Declined:
    """An If whose branches know what its predicate is."""
    predicate, *captures = root.inputs
    if predicate not in captures:
        return Declined("the branches do not take the predicate")
    if predicate.shape is None:
        return Declined("the predicate's rank is not known")
    bodies: list[Body] = []
    for body, answer in zip(branches(root), (True, False), strict=True):
        formals, _ = body.open()
        known = constant(np.full((1,) * len(predicate.shape), answer), DType.BOOL)
        arguments = [
            known if item is predicate else formal
            for formal, item in zip(formals, captures, strict=True)
        ]
        bodies.append(Body.close((), formals, body.open(arguments)[1]))
    return rebuilt_if(predicate, captures, (bodies[0], bodies[1]))


def _nested(same: bool = True) -> Node:
    p, q = example("bool[]", "p"), example("bool[]", "q")
    x, y = example("float32[3]", "x"), example("float32[3]", "y")
    inner = rebuilt_if(
        p if same else q, (x, y), (Body.close((), (x, y), (x,)), Body.close((), (x, y), (y,)))
    )
    captured = (p, q, x, y)
    bodies = Body.close((), captured, (inner,)), Body.close((), captured, (add(x, y),))
    return rebuilt_if(p, captured, bodies)


@rules(Soundness.EXACT)
def branch_facts(p: Boolean, c: Many, a: Attr) -> Equations:
    """if not p then f else g = if p then g else f; if p then f(p) else g(p) = if p then f(true)…"""
    yield Rule(
        "swapped",
        if_(not_(p), c, attrs=a),
        swapped,
        fires=lambda: _choice(not_(example("bool[]", "p"))),
        misses=lambda: _choice(example("bool[]", "p")),
    )
    yield Rule(
        "told",
        if_(p, c, attrs=a),
        told,
        fires=_nested,
        misses=lambda: _nested(same=False),
    )


CONTROL = known_if + branch_facts + same_if + common_work
