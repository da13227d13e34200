"""Names of nodes that last: equal for equal nodes, in every process and on every machine."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from graphopt.body import Body
from graphopt.ir import Node, walk
from graphopt.tensor import Tensor

SIZE = 12
"""Bytes of a fingerprint: two of 10^9 nodes are alike with a chance below 10^-10."""


class Fingerprints:
    """The fingerprints of nodes, remembered for as long as this lives.

    That of a node depends on its op, its attributes by kind and bits, and on all that it is
    computed from; the content of constants is read.
    """

    def __init__(self) -> None:
        self._known: dict[Node | Body, bytes] = {}

    def __call__(self, node: Node) -> str:
        """The fingerprint of a node in hexadecimal digits."""
        for item in walk(self._unknown(node)):
            if item not in self._known:
                self._known[item] = self._made(item)
        return self._known[node].hex()

    def _unknown(self, node: Node) -> Iterator[Node]:
        if node not in self._known:
            yield node

    def _made(self, node: Node) -> bytes:
        state = blake2b(f"{node.op.domain}::{node.op.name}".encode(), digest_size=SIZE)
        for item in node.inputs:
            state.update(self._known[item])
        for name in sorted(node.attrs):
            state.update(name.encode() + b"\0" + self._attribute(node.attrs[name]))
        return state.digest()

    def _attribute(self, value: Any) -> bytes:
        if isinstance(value, Tensor):
            return value.digest()
        if isinstance(value, Body):
            if value not in self._known:
                state = blake2b(f"{value.params}{value.captures}".encode(), digest_size=SIZE)
                for output in value.outputs:
                    state.update(bytes.fromhex(self(output)))
                self._known[value] = state.digest()
            return self._known[value]
        if isinstance(value, float):
            return b"f" + struct.pack("<d", value)
        if isinstance(value, tuple):
            return b"(" + b",".join(map(self._attribute, value)) + b")"  # pyright: ignore[reportUnknownArgumentType]
        return f"{type(value).__name__} {value}".encode()
