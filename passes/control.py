"""Control flow that is decided: an If with a known predicate is the branch that it takes."""

from __future__ import annotations

from graphopt.body import Body
from graphopt.ir import Node
from graphopt.ops.control import if_
from graphopt.rewriting import Attr, Const, Equations, Many, Rule, Soundness, rules
from graphopt.rewriting.examples import example, filled
from graphopt.structural import out, out_op


def taken(node: Node, index: int) -> Node:
    """One output of the branch that an If with a constant predicate takes."""
    predicate = node.inputs[0].constant
    assert predicate is not None
    branch: Body = node.attrs["then_branch" if predicate.element else "else_branch"]
    return branch.open(node.inputs[1:])[1][index]


def _choice(predicate: Node, outputs: int = 1) -> Node:
    x, y = example("float32[3]", "x"), example("float32[3]", "y")
    then_branch = Body.close((), (x, y), (x, y)[:outputs])
    else_branch = Body.close((), (x, y), (y, x)[:outputs])
    made: Node = if_(
        predicate, x, y, then_branch=then_branch, else_branch=else_branch, outputs=outputs
    )
    return made


@rules(Soundness.EXACT)
def known_if(p: Const, c: Many, a: Attr, i: Attr) -> Equations:
    """if true then f else g = f"""
    yield Rule(
        "single",
        if_(p, c, attrs=a),
        lambda root: taken(root, 0),
        fires=lambda: _choice(filled(1, dtype="bool")),
        misses=lambda: _choice(example("bool[]", "p")),
    )
    yield Rule(
        "several",
        out_op(if_(p, c, attrs=a), index=i),
        lambda root, i: taken(root.inputs[0], i),
        fires=lambda: out(_choice(filled(0, dtype="bool"), outputs=2), 1),
        misses=lambda: out(_choice(example("bool[]", "p"), outputs=2), 1),
    )


CONTROL = known_if
