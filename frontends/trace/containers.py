"""Lists, dicts and sets from outside, as a traced function sees them: read, but not written.

A write would be made once, while tracing, and not at each call.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphopt.frontends.trace.record import Recorder

LIST = (
    "append clear extend insert pop remove reverse sort __setitem__ __delitem__ __iadd__ __imul__"
).split()
DICT = "clear pop popitem setdefault update __setitem__ __delitem__ __ior__".split()
ORDERED = [*DICT, "move_to_end"]
SET = (
    "add clear difference_update discard intersection_update pop remove symmetric_difference_update"
    " update __iand__ __ior__ __isub__ __ixor__"
).split()


def _refusing(name: str, kind: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise self.trace.fail(
            f"changing a {kind} from outside the function ({name.strip('_')}) is not supported yet",
            "The function is traced once, so this would be done once, not at each call.",
            f"Change a copy, {kind}(x), and return it.",
        )

    return method


def _reduced(kind: Any) -> Callable[..., Any]:
    def reduce(self: Any, protocol: Any) -> Any:
        return kind, (kind(self),)

    return reduce


def _captured(kind: Any, writers: Iterable[str]) -> type:
    members: dict[str, Any] = {name: _refusing(name, kind.__name__) for name in writers}
    members["__graphopt_original__"] = kind

    def copied(self: Any, *_: Any) -> Any:
        return kind(self)

    members.update(copy=copied, __copy__=copied, __deepcopy__=copied)
    members["__reduce_ex__"] = _reduced(kind)
    return type(kind.__name__, (kind,), members)


CAPTURED: dict[type, Any] = {
    list: _captured(list, LIST),
    dict: _captured(dict, DICT),
    OrderedDict: _captured(OrderedDict, ORDERED),
    set: _captured(set, SET),
}


def captured(trace: Recorder, kind: type, content: Any) -> Any:
    """A list, dict or set with this content, which cannot be changed."""
    shell = CAPTURED[kind]
    if kind is OrderedDict:
        base: Any = OrderedDict
        made = shell()  # filled by its base: the constructor would write by __setitem__
        for key, value in content:
            base.__setitem__(made, key, value)
    else:
        made = shell(content)
    made.trace = trace
    return made
