"""What each rewrite of Grappler is here: by its public name, our rules and passes, or why none.

The names are those of the classes and methods in `tensorflow/core/grappler`, TensorFlow 2.21. Rules
and passes are named as `graphopt-opt --list-rules` and `--list-passes` name them; `*` stands for
any part of a name.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A rewrite: its number, what Grappler calls it, what does it here, and what is to be said."""

    key: str
    name: str
    by: str = ""
    why: str = ""


VARIABLES = "a graph has no variables: what a program writes to is an input and an output of it"
GRADIENTS = "a graph has no gradient operators of its own"
DEVICES = "a graph is of one device; a backend places what it runs"
CONTROLS = "there are no control edges: what a value needs are its operands, and effects are values"
STRINGS = "no operator turns numbers into strings"

ARITHMETIC = (
    Row("1.1.1", "AddOpsRewriteStage", "chains.* trees.* join-sums",
        "a tree of float additions keeps its order but in fast mode; integers have no n-ary sum"),
    Row("1.1.2", "FoldConjugateIntoTranspose", "undone_behind.conjugate_* conjugates.twice",
        "ONNX has no conjugate transpose, so the two stay two nodes"),
    Row("1.1.3", "FoldMultiplyIntoConv", "scales.* conv_inputs.mul"),
    Row("1.1.4", "FoldTransposeIntoMatMul", "gemm_transposes.*"),
    Row("1.1.5", "HoistCommonFactorOutOfAggregation", "integer_factors.factor_* "
        "float_factors.factor_* float_factors.divisor_* scaled_sums.*"),
    Row("1.1.6", "MinimizeBroadcasts", "integer_factors.small_* float_factors.small_*"),
    Row("1.1.7", "RemoveIdentityTranspose", "transposes.* transposes"),
    Row("1.1.8", "RemoveInvolution", "involutions.* undone_behind.* conjugates.twice "
        "fast_quotients.twice"),
    Row("1.1.9", "RemoveRedundantBitcastStage", "casts.bits casts.own_bits"),
    Row("1.1.10", "RemoveRedundantCastStage", "same.cast casts.cast"),
    Row("1.1.11", "ReplacePackWithTileReshape", "beside.concat expands.tile"),
    Row("1.1.12", "ReplaceMulWithBroadcastByTile", "enlarging.*"),
    Row("1.1.13", "ReduceUpsamplingDims", "pixels.* expands.tile"),
    Row("1.1.14", "RemoveRedundantReshapeOrBroadcastTo", "same.reshape same.expand row_major.*"),
    Row("1.1.15", "RemoveNegationStage", "negation.*"),
    Row("1.1.16", "ReplaceMulWithSquare", "", "ONNX has no Square: x * x is its form"),
    Row("1.1.17", "RemoveLogicalNotStage", "negated.*"),
    Row("1.1.18", "ReorderCastLikeAndValuePreserving", "transposes slices.unary early.gather "
        "concats.unary row_major.reshape_unary"),
    Row("1.1.19", "SimplifyAggregation", "multiples.* short_sums.*"),
    Row("1.1.20", "HoistCWiseUnaryChainsStage", "concats.unary splits"),
    Row("1.1.21", "SqrtDivToRsqrtMulStage", "", "ONNX has no Rsqrt"),
    Row("1.1.22", "RemoveIdempotentStage", "idempotent.* same.identity"),
    Row("1.1.23", "ConvertPowStage", "powers.* zeroth_power.* neutral.pow_one longer_powers.* "
        "integer_powers.*"),
    Row("1.1.24", "ConvertLog1pStage", "accurate.log1p lengthen"),
    Row("1.1.25", "LogSoftmaxStage", "spelled_out.log_softmax"),
    Row("1.1.26", "OptimizeMaxOrMinOfMonotonicStage", "rectified.* rounded.* increasing.* "
        "positions.*"),
    Row("1.1.27", "ConvertExpm1Stage", "accurate.expm1* lengthen"),
    Row("1.1.28", "UnaryOpsComposition", "fuse"),
    Row("1.1.29", "RemoveStackSliceSameAxis", "gathers.concat slices_of.concat"),
    Row("1.1.30", "SimplifyEmbeddingLookupStage", "duplicates.*"),
    Row("1.1.31", "RemoveCastIntoSegmentReductionStage", "indices.*"),
    Row("1.1.32", "FuseSquaredDiffStage", "powers.square fuse",
        "ONNX has no SquaredDifference: the difference and its product are fused"),
)  # fmt: skip

