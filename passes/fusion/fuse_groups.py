"""Which nodes are fused for being neighbours: epilogues of contractions, element-wise groups.

A group has one root, the only node of it that others use; nothing in it is used elsewhere. So no
path leaves a group and comes back, and to fuse it makes no cycle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.ops.fused import fused
from graphopt.types import TensorType

CONTRACTIONS = frozenset(
    (
        "Conv ConvTranspose Gemm MatMul MatMulIntegerToFloat DynamicQuantizeMatMul"
        " ConvIntegerToFloat DequantizeMatMul"
    ).split()
)
"""What takes an epilogue: ops, and kinds of what is fused already."""
NORMS = frozenset({"BatchNormalization", "InstanceNormalization"})
"""What takes one as well, of what contractions have left."""
PER_CHANNEL = frozenset({("", "BatchNormalization")})
MAX_EPILOGUE = 16
MAX_GROUP = 256
"""The most nodes in a group: more would be no faster, and their kinds are names for people."""
JOIN = "+"
"""Stands between the ops in the kind of a group; the kinds of idioms are plain names."""
SHOWN = 8
"""How many ops the kind of a group names."""


@dataclass
class Groups:
    """Disjoint groups of nodes, by their roots; members stand in topological order."""

    members: dict[Node, list[Node]] = field(default_factory=dict[Node, list[Node]])
    root_of: dict[Node, Node] = field(default_factory=dict[Node, Node])

    def add(self, members: list[Node]) -> None:
        """A group; its last member is its root."""
        root = members[-1]
        self.members[root] = members
        self.root_of.update(dict.fromkeys(members, root))


def groups_of(nodes: Sequence[Node], roots: Sequence[Node]) -> Groups:
    """The groups among nodes in topological order; `roots` are used from outside."""
    users: dict[Node, list[Node | None]] = {}
    for node in nodes:
        for item in dict.fromkeys(node.inputs):
            users.setdefault(item, []).append(node)
    for node in roots:
        users.setdefault(node, []).append(None)  # who takes the outputs is in no group
    made = Groups()
    _add_epilogues(made, nodes, users, CONTRACTIONS)
    _add_epilogues(made, nodes, users, NORMS)
    _add_elementwise(made, nodes, users)
    return made


Users = Mapping[Node, list[Node | None]]


def _add_epilogues(
    made: Groups, nodes: Sequence[Node], users: Users, heads: frozenset[str]
) -> None:
    """A contraction or norm and what is done, element by element, to its result alone."""
    for node in nodes:
        if name_of(node) not in heads or node in made.root_of:
            continue
        members = [node]
        while len(members) < MAX_EPILOGUE:
            last = members[-1]
            others = users.get(last, [])
            user = others[0] if len(others) == 1 else None
            if user is None or user in made.root_of or not _may_follow(last, user):
                break
            members.append(user)
        if len(members) > 1:
            made.add(members)


def _may_follow(last: Node, user: Node) -> bool:
    """Whether what is done to a contraction's result so far may be followed by a node."""
    if user.op.key in PER_CHANNEL:
        return user.inputs[0] is last
    return is_elementwise(user) and same_shape(user, last)


def _add_elementwise(made: Groups, nodes: Sequence[Node], users: Users) -> None:
    """Element-wise nodes whose results are used by other nodes of their group alone."""
    group: dict[Node, Node] = {}
    sizes: dict[Node, int] = {}
    for node in reversed(nodes):
        if node in made.root_of or not is_elementwise(node):
            continue
        roots = {user and group.get(user) for user in users.get(node, [None])}
        root = roots.pop() if len(roots) == 1 else None
        if root is None or sizes[root] >= MAX_GROUP or not same_shape(node, root):
            root = node
        group[node] = root
        sizes[root] = sizes.get(root, 0) + 1
    found: dict[Node, list[Node]] = {}
    for node in nodes:
        if node in group:
            found.setdefault(group[node], []).append(node)
    for members in found.values():
        if len(members) > 1:
            made.add(members)


def is_elementwise(node: Node) -> bool:
    """Whether a node computes numbers element by element; what is a shape stays in sight."""
    kind = node.derived_type
    if not isinstance(kind, TensorType) or kind.known is not None or kind.dtype.kind not in "biuf":
        return False
    if node.op is fused:
        return all(is_step(item) for item in node.attrs["body"].outputs)
    return node.op.facts.elementwise and bool(node.inputs)


def is_step(root: Node) -> bool:
    """Whether a value in a body is computed element by element from the parameters."""
    pending, seen = [root], {root}
    for node in pending:
        if node.inputs and not is_elementwise(node):
            return False
        for item in node.inputs:
            if item not in seen:
                seen.add(item)
                pending.append(item)
    return True


def name_of(node: Node) -> str:
    """What a node is called in the kind of a group: its op, or its own kind."""
    return node.attrs.get("kind") or node.op.name if node.op is fused else node.op.name


def is_group(node: Node) -> bool:
    """Whether a node is neighbours that were fused, not an idiom."""
    return node.op is fused and JOIN in (node.attrs.get("kind") or "")


def kind_of(members: Sequence[Node]) -> str:
    """The kind of a group: its ops in order, joined; of a long one the first."""
    names = [name_of(node) for node in members]
    if len(names) > SHOWN:
        names = [*names[:SHOWN], f"{len(names) - SHOWN} more"]
    return JOIN.join(names)
