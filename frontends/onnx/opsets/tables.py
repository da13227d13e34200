"""The steps between opsets, for every op and version that changed more than dtypes.

In UPGRADES a row is (opset, step to its form from the one before), oldest first; in LOWERINGS
(opset, step from its form to the one before), newest first. An op that is called otherwise after a
step goes on in the row of its new name. Versions that need no step are in `unchanged`.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphopt.frontends.onnx.opsets import (
    inputs,
    modes,
    normalization,
    quantization,
    resize,
    scan,
)
from graphopt.frontends.onnx.opsets.early import EARLY
from graphopt.frontends.onnx.opsets.steps import (
    Lowering,
    Upgrade,
    all_counted_from_front,
    chain,
    counted_from_front,
    dilations_are_ones,
    ignores,
    renamed,
    requires,
    to_attribute,
    to_input,
)

SOFTMAXES = ("Hardmax", "LogSoftmax", "Softmax")
REDUCTIONS = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
)

LATER: Mapping[str, tuple[tuple[int, Upgrade], ...]] = {
    "Attention": ((25, modes.heads_of_inputs),),
    "BatchNormalization": (
        (9, normalization.normalize_by_channel),
        (14, normalization.normalize_without_training),
    ),
    "Clip": ((11, inputs.clip_bounds),),
    "ConvTranspose": ((11, modes.spatial_output_shape),),
    "DFT": ((20, inputs.dft_axis),),
    "Dropout": ((10, inputs.dropout_mask), (12, inputs.dropout_ratio)),
    "GridSample": ((20, modes.sampling_mode),),
    "GroupNormalization": ((21, normalization.scale_by_channel),),
    "Pad": ((11, inputs.pad_inputs),),
    "ReduceSum": ((13, to_input("axes", 1)),),
    "Resize": (
        (11, resize.resize_coordinates),
        (13, resize.resize_inputs),
        (18, resize.resize_without_half_pixel_for_nn),
    ),
    "RoiAlign": ((16, modes.align_to_corners),),
    "Scan": ((9, scan.scan_batches),),
    "Scatter": ((11, renamed("ScatterElements")),),
    "Slice": ((10, inputs.slice_inputs),),
    "Split": ((13, to_input("split", 1)), (18, inputs.split_counted)),
    "Squeeze": ((13, to_input("axes", 1)), (23, inputs.axes_vector)),
    "TopK": ((10, to_input("k", 1)),),
    "Unsqueeze": ((13, to_input("axes", 1)), (23, inputs.axes_vector)),
    "Upsample": ((9, resize.upsample_scales), (11, resize.upsample_resized)),
    **dict.fromkeys(SOFTMAXES, ((13, normalization.one_axis),)),
    **dict.fromkeys(REDUCTIONS, ((18, to_input("axes", 1)),)),
}
UPGRADES: Mapping[str, tuple[tuple[int, Upgrade], ...]] = {
    name: (*EARLY.get(name, ()), *LATER.get(name, ())) for name in {**LATER, **EARLY}
}

from_front = counted_from_front()
layout = (14, requires(layout=0))
arg_axis = ((12, requires(select_last_index=0)), (11, from_front))
block_order = requires(mode="DCR")
one_shape = (8, modes.inputs_have_one_shape)
axes_attribute = ((13, to_attribute("axes", 1)), (11, all_counted_from_front))
pool_19 = (19, dilations_are_ones)
pool_10 = (10, requires(ceil_mode=0))
scatter = (
    (18, modes.only_these_reductions("none", "add", "mul")),
    (16, requires(reduction="none")),
)

LOWERINGS: Mapping[str, tuple[tuple[int, Lowering], ...]] = {
    "ArgMax": arg_axis,
    "ArgMin": arg_axis,
    "Attention": (
        (25, requires(left_window_size=-1, right_window_size=-1)),
        (24, modes.whole_mask),
    ),
    "AveragePool": (pool_19, pool_10),
    "BatchNormalization": ((14, requires(training_mode=0)),),
    "Cast": ((24, ignores("round_mode")), (19, ignores("saturate"))),
    "CastLike": ((24, ignores("round_mode")), (19, ignores("saturate"))),
    "Clip": ((11, inputs.clip_attributes),),
    "Compress": ((11, from_front),),
    "Concat": ((11, from_front),),
    "DFT": ((20, inputs.dft_attribute),),
    "DepthToSpace": ((11, block_order),),
    "DequantizeLinear": (
        (23, quantization.output_has_dtype_of_scale),
        (21, requires(block_size=0)),
        (13, quantization.scale_is_scalar(1)),
    ),
    "Dropout": ((12, inputs.dropout_inference), (10, inputs.dropout_maskless)),
    "Flatten": ((11, from_front),),
    "GRU": (layout,),
    "Gather": ((11, modes.indices_not_negative),),
    "GatherND": ((12, requires(batch_dims=0)),),
    "Gemm": ((11, modes.bias_is_there),),
    "GridSample": ((20, modes.planar_sampling_mode),),
    "GroupNormalization": ((21, normalization.no_group_normalization),),
    "LSTM": (layout,),
    "Loop": ((11, scan.carries_a_value),),
    "LpPool": ((18, chain(dilations_are_ones, requires(ceil_mode=0))),),
    "Max": (one_shape,),
    "MaxPool": ((10, chain(dilations_are_ones, requires(ceil_mode=0))), (8, modes.values_only)),
    "Mean": (one_shape,),
    "Min": (one_shape,),
    "Mod": ((28, modes.floored_integers),),
    "OneHot": ((11, counted_from_front(extra=1)),),
    "Pad": (
        (19, inputs.pad_does_not_wrap),
        (18, inputs.pad_all_axes),
        (11, inputs.pad_attributes),
    ),
    "Pow": ((12, modes.inputs_have_one_dtype),),
    "QuantizeLinear": (
        (23, quantization.scale_has_dtype_of_input),
        (21, quantization.quantized_dtype),
        (19, ignores("saturate")),
        (13, quantization.scale_is_scalar(1)),
    ),
    "RNN": (layout,),
    "Range": ((27, ignores("stash_type")),),
    "ReduceSum": ((13, inputs.reduce_axes), (11, all_counted_from_front)),
    "Reshape": ((14, modes.zero_copies),),
    "Resize": (
        (19, modes.not_symmetric),
        (
            18,
            chain(
                requires(antialias=0, keep_aspect_ratio_policy="stretch"), resize.resize_all_axes
            ),
        ),
        (13, resize.resize_all_inputs),
        (11, resize.resize_by_scales),
        (10, resize.resize_upsampled),
    ),
    "RoiAlign": ((16, modes.aligned_to_corners),),
    "Scan": ((9, scan.nothing_older),),
    "ScatterElements": (*scatter, (11, renamed("Scatter"))),
    "ScatterND": scatter,
    "Shape": ((15, requires(start=0, end=None)),),
    "Slice": ((11, inputs.slice_forward), (10, inputs.slice_attributes)),
    "SpaceToDepth": ((28, block_order),),
    "Split": ((18, inputs.split_evenly), (13, to_attribute("split", 1)), (11, from_front)),
    "Squeeze": axes_attribute,
    "Sum": (one_shape,),
    "TopK": (
        (11, chain(inputs.topk_largest, from_front)),
        (10, to_attribute("k", 1, single=True)),
    ),
    "Unsqueeze": axes_attribute,
    "Upsample": ((9, resize.upsample_scales_attribute),),
    **dict.fromkeys(SOFTMAXES, ((13, normalization.last_axis), (11, from_front))),
    **dict.fromkeys(REDUCTIONS, ((18, inputs.reduce_axes), (11, all_counted_from_front))),
}
