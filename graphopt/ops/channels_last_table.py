"""The ops that have a form for either layout of images."""

from __future__ import annotations

from collections.abc import Mapping

from graphopt.op import Op
from graphopt.ops import channels_last, channels_last_norms
from graphopt.ops.conv import conv
from graphopt.ops.conv_transpose import conv_transpose
from graphopt.ops.movement import depth_to_space, space_to_depth
from graphopt.ops.normalization import (
    batch_normalization,
    group_normalization,
    instance_normalization,
)
from graphopt.ops.norms import lrn
from graphopt.ops.pool import average_pool, max_pool

LAST: Mapping[Op, Op] = {
    conv: channels_last.conv_last,
    conv_transpose: channels_last.conv_transpose_last,
    max_pool: channels_last.max_pool_last,
    average_pool: channels_last.average_pool_last,
    batch_normalization: channels_last_norms.batch_normalization_last,
    instance_normalization: channels_last_norms.instance_normalization_last,
    group_normalization: channels_last_norms.group_normalization_last,
    lrn: channels_last_norms.lrn_last,
    depth_to_space: channels_last_norms.depth_to_space_last,
    space_to_depth: channels_last_norms.space_to_depth_last,
}
"""Ops of images with channels first, and the same with channels last."""
FIRST: Mapping[Op, Op] = {last: first for first, last in LAST.items()}
