"""Losses of classifiers: the negative log-likelihood, and the cross entropy of a softmax.

Labels outside 0..C-1, other than `ignore_index`, are the caller's mistake: ONNX gives them no
meaning.
"""

from __future__ import annotations

from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Xp, op, refuse
from graphopt.ops.checks import (
    check_dtype,
    check_rank,
    check_rank_from,
    float_dtype,
    one_size,
    size_at,
)
from graphopt.ops.dtypes import INDICES
from graphopt.ops.examples import given
from graphopt.ops.kernels import wide
from graphopt.ops.softmax import log_softmax_of
from graphopt.structural import constant
from graphopt.types import DType, TensorType, Type

REDUCTIONS = ("none", "sum", "mean")


def likelihood_loss(
    xp: Xp,
    logs: Array,
    labels: Array,
    weights: Array | None,
    ignore_index: int | None,
    reduction: str,
) -> Array:
    """-logs[n, labels[n, d], d] * weights[labels[n, d]], 0 where a label is ignored, reduced."""
    if labels.shape != logs.shape[:1] + logs.shape[2:]:
        raise ValueError(f"labels of shape {labels.shape} for scores of shape {logs.shape}")
    if weights is not None and weights.shape[0] != logs.shape[1]:
        raise ValueError(f"{weights.shape[0]} weights for {logs.shape[1]} classes")
    counted = None if ignore_index is None else labels != ignore_index
    if counted is not None:
        labels = xp.where(counted, labels, xp.zeros_like(labels))
    loss = -xp.take_along_axis(logs, xp.expand_dims(labels, 1), axis=1).reshape(labels.shape)
    weight = xp.ones_like(loss) if weights is None else xp.take(weights, labels, axis=0)
    if counted is not None:
        weight = xp.where(counted, weight, xp.zeros_like(weight))
        loss = xp.where(counted, loss, xp.zeros_like(loss))
    loss = loss * weight
    if reduction == "none":
        return loss
    total = xp.sum(loss)
    return total if reduction == "sum" else total / xp.sum(weight)


def loss_type(scores: Node, labels: Node, weights: Node | None, reduction: str) -> TensorType:
    """The type of a loss over scores (N, C, D1, ...) and labels (N, D1, ...)."""
    float_dtype(scores, weights)
    check_dtype(labels, INDICES, "labels")
    check_rank_from(scores, 2)
    check_rank(weights, (1,), "weights")
    one_size("the number of classes", size_at(scores, 1), size_at(weights, 0))
    if reduction not in REDUCTIONS:
        raise refuse(f"reduction is {reduction!r}")
    shape: tuple[Size, ...] | None = labels.shape
    if scores.shape is not None:
        wanted = (scores.shape[0], *scores.shape[2:])
        check_rank(labels, (len(wanted),), "labels")
        for size, size2 in zip(wanted, shape or wanted, strict=True):
            one_size("an axis of the labels", size, size2)
        shape = shape if shape is not None else wanted
    return TensorType(scores.dtype, shape if reduction == "none" else ())


@op("NegativeLogLikelihoodLoss")
def negative_log_likelihood_loss(
    xp: Xp,
    logs: Array,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Array:
    """-logs[n, target[n, d], d] for log-probabilities (N, C, D1, ...) and labels (N, D1, ...).

    `weight` (C) scales each class. Reduced to its sum, or its (weighted) mean, or not ("none").
    """
    dtype = logs.dtype
    logs, weight = wide(xp, logs, weight)
    return likelihood_loss(xp, logs, target, weight, ignore_index, reduction).astype(dtype)


@negative_log_likelihood_loss.infer
def _(
    logs: Node, target: Node, weight: Node | None, *, ignore_index: int | None, reduction: str
) -> Type:
    return loss_type(logs, target, weight, reduction)


@op("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy_loss(
    xp: Xp,
    scores: Array,
    labels: Array,
    weights: Array | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
    outputs: int = 1,
) -> Array:
    """The negative log-likelihood of labels (N, D1, ...) under softmax(scores) (N, C, D1, ...).

    Outputs: the loss, the log-probabilities, which have the shape of the scores.
    """
    dtype = scores.dtype
    scores, weights = wide(xp, scores, weights)
    logs = log_softmax_of(xp, scores, 1)
    loss = likelihood_loss(xp, logs, labels, weights, ignore_index, reduction).astype(dtype)
    return (loss, logs.astype(dtype)) if outputs == 2 else loss


@softmax_cross_entropy_loss.infer
def _(
    scores: Node,
    labels: Node,
    weights: Node | None,
    *,
    ignore_index: int | None,
    reduction: str,
    outputs: int,
) -> Type | tuple[Type, ...]:
    loss = loss_type(scores, labels, weights, reduction)
    if outputs not in (1, 2):
        raise refuse(f"{outputs} outputs")
    return (loss, TensorType(scores.dtype, scores.shape)) if outputs == 2 else loss


@negative_log_likelihood_loss.examples
def _() -> list[Node]:
    labels, deep = constant([0, 2, 1]), constant([[0, 2], [1, 1]], DType.INT32)
    x, y, w = given("x", 3, 3), given("x", 2, 3, 2), given("w", 3)
    loss = negative_log_likelihood_loss
    made = [loss(x, labels, weight, reduction=r) for r in REDUCTIONS for weight in (None, w)]
    made += [loss(y, deep, w, reduction=r, ignore_index=1) for r in REDUCTIONS]
    return [*made, loss(x, constant([0, -100, 2]), ignore_index=-100), loss(y, deep)]


@softmax_cross_entropy_loss.examples
def _() -> list[Node]:
    labels, deep = constant([0, 2, 1]), constant([[0, 2], [1, 1]], DType.INT32)
    x, y, w = given("x", 3, 3), given("x", 2, 3, 2), given("w", 3)
    loss = softmax_cross_entropy_loss
    made = [loss(x, labels, weight, reduction=r) for r in REDUCTIONS for weight in (None, w)]
    made += [loss(y, deep, w, reduction=r, ignore_index=1, outputs=2) for r in REDUCTIONS]
    return [*made, loss(x, constant([0, -100, 2]), ignore_index=-100)]
