"""Which ops gain by half the bits, which bear it, and which do not care.

An op in none of the lists is denied and keeps its dtype: long sums and products, functions that are
steep or periodic, and whatever is not known.
"""

from __future__ import annotations

from typing import Literal

from graphopt.types import DType

Kind = Literal["allow", "infer", "deny", "clear"]

ALLOW = frozenset(
    "Attention Conv ConvTranspose Einsum Gemm MatMul".split()
)  # fmt: skip
"""Products of many elements, which take most of the time: they gain, and sum in more bits."""

INFER = frozenset(
    "Add AveragePool BatchNormalization Celu Div Elu Gelu GlobalAveragePool GroupNormalization"
    " HardSigmoid HardSwish InstanceNormalization LayerNormalization LeakyRelu Mean Mish Mul PRelu"
    " RMSNormalization Reciprocal RotaryEmbedding Selu Shrink Sigmoid Softmax Softplus Softsign"
    " Sqrt Sub Sum Swish Tanh ThresholdedRelu".split()
)
"""Ops that bear it, but would not pay for casts: they follow what is around them."""

CLEAR = frozenset(
    "Abs Ceil Clip Compress Concat DepthToSpace Equal Expand Flatten Floor Gather GatherElements"
    " GatherND GlobalMaxPool Greater GreaterOrEqual Identity Less LessOrEqual Max MaxPool Min Neg"
    " Pad ReduceMax ReduceMin Relu Reshape ReverseSequence ScatterElements ScatterND Sign Slice"
    " SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze Where".split()
)
"""Ops that round nothing: moves, choices and comparisons."""

BEARABLE = frozenset({"ReduceMean", "ReduceSum"})
"""Ops that overflow in float16 but not in bfloat16: there they follow what is around them."""


def kind_of(name: str, dtype: DType) -> Kind:
    """The list that an op of the standard domain is in for a dtype."""
    if name in ALLOW:
        return "allow"
    if name in INFER or (dtype is DType.BFLOAT16 and name in BEARABLE):
        return "infer"
    return "clear" if name in CLEAR else "deny"
