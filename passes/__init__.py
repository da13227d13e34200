"""Policy: which rewrites run, in which order; imported as `graphopt.passes`."""

if __name__ == "passes":
    raise ImportError("import it as graphopt.passes: loaded twice, its classes would differ")

from collections.abc import Mapping

from graphopt.passes.algebra.commuted import Commuted
from graphopt.passes.algebra.longer import LONGER, Lengthen
from graphopt.passes.algebra.nary import NARY
from graphopt.passes.branches.choices import MergeChoices
from graphopt.passes.branches.loop_motion import Loops
from graphopt.passes.branches.ranks import DemandedRanks
from graphopt.passes.contractions.parallel import MergeProducts
from graphopt.passes.contractions.scale_parts import ScaleParts
from graphopt.passes.fold import DedupConstants, FoldConstants
from graphopt.passes.fusion.fuse import IDIOMS, Fuse, OpenGroups
from graphopt.passes.layout.layout import Layout
from graphopt.passes.movement.sizes import Sizes
from graphopt.passes.movement.splits import Splits
from graphopt.passes.movement.transposes import STILL_TRANSPOSES, Transposes
from graphopt.passes.precision.mixed import Mixed
from graphopt.passes.prune import Prune
from graphopt.passes.saturate import Saturate
from graphopt.passes.simplify import (
    CONTRACTIONS,
    SIMPLIFICATIONS,
    FoldAffine,
    JoinSums,
    Simplify,
)
from graphopt.passes.strip import StripDebug
from graphopt.pipeline import Pass, UntilStable
from graphopt.rewriting.rule import RuleSet


def rounds(max_bytes: int = 1 << 16, unroll: int = 32) -> tuple[Pass, ...]:
    """The passes that are run until none finds anything."""
    return (
        Simplify(),
        FoldConstants(max_bytes),
        Prune(),
        Loops(unroll),
        FoldAffine(),
        ScaleParts(),
        Commuted(),
        MergeChoices(),
        Sizes(),
        DemandedRanks(),
        Transposes(),
    )


LAST: tuple[Pass, ...] = (
    DedupConstants(),
    MergeProducts(),
    Fuse(groups=False),  # idioms are told by the very nodes that the next two would change
    Splits(),
    JoinSums(),
)


def pipeline(passes: tuple[Pass, ...], *more: Pass) -> tuple[Pass, ...]:
    """Passes until none finds anything; the same among those that find less and `more`; fusion.

    Whoever optimizes the result finds it as the last round left it, and does nothing.
    """
    return (OpenGroups(), UntilStable(passes), UntilStable((*LAST, *passes, *more)), Fuse())


O0: tuple[Pass, ...] = ()
O1: tuple[Pass, ...] = (UntilStable((Prune(), Simplify(), FoldConstants())),)
O2 = pipeline(rounds())
O3 = pipeline(rounds(max_bytes=1 << 20, unroll=256), Saturate(optional=True))

PIPELINES: Mapping[str, tuple[Pass, ...]] = {"O0": O0, "O1": O1, "O2": O2, "O3": O3}
PASSES: Mapping[str, type[Pass]] = {
    kind.name: kind
    for kind in (
        Commuted,
        DedupConstants,
        DemandedRanks,
        FoldAffine,
        FoldConstants,
        Fuse,
        JoinSums,
        Layout,
        Lengthen,
        Loops,
        MergeChoices,
        MergeProducts,
        Mixed,
        OpenGroups,
        Prune,
        Saturate,
        ScaleParts,
        Simplify,
        Sizes,
        Splits,
        StripDebug,
        Transposes,
    )
}
OPT_IN = frozenset({Mixed.name, StripDebug.name})
"""Passes that change what a graph promises (precision, operators that look on): only by name."""
RULES: RuleSet = SIMPLIFICATIONS + CONTRACTIONS + NARY + STILL_TRANSPOSES + IDIOMS + LONGER
"""All the rules of the passes, each once."""
