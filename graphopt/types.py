"""The types of values: dtypes, tensors, and the containers that ONNX has besides.

A type is what an op's rule derives from its inputs, nothing else. In a tensor's shape, None stands
for a size that only running tells; `Node.type` shows it as `DimOf(node, axis)`, so that two
unknown sizes are never taken for equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from graphopt.dims import Size

if TYPE_CHECKING:
    import numpy as np


class DType(Enum):
    """An element type of ONNX: (name, code in TensorProto.DataType, bits an element, kind).

    Kinds are NumPy's: b bool, i signed, u unsigned, f float, c complex, S string. The name is that
    of NumPy or ml_dtypes. Sub-byte elements take a byte each in memory and are packed in files.
    """

    FLOAT32 = ("float32", 1, 32, "f")
    UINT8 = ("uint8", 2, 8, "u")
    INT8 = ("int8", 3, 8, "i")
    UINT16 = ("uint16", 4, 16, "u")
    INT16 = ("int16", 5, 16, "i")
    INT32 = ("int32", 6, 32, "i")
    INT64 = ("int64", 7, 64, "i")
    STRING = ("string", 8, 0, "S")
    BOOL = ("bool", 9, 8, "b")
    FLOAT16 = ("float16", 10, 16, "f")
    FLOAT64 = ("float64", 11, 64, "f")
    UINT32 = ("uint32", 12, 32, "u")
    UINT64 = ("uint64", 13, 64, "u")
    COMPLEX64 = ("complex64", 14, 64, "c")
    COMPLEX128 = ("complex128", 15, 128, "c")
    BFLOAT16 = ("bfloat16", 16, 16, "f")
    FLOAT8E4M3FN = ("float8_e4m3fn", 17, 8, "f")
    FLOAT8E4M3FNUZ = ("float8_e4m3fnuz", 18, 8, "f")
    FLOAT8E5M2 = ("float8_e5m2", 19, 8, "f")
    FLOAT8E5M2FNUZ = ("float8_e5m2fnuz", 20, 8, "f")
    UINT4 = ("uint4", 21, 4, "u")
    INT4 = ("int4", 22, 4, "i")
    FLOAT4E2M1 = ("float4_e2m1fn", 23, 4, "f")
    FLOAT8E8M0 = ("float8_e8m0fnu", 24, 8, "f")
    UINT2 = ("uint2", 25, 2, "u")
    INT2 = ("int2", 26, 2, "i")

    def __init__(self, label: str, code: int, bits: int, kind: str) -> None:
        self.label = label
        self.code = code
        self.bits = bits
        self.kind = kind

    def __str__(self) -> str:
        return self.label

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        """The dtype of arrays in memory (object for strings)."""
        import numpy as np

        if self is DType.STRING:
            return np.dtype(object)
        if self.label in _NUMPY_LABELS:
            return np.dtype(self.label)
        import ml_dtypes

        made: np.dtype[Any] = np.dtype(getattr(ml_dtypes, self.label))
        return made

    @property
    def is_integer(self) -> bool:
        return self.kind in "iu"

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_numeric(self) -> bool:
        return self.kind in "iufc"


_NUMPY_LABELS = frozenset(
    "float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64"
    " complex128".split()
)
BY_LABEL = {dtype.label: dtype for dtype in DType}
BY_CODE = {dtype.code: dtype for dtype in DType}


def dtype_of(kind: object) -> DType:
    """The DType of a DType, a name, or anything that numpy.dtype takes.

    Raises TypeError for a dtype that tensors cannot have.
    """
    if isinstance(kind, DType):
        return kind
    if isinstance(kind, str) and kind in BY_LABEL:
        return BY_LABEL[kind]
    import numpy as np

    return _of_numpy(np.dtype(kind))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


@lru_cache(maxsize=256)  # NumPy works a dtype's name out anew each time
def _of_numpy(dtype: np.dtype[Any]) -> DType:
    if dtype.kind in "OUST":
        return DType.STRING
    if dtype.name in BY_LABEL:
        return BY_LABEL[dtype.name]
    raise TypeError(f"tensors of dtype {dtype} are not supported")


Known = tuple[Any, ...]
"""The elements of a small tensor as far as they are known: numbers, `Dim`s, None if not known."""

MAX_KNOWN = 64
"""Tensors of more elements have no `known` content in their type."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """A tensor: dtype, shape (None: unknown rank), and the known elements of a small integer one.

    `shape` holds ints, `Dim`s and None (a size that only running tells). `known` lists the elements
    in C order; it lets Shape, Gather, Concat and Reshape be understood without static shapes.

    >>> print(TensorType(DType.FLOAT32, (2, None)))
    float32[2, ?]
    """

    dtype: DType
    shape: tuple[Size | None, ...] | None
    known: Known | None = None

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)

    @property
    def is_static(self) -> bool:
        """Whether all sizes are numbers."""
        return self.shape is not None and all(type(size) is int for size in self.shape)

    def with_shape(self, shape: Iterable[Size | None] | None) -> TensorType:
        """The same dtype with another shape, and nothing known of the elements."""
        return TensorType(self.dtype, None if shape is None else tuple(shape))

    def with_dtype(self, dtype: DType) -> TensorType:
        """The same shape with another dtype, and nothing known of the elements."""
        return TensorType(dtype, self.shape)

    def with_known(self, known: Iterable[Any] | None) -> TensorType:
        """The same type with its elements, dropped where there are too many or none is known."""
        if known is None:
            return self
        elements = tuple(known)
        useful = len(elements) <= MAX_KNOWN and (
            not elements or any(element is not None for element in elements)
        )
        return replace(self, known=elements if useful else None)

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype}[...]"
        sizes = ("?" if size is None else str(size) for size in self.shape)
        return f"{self.dtype}[{', '.join(sizes)}]"


@dataclass(frozen=True, slots=True)
class SequenceType:
    """A list of values of one type."""

    element: Type

    def __str__(self) -> str:
        return f"sequence({self.element})"


@dataclass(frozen=True, slots=True)
class OptionalType:
    """A value of a type, or none."""

    element: Type

    def __str__(self) -> str:
        return f"optional({self.element})"


@dataclass(frozen=True, slots=True)
class MapType:
    """A mapping from keys of a dtype to values of a type (ai.onnx.ml)."""

    key: DType
    element: Type

    def __str__(self) -> str:
        return f"map({self.key}, {self.element})"


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A version of something with state: a variable, a random generator, a communicator."""

    kind: str

    def __str__(self) -> str:
        return f"resource({self.kind})"


@dataclass(frozen=True, slots=True)
class TupleType:
    """The outputs of a node that has several. No type rule takes one: a value is `Out(node, i)`."""

    elements: tuple[Type, ...]

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.elements))})"


@dataclass(frozen=True, slots=True)
class UnknownType:
    """The type of an opaque op's output of which its model says nothing."""

    def __str__(self) -> str:
        return "unknown"


@dataclass(frozen=True, slots=True)
class AbsentType:
    """The type of an optional input that is left out."""

    def __str__(self) -> str:
        return "absent"


Type = (
    TensorType
    | SequenceType
    | OptionalType
    | MapType
    | ResourceType
    | TupleType
    | UnknownType
    | AbsentType
)
UNKNOWN = UnknownType()
ABSENT = AbsentType()


def map_shapes(kind: Type, change: Callable[[TensorType], TensorType]) -> Type:
    """`kind` with every tensor type in it changed."""
    if isinstance(kind, TensorType):
        return change(kind)
    if isinstance(kind, SequenceType | OptionalType | MapType):
        return replace(kind, element=map_shapes(kind.element, change))
    if isinstance(kind, TupleType):
        return TupleType(tuple(map_shapes(element, change) for element in kind.elements))
    return kind