FOLDING = (
    Row("1.2.MaterializeShapes", "MaterializeShapes", "fold reshape_targets.* sizes"),
    Row("1.2.MaterializeConstantValuedNode", "MaterializeConstantValuedNode", "fold"),
    Row("1.2.MaterializeOutputValues", "MaterializeOutputValues", "fold reshape_targets.*",
        "types carry the elements of shapes as far as they are known, symbols among them"),
    Row("1.2.MaterializeBroadcastGradientArgs", "MaterializeBroadcastGradientArgs", "", GRADIENTS),
    Row("1.2.MaterializeReductionIndices", "MaterializeReductionIndices", "fold"),
    Row("1.2.FoldGraph", "FoldGraph, FoldNode", "fold"),
    Row("1.2.RemoveSplitOrSplitV", "RemoveSplitOrSplitV", "whole.split"),
    Row("1.2.RemoveShuffleOrTranspose", "RemoveShuffleOrTranspose", "still_transposes.* "
        "transposes"),
    Row("1.2.RemoveRandomShuffle", "RemoveRandomShuffle", "", "ONNX has no operator that shuffles"),
    Row("1.2.RemoveReverse", "RemoveReverse", "slices.bounds slices.slice"),
    Row("1.2.SimplifySlice", "SimplifySlice", "whole.slice slices.*"),
    Row("1.2.SimplifyStridedSlice", "SimplifyStridedSlice", "whole.slice slices.*"),
    Row("1.2.SimplifyTile", "SimplifyTile", "same.tile"),
    Row("1.2.SimplifyPad", "SimplifyPad", "whole.pad pads.*"),
    Row("1.2.SimplifySqueeze", "SimplifySqueeze", "still.squeeze"),
    Row("1.2.SimplifyPack", "SimplifyPack", "whole.concat"),
    Row("1.2.MoveConstantsPastEnter", "MoveConstantsPastEnter", "kept_value.* kept_state.* loops"),
    Row("1.2.SimplifySwitch", "SimplifySwitch", "branch_facts.told"),
    Row("1.2.SimplifyReduction", "SimplifyReduction", "reduce_trivial.*"),
    Row("1.2.SimplifyReshape", "SimplifyReshape", "same.reshape"),
    Row("1.2.SimplifyArithmeticOperations", "SimplifyArithmeticOperations",
        "neutral.* enlarging.* logic.* negation.zero_minus reciprocals.one_over "
        "integer_products.zero integer_absorbing.* float_absorbing.* quotients.zero_*"),
    Row("1.2.ReduceDivToReciprocalMul", "ReduceDivToReciprocalMul",
        "powers_of_two.quotient fast_quotients.by_constant"),
    Row("1.2.ConstantPushDown", "ConstantPushDown", "integer_sums.* float_sums.* "
        "integer_products.* float_products.* powers_of_two.* constant_quotients.* differences.* "
        "push_down.*",
        "of floats where the combined constant is exact and nothing can cancel"),
    Row("1.2.MulConvPushDown", "MulConvPushDown", "affine.conv_* scales.*"),
    Row("1.2.PartialConstPropThroughIdentityN", "PartialConstPropThroughIdentityN",
        "same.identity", "there is no IdentityN: a value that is passed on is that value"),
    Row("1.2.PartialAssocOpConstFolding", "PartialAssocOpConstFolding",
        "constant_summands.* integer_constants_last.* float_constants_last.*"),
    Row("1.2.MergeConcat", "MergeConcat", "nested.concat"),
    Row("1.2.PartialConcatConstFolding", "PartialConcatConstFolding", "concats.constants"),
    Row("1.2.ConstantPushDownBiasAdd", "ConstantPushDownBiasAdd", "affine.*_add gemm_terms.*"),
    Row("1.2.SimplifyCase", "SimplifyCase", "known_if.*"),
    Row("1.2.SimplifySelect", "SimplifySelect", "choices.* still.where"),
    Row("1.2.RemoveRedundantVariableUpdates", "RemoveRedundantVariableUpdates", "", VARIABLES),
)  # fmt: skip

