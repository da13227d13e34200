"""Policy: which rewrites run, in which order; imported as `graphopt.passes`."""

if __name__ == "passes":
    raise ImportError("import it as graphopt.passes: loaded twice, its classes would differ")

from collections.abc import Mapping

from graphopt.passes.fold import DedupConstants, FoldConstants
from graphopt.passes.prune import Prune
from graphopt.passes.simplify import AFFINE, SIMPLIFICATIONS, FoldAffine, Simplify
from graphopt.pipeline import Pass, UntilStable
from graphopt.rewriting.rule import RuleSet

O0: tuple[Pass, ...] = ()
O1: tuple[Pass, ...] = (Prune(), UntilStable((Simplify(), FoldConstants())))
O2: tuple[Pass, ...] = (
    Prune(),
    UntilStable((Simplify(), FoldConstants(), Prune(), FoldAffine())),
    DedupConstants(),
)
O3: tuple[Pass, ...] = (
    Prune(),
    UntilStable((Simplify(), FoldConstants(max_bytes=1 << 20), Prune(), FoldAffine())),
    DedupConstants(),
)

PIPELINES: Mapping[str, tuple[Pass, ...]] = {"O0": O0, "O1": O1, "O2": O2, "O3": O3}
PASSES: Mapping[str, type[Pass]] = {
    kind.name: kind for kind in (Prune, Simplify, FoldConstants, DedupConstants, FoldAffine)
}
RULES: RuleSet = SIMPLIFICATIONS + AFFINE
