"""Data movement: what each family of rules makes of the programs that it is there for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from graphopt.ir import Node
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add
from graphopt.ops.conv import conv
from graphopt.ops.functions import cos, exp, neg
from graphopt.ops.indexing import gather
from graphopt.ops.logic import where
from graphopt.ops.padding import pad
from graphopt.ops.reduction import reduce_max
from graphopt.ops.shape import reshape, shape, squeeze, unsqueeze
from graphopt.ops.slicing import concat, slice_, split
from graphopt.passes.movement.gathers import GATHERS
from graphopt.passes.movement.positions import END
from graphopt.passes.movement.splits import Splits
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import constant, graph_input, out, results
from graphopt.types import DType, TensorType
from tests.passes.movement import after, by_rules, graph_of, ops, optimized, values

X = example("float32[4, 6]")
AT = partial(slice_, X)


def one(index: int) -> Node:
    """A scalar position."""
    return constant(np.array(index, np.int64))


def stacked(*values: Node, axis: int = 0) -> Node:
    """Values side by side along a new axis."""
    made: Node = concat(*(unsqueeze(value, ints(axis)) for value in values), axis=axis)
    return made


# Stacks and slices.

ROWS = [example("float32[N, 5]", name) for name in "xyz"]


TAKEN: list[Callable[[Node], Node]] = [
    lambda joint: gather(joint, one(1)),
    lambda joint: gather(joint, one(-2)),
    lambda joint: squeeze(gather(joint, ints(1)), ints(0)),
    lambda joint: squeeze(slice_(joint, ints(1), ints(2), ints(0)), ints(0)),
    lambda joint: squeeze(slice_(joint, ints(-2), ints(-1), ints(0), ints(1)), ints(0)),
    lambda joint: squeeze(out(split(joint, None, outputs=3), 1), ints(0)),
    lambda joint: reshape(slice_(joint, ints(1), ints(2), ints(0)), ints(-1, 5)),
]


@pytest.mark.parametrize("taken", TAKEN)
def test_one_of_a_stack_is_that_one(taken: Callable[[Node], Node]) -> None:
    assert optimized(taken(stacked(*ROWS))).outputs == (ROWS[1],)


def test_of_a_stack_along_the_last_axis_too() -> None:
    joint = stacked(*ROWS, axis=2)
    assert optimized(gather(joint, one(2), axis=2)).outputs == (ROWS[2],)


def test_a_port_of_a_split_is_not_mistaken_for_another() -> None:
    """stack([s, s]) with s = split(x)[1], which Grappler takes for split(x)[0]."""
    second = out(split(X, None, outputs=2), 1)
    made = optimized(stacked(second, second))
    feeds = {X: np.arange(24, dtype=np.float32).reshape(4, 6)}
    np.testing.assert_array_equal(values(made, feeds)[0], np.stack([feeds[X][2:]] * 2))


def test_the_greatest_of_a_port_of_a_split() -> None:
    """max(sigmoid(split(x)[1])), of which Grappler takes split(x)[0]."""
    from graphopt.ops.activation import sigmoid

    x = example("float32[4]")
    made = optimized(reduce_max(sigmoid(out(split(x, None, outputs=2), 1)), keepdims=0))
    feeds = {x: np.array([5, 4, -1, -2], np.float32)}
    assert values(made, feeds)[0] == pytest.approx(0.2689, abs=1e-4)


@pytest.mark.parametrize(
    ("first", "then", "both"),
    [
        ((2, END), (1, 3), (3, 5)),
        ((2, END), (1, END), (3, END)),
        ((1, -1), (1, -2), (2, -3)),
        ((1, 9), (2, END), (3, 9)),
        ((1, 9), (2, 4), (3, 5)),
        ((-5, END), (-2, END), (-2, END)),
        ((-5, END), (0, -2), (-5, -2)),
    ],
)
def test_a_slice_of_a_slice_is_one_whatever_the_size(
    first: tuple[int, int], then: tuple[int, int], both: tuple[int, int]
) -> None:
    x = example("float32[N, 3]")
    inner = slice_(x, ints(first[0]), ints(first[1]), ints(0))
    outer = slice_(inner, ints(then[0]), ints(then[1]), ints(0))
    wanted = slice_(x, ints(both[0]), ints(both[1]), ints(0))
    for size in range(12):
        feeds = {x: np.arange(3 * size, dtype=np.float32).reshape(size, 3)}
        old, new = (values(graph_of(each), feeds)[0] for each in (outer, wanted))
        np.testing.assert_array_equal(old, new)
    made = by_rules(outer)[0]
    if made is not outer:  # where both shapes are one polynomial
        assert made is wanted


def test_a_slice_of_a_slice_of_unknown_size_fires() -> None:
    x = example("float32[N, 3]")
    made = slice_(slice_(x, ints(1), ints(END), ints(0)), ints(2), ints(END), ints(0))
    assert by_rules(made) == (slice_(x, ints(3), ints(END), ints(0)),)


def test_slices_of_slices_by_chance() -> None:
    rng = np.random.default_rng(0)
    fired = 0
    for trial in range(300):
        size = int(rng.integers(0, 9))
        x = graph_input("x", TensorType(DType.INT32, (size, 2)))
        value = x
        for _ in range(2):
            start, end = (int(n) for n in rng.integers(-10, 11, 2))
            step = int(rng.choice([1, 1, 2, -1, -2, 3]))
            value = slice_(value, ints(start), ints(end), ints(0), ints(step))
        (made,) = by_rules(value)
        feeds = {x: np.arange(2 * size, dtype=np.int32).reshape(size, 2)}
        old, new = (values(graph_of(each), feeds)[0] for each in (value, made))
        np.testing.assert_array_equal(old, new, err_msg=f"trial {trial}")
        fired += made is x or made.inputs[0] is x
    assert fired == 300, "of a known size two slices are always one"


def test_reversed_twice_is_not_reversed() -> None:
    x = example("float32[N, M]")
    once = slice_(x, ints(-1, -1), ints(-END, -END), ints(0, 1), ints(-1, -1))
    twice = slice_(once, ints(-1, -1), ints(-END, -END), ints(0, 1), ints(-1, -1))
    assert optimized(twice).outputs == (x,)


def test_a_slice_of_a_concatenation_is_of_an_operand() -> None:
    x, y = example("float32[N, 3]"), example("float32[M, 3]", "y")
    joint = concat(x, y, axis=0)
    n, m = (gather(shape(each), ints(0)) for each in (x, y))
    assert optimized(slice_(joint, n, add(n, m), ints(0))).outputs == (y,)
    assert optimized(slice_(joint, ints(0), n, ints(0))).outputs == (x,)


def test_positions_that_are_known_but_no_constants() -> None:
    position = reshape(shape(example("float32[3]", "z")), ints())  # a 3, before it is folded
    two = concat(example("float32[2, 4]"), example("float32[2, 4]", "y"), axis=0)
    (made,) = by_rules(gather(two, position, axis=0), rules=GATHERS)
    assert made is gather(example("float32[2, 4]", "y"), constant(1), axis=0)


def test_what_reaches_into_two_operands_stays() -> None:
    x, y = example("float32[2, 3]"), example("float32[4, 3]", "y")
    made = optimized(slice_(concat(x, y, axis=0), ints(1), ints(4), ints(0)))
    assert ops(made) == {"Concat": 1, "Slice": 1}


def test_a_slice_of_everything_of_unknown_rank() -> None:
    x = graph_input("x", TensorType(DType.FLOAT32, None))
    assert by_rules(slice_(x, ints(0), ints(END), ints(2))) == (x,)
    assert by_rules(slice_(x, ints(1), ints(END), ints(2)))[0] is not x


def test_a_slice_of_everything_of_a_size_that_may_seem_negative() -> None:
    x = conv(example("float32[1, 3, N]"), weights(4, 3, 2))
    assert by_rules(slice_(x, ints(0), ints(END), ints(2), ints(1))) == (x,)
    backwards = slice_(x, ints(0), ints(END), ints(2), ints(2))
    assert optimized(backwards).outputs[0].shape == backwards.shape


def test_the_border_is_cut_off_again() -> None:
    bordered = pad(X, ints(1, 2, 3, 4), filled(7.0))
    assert optimized(slice_(bordered, ints(1, 2), ints(5, 8), ints(0, 1))).outputs == (X,)
    made = optimized(slice_(bordered, ints(1, 1), ints(END, END), ints(0, 1)))
    assert ops(made) == {"Pad": 1}


def test_less_is_computed_where_less_is_taken() -> None:
    made = optimized(slice_(exp(neg(X)), ints(1), ints(3), ints(0)))
    assert made.outputs[0].op is exp
    assert made.outputs[0].shape == (2, 6)


def test_what_a_convolution_takes_in_stays_beside_it() -> None:
    x = relu(conv(example("float32[1, 3, 8, 8]"), weights(4, 3, 1, 1)))
    made = slice_(x, ints(1), ints(3), ints(1))
    assert by_rules(made) == (made,)


# Splits and concatenations.


def test_parts_put_together_again() -> None:
    parts = results(split(X, ints(1, 2, 1), outputs=3))
    assert optimized(concat(*parts, axis=0)).outputs == (X,)
    swapped = concat(parts[1], parts[0], parts[2], axis=0)
    assert ops(optimized(swapped)) == {"Split": 1, "Concat": 1}


def test_slices_that_part_a_value_are_a_split() -> None:
    made = optimized(neg(AT(ints(0), ints(1), ints(0))), exp(AT(ints(1), ints(9), ints(0))))
    assert ops(made)["Split"] == 1
    assert "Slice" not in ops(made)


def test_slices_stay_where_they_are_to_be_told_as_such() -> None:
    pair = AT(ints(0), ints(1), ints(0)), AT(ints(1), ints(4), ints(0))
    assert ops(after(*pair, passes=[Splits(join=False)])) == {"Slice": 2}


def test_slices_with_a_gap_or_an_overlap_stay() -> None:
    for second in (1, 3):
        made = optimized(AT(ints(0), ints(2), ints(0)), AT(ints(second), ints(4), ints(0)))
        assert ops(made) == {"Slice": 2}


def test_one_part_of_a_split_is_a_slice() -> None:
    made = optimized(neg(out(split(X, ints(1, 3), outputs=2), 1)))
    assert ops(made) == {"Slice": 1, "Neg": 1}


def test_a_part_that_proves_the_size_of_the_whole_stays() -> None:
    x = example("float32[N, 4]")
    (made,) = optimized(out(split(x, ints(0, 4, 1), outputs=3), 2)).outputs
    assert made.shape == (1, 4)


def test_what_is_done_to_each_part_is_done_before() -> None:
    x = example("float32[6, N]")
    made = optimized(*(exp(cos(part)) for part in results(split(x, None, outputs=3))))
    assert ops(made) == {"Cos": 1, "Exp": 1, "Split": 1}


def test_what_is_done_to_some_parts_stays() -> None:
    a, b = results(split(X, None, outputs=2))
    assert ops(optimized(exp(a), b)) == {"Exp": 1, "Split": 1}
    assert ops(optimized(exp(a), cos(b))) == {"Exp": 1, "Cos": 1, "Split": 1}
    assert ops(optimized(exp(a), exp(b), a)) == {"Exp": 2, "Split": 1}


def test_heads_of_queries_keys_and_values() -> None:
    parts = results(split(example("float32[1, N, 3072]"), None, axis=2, outputs=3))
    made = optimized(*(exp(reshape(part, ints(1, 0, 16, 64))) for part in parts))
    assert ops(made) == {"Exp": 1, "Reshape": 1, "Split": 1}


def test_chains_over_a_concatenation() -> None:
    xs = [example("float32[2, N]", name) for name in "xyz"]
    made = optimized(concat(*(exp(cos(x)) for x in xs), axis=1))
    assert ops(made) == {"Cos": 1, "Exp": 1, "Concat": 1}


def test_a_chain_that_others_take_stays() -> None:
    x, y = example("float32[2, N]"), example("float32[2, N]", "y")
    made = optimized(concat(exp(x), exp(y), axis=0), exp(x))
    assert ops(made)["Exp"] == 2


def test_constants_side_by_side_are_one() -> None:
    (made,) = by_rules(concat(ints(1), ints(2), example("int64[N]"), ints(3), ints(4), axis=0))
    assert [item.ints for item in made.inputs if item.constant] == [(1, 2), (3, 4)]


def test_where_of_a_constant_mask_over_a_concatenation() -> None:
    n = example("int64[1]")
    target = where(
        constant([True, False, True]), ints(1, 1, 1), concat(ints(-1), n, ints(-1), axis=0)
    )
    assert by_rules(target) == (concat(ints(1), n, ints(1), axis=0),)
