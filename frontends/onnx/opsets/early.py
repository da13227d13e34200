"""The steps up to opset 7, the oldest that is written: so are models of opsets 1 to 6 read.

Operators were broadcast by an attribute, told apart training and inference by another, and named
the inputs that they were allowed to overwrite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import TensorProto

from graphopt.errors import TypeRuleError, UnsupportedError
from graphopt.frontends.onnx.call import Call
from graphopt.frontends.onnx.opsets.steps import (
    Upgrade,
    Upgraded,
    given,
    ints,
    node,
    setting,
    shape_of,
    to_input,
    with_input,
    without,
)
from graphopt.ir import Node

SELU = {"alpha": 1.6732, "gamma": 1.0507}
"""What Selu's attributes were by default; they have more digits since."""
OVERWRITING: Sequence[str] = (
    "Abs Add BatchNormalization Ceil Clip Div Dropout Elu Exp Floor HardSigmoid"
    " InstanceNormalization LeakyRelu Log Max Mean Min Mul Neg PRelu Reciprocal Relu Selu Sigmoid"
    " Sqrt Sub Sum Tanh"
).split()
BROADCAST: Sequence[str] = "Add And Div Equal Greater Less Mul Or Pow Sub Xor".split()
RECURRENT: Sequence[str] = "GRU LSTM RNN".split()


def overwrites_nothing(call: Call) -> Call:
    """Since opset 6 no operator says which inputs it may overwrite."""
    if call.op_type == "Selu":
        call = setting(call, **{**SELU, **call.attributes})
    return without(call, "consumed_inputs")


def aligned(call: Call) -> Call:
    """Before opset 7 the second operand was broadcast if so told, from an axis of the first on."""
    axis = call.attributes.get("axis") if call.attributes.get("broadcast") else None
    made = without(call, "axis", "broadcast")
    return made if axis is None else with_input(made, 1, _behind(call.inputs, axis))


def slope_by_channel(call: Call) -> Call:
    """Before PRelu 7 a slope of one axis was that of the channels."""
    x, slope = (shape_of(value) for value in call.inputs)
    if slope is None or x is None:
        raise UnsupportedError("the ranks are not known")
    if len(slope) != 1 or len(x) < 2:
        return call
    return with_input(call, 1, _behind(call.inputs, 1))


def _behind(operands: tuple[Node, ...], axis: int) -> Node:
    """The second operand, its first axis laid on an axis of the first, by axes of size 1 behind."""
    first, second = (shape_of(value) for value in operands)
    if first is None or second is None:
        raise UnsupportedError("the ranks are not known")
    free = len(first) - axis % max(len(first), 1) - len(second)
    if free < 0:
        raise TypeRuleError(f"from axis {axis} on, {len(second)} axes do not fit in {len(first)}")
    new = ints(*range(len(second), len(second) + free))
    return node("Unsqueeze", operands[1], new) if free else operands[1]


def inferring(call: Call) -> Call:
    """Before opset 7 an attribute told inference from training, which was the default."""
    if not call.attributes.get("is_test"):
        raise UnsupportedError("it is in training mode: is_test is 0")
    return without(call, "is_test")


def numbers_of(call: Call, position: int) -> tuple[int, ...] | None:
    """The content of an input that became an attribute."""
    value = given(call, position)
    if value is None:
        return None
    held = value.ints if value.constant is None else value.constant.array.reshape(-1).tolist()
    if held is None:
        raise UnsupportedError("what became an attribute is not constant")
    return tuple(map(int, held))


def split_sizes(call: Call) -> Call:
    """Split 1 took the sizes as an input, too."""
    sizes = numbers_of(call, 1)
    return call if sizes is None else setting(with_input(call, 1, None), split=sizes)


def tile_every_axis(call: Call) -> Call:
    """Tile 1 repeated along one axis."""
    shape, tiles, axis = shape_of(call.inputs[0]), numbers_of(call, 1), numbers_of(call, 2)
    if shape is None or not tiles or not axis:
        raise UnsupportedError("the rank is not known")
    repeats = [1] * len(shape)
    repeats[axis[0]] = tiles[0]
    return with_input(with_input(call, 2, None), 1, ints(*repeats))


def dtype_by_code(call: Call) -> Call:
    """Cast 1 named the dtype."""
    codes = dict(TensorProto.DataType.items())
    code = codes.get(name := call.attributes["to"])
    if code is None:
        raise TypeRuleError(f"attribute 'to' is {name!r:.40}, which is no dtype")
    return setting(call, to=code)


def whole_power(call: Call) -> Call:
    """Before opset 2 the p of a norm was a float, 2.0 by default."""
    p = call.attributes.get("p", 2.0)
    if p != int(p):
        raise UnsupportedError(f"p is {p}")
    return setting(call, p=int(p))


def padded(call: Call) -> Call:
    """Pad 2: `paddings` are called `pads`."""
    return setting(without(call, "paddings"), pads=call.attributes["paddings"])


def joined_channels(call: Call) -> Call:
    """Before Concat 4 the axis was 1 by default."""
    return setting(call, axis=call.attributes.get("axis", 1))


def shape_given(call: Call) -> Upgraded:
    """Reshape 5: the shape is an input."""
    return to_shape(without(call, "consumed_inputs"))


to_shape = to_input("shape", 1)


def scales_listed(call: Call) -> Call:
    """Upsample 7: the scales of all axes in one list."""
    height, width = (call.attributes[name] for name in ("height_scale", "width_scale"))
    mode = {"bilinear": "linear"}.get(call.attributes.get("mode", "nearest"), "nearest")
    made = without(call, "height_scale", "width_scale")
    return setting(made, scales=(1.0, 1.0, height, width), mode=mode)


def last_state_only(call: Call) -> Call:
    """Since opset 7 the outputs alone say which of them are wanted."""
    return without(call, "output_sequence")


def bias_broadcast(call: Call) -> Call:
    """Since Gemm 7 the bias is broadcast without being told."""
    return without(call, "broadcast")


STEPS: tuple[tuple[int, Upgrade, Sequence[str]], ...] = (
    (2, padded, ["Pad"]),
    (2, split_sizes, ["Split"]),
    (2, whole_power, ["GlobalLpPool", "LpPool"]),
    (4, joined_channels, ["Concat"]),
    (5, shape_given, ["Reshape"]),
    (6, overwrites_nothing, OVERWRITING),
    (6, dtype_by_code, ["Cast"]),
    (6, tile_every_axis, ["Tile"]),
    (7, aligned, BROADCAST),
    (7, inferring, ["BatchNormalization", "Dropout"]),
    (7, bias_broadcast, ["Gemm"]),
    (7, slope_by_channel, ["PRelu"]),
    (7, last_state_only, RECURRENT),
    (7, scales_listed, ["Upsample"]),
)

EARLY: Mapping[str, tuple[tuple[int, Upgrade], ...]] = {
    name: tuple((opset, step) for opset, step, names in STEPS if name in names)
    for name in dict.fromkeys(name for _, _, names in STEPS for name in names)
}
"""(opset, step to its form from the one before) by operator, oldest first."""