FUSION = (
    Row("1.3.FindContractionWithBias", "FindContractionWithBias, FindContractionWithBiasInPort",
        "gemm_terms.* affine.*_add fuse"),
    Row("1.3.FindContractionWithBiasAndActivation", "FindContractionWithBiasAndActivation", "fuse"),
    Row("1.3.FindConvWithSqueezeAndBias", "FindConvWithSqueezeAndBias", "moved_affine.squeeze_*"),
    Row("1.3.FindConv2DWithBatchNorm", "FindConv2DWithBatchNorm, ...AndActivation",
        "affine.*_batch_norm fuse", "statistics that are constants go into the weights"),
    Row("1.3.FindFusedBatchNorm", "FindFusedBatchNorm", "affine.norm_* conv_inputs.batch_norm",
        "alone it stays one node, which is less than a product and a sum"),
    Row("1.3.FindFusedBatchNormEx", "FindFusedBatchNormEx", "fuse"),
    Row("1.3.FindFusedBatchNormGradEx", "FindFusedBatchNormGradEx", "", GRADIENTS),
    Row("1.3.FindTensorToHashBucket", "FindTensorToHashBucket", "", STRINGS),
    Row("1.3.FindContractionWithBiasAddAndAdd",
        "FindContractionWithBiasAddAndAdd, FindContractionWithBiasAndAddActivation", "fuse"),
    Row("1.3.FindPadWithConv3D", "FindPadWithConv3D", "paddings.*"),
    Row("1.3.FindFusedConvWithFusedActivation", "FindFusedConvWithFusedActivation", "fuse"),
    Row("1.3.FindConv2DSwish", "FindConv2DSwish, FindSigmoidAndMul", "swishes.* fuse"),
    Row("1.3.FindSoftplusAndTanhAndMul", "FindSoftplusAndTanhAndMul", "mishes.*"),
    Row("1.3.FindHardSwish", "FindHardSwish, FindContractionWithBiasAddAndHardSwish",
        "hard_swishes.* hard_sigmoids.* gates.*", "constants must be those of the function"),
    Row("1.3.FindMatMulBiasAddAndGelu", "FindMatMulBiasAddAndGelu", "gelu_erf.* gelu_tanh.* fuse"),
    Row("1.3.FindMatMulBiasMulAddElu", "FindMatMulBiasMulAddElu", "fuse"),
    Row("1.3.FindMulAndMaximum", "FindMulAndMaximum", "rectifiers.leaky leaky_relus.*",
        "for factors from 0 to 1 only"),
    Row("1.3.FindFusedBatchMatMul", "FindFusedBatchMatMul", "attentions.* fuse"),
    Row("1.3.FindMklLayerNorm", "FindMklLayerNorm", "layer_norm*.* rms_norm*.* group_norm.*"),
    Row("1.3.FindInstanceNorm", "FindInstanceNorm, FindInstanceNormWithActivation",
        "instance_norm.* fuse"),
)  # fmt: skip

LAYOUT = (
    Row("1.4.Choice", "GetSrcAndDstDataFormats", "layout transposes",
        "a file's operators have one layout; for a backend it is chosen by what it costs"),
    Row("1.4.Algorithm", "GenericLayoutOptimizer", "transposes",
        "all transposes are moved, those of the model too, by a minimum cut over their cost"),
    Row("1.4.Sensitive", "LayoutSensitiveOpTransposer", "layout transposes"),
    Row("1.4.Agnostic", "LayoutAgnosticOpTransposer", "transposes"),
    Row("1.4.Extras", "DataFormatVecPermute, DataFormatDimMap", "transposes fold",
        "axes and shapes are permuted as constants"),
    Row("1.4.Skips", "Transposer::ShouldProcess", "transposes",
        "what is not understood is not moved"),
    Row("1.4.WeakSpots", "Transposer::UpdateFanoutEdgesWithOp", "transposes",
        "scalars and vectors are aligned with the axes that they are broadcast along"),
)  # fmt: skip

STRUCTURE = (
    Row("1.5.CSE.merge", "CommonSubgraphElimination", "commuted dedup",
        "equal nodes are one object; nodes that draw numbers are never equal"),
    Row("1.5.Dependency.transitive", "DependencyOptimizer: TransitiveReduction", "", CONTROLS),
    Row("1.5.Dependency.const", "DependencyOptimizer: controls of constants", "", CONTROLS),
    Row("1.5.Dependency.convert", "DependencyOptimizer: SafeToConvertToNoOp", "prune",
        "what nobody takes is not in the graph"),
    Row("1.5.Dependency.bypass", "DependencyOptimizer: BypassingNodeIsBeneficial", "same.identity"),
    Row("1.5.Dependency.group", "DependencyOptimizer: GroupCrossDeviceControlEdges", "", CONTROLS),
    Row("1.5.Pruner.dce", "ModelPruner: transitive fan-in", "prune splits"),
    Row("1.5.Pruner.split_identity_n", "ModelPruner: SplitIdentityNInputs", "prune",
        "there is no IdentityN"),
    Row("1.5.Pruner.trivial", "ModelPruner: trivial nodes", "same.identity same.dropout"),
    Row("1.5.Shape.prod", "ShapeOptimizer: size of a shape", "reduce_trivial.size"),
    Row("1.5.Shape.ratio", "ShapeOptimizer: ratio of sizes", "sizes.ratio"),
    Row("1.5.DebugStripper", "DebugStripper", "strip-debug",
        "ONNX has no operators that assert, check or print: those that are named, and texts"),
    Row("1.5.Function.inline", "FunctionOptimizer: InlineFunctionCalls", "",
        "functions are inlined where a model is read and where Python is traced"),
    Row("1.5.Function.lower", "FunctionOptimizer: lowering to Switch and Merge", "",
        "If, Loop and Scan are run as they stand"),
    Row("1.5.Function.specialise", "FunctionOptimizer: SpecializeFunction", "prune",
        "what is inlined is specialized; captures that no body needs go"),
    Row("1.5.Function.library", "FunctionOptimizer: unreachable functions", "prune",
        "bodies are attributes of nodes, and go with them"),
    Row("1.5.Loop.licm", "LoopOptimizer: LoopInvariantNodeMotionOptimizer", "loops"),
    Row("1.5.Loop.stack", "LoopOptimizer: RemoveStackOps", "loops",
        "a loop's outputs that nobody takes are not stacked"),
    Row("1.5.Loop.dead_branch", "LoopOptimizer: RemoveDeadBranches", "known_if.* same_if.*"),
    Row("1.5.Loop.zero_trip", "LoopOptimizer: while loops that never run",
        "zero_trips.* empty_scan.*"),
    Row("1.5.Memory.relax", "MemoryOptimizer: RelaxAllocatorConstraints", "", VARIABLES),
    Row("1.5.Memory.recompute", "MemoryOptimizer: RecomputationRewritingPass", "", GRADIENTS),
    Row("1.5.Memory.schedule_addn", "MemoryOptimizer: SchedulingPass", "",
        "the numpy backend plans its memory, and adds in place"),
    Row("1.5.Memory.swap", "MemoryOptimizer: SwappingPass", "", DEVICES),
    Row("1.5.AMP", "AutoMixedPrecision", "mixed"),
    Row("1.5.PinToHost", "PinToHostOptimizer", "", DEVICES),
    Row("1.5.ScopedAllocator", "ScopedAllocatorOptimizer", "", DEVICES),
    Row("1.5.ImplementationSelector", "ImplementationSelector", "",
        "a backend has one kernel for an operator"),
    Row("1.5.AutoParallel", "AutoParallel", "", DEVICES),
    Row("1.5.TFG", "the passes of TFG", "prune loops commuted common_work.*",
        "constants of branches stand in them; what both branches compute stands before them"),
    Row("1.5.TfData", "the passes of tf.data", "", "a graph holds no pipeline of data sets"),
    Row("1.5.Inference", "BatchOpRewriter", "", "requests are batched by whoever serves a model"),
    Row("1.5.Custom", "custom and plug-in optimizers", "",
        "graphopt.optimize takes any passes, graphopt.passes holds no list to be added to"),
)  # fmt: skip

TABLES = {
    "Arithmetic": ARITHMETIC,
    "Constant folding": FOLDING,
    "Fusion": FUSION,
    "Layout": LAYOUT,
    "Whole graph": STRUCTURE,
}
