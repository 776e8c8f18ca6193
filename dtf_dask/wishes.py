"""What `Client.submit` and `Client.map` are told of a task, as Dask's annotations."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import distributed
from dask.base import annotate, get_annotations

from dtf_dask.annotations import validate

WISHES = (
    *("hardware", "prefer", "memory", "gpus", "exclusive", "gang"),
    *("priority_class", "tenant", "deadline", "on_late", "timeout"),
    *("after", "on_upstream_failure"),
)
"""The keywords of `Client.submit` and `Client.map` that become annotations."""

_Method = TypeVar("_Method", bound=Callable[..., Any])


def takes_wishes(method: _Method) -> _Method:
    """Show Dask's parameters and our keywords to help() and to completion."""
    dasks = getattr(distributed.Client, method.__name__)
    signature = inspect.signature(dasks)
    *front, rest = signature.parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    wishes = [inspect.Parameter(name, keyword, default=None) for name in WISHES]
    shown = signature.replace(parameters=[*front, *wishes, rest])
    method.__signature__ = shown  # type: ignore[attr-defined]
    return method


@contextlib.contextmanager
def annotated(
    func: Callable[..., Any], kwargs: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], list[distributed.Future]]]:
    """Annotate what is submitted.

    Gives what is left for Dask and the function, and the futures that are waited for.
    """
    own = _parameters(func) if not kwargs.keys().isdisjoint(WISHES) else frozenset()
    ours = {key: kwargs[key] for key in WISHES if key in kwargs and key not in own}
    arguments = {key: value for key, value in kwargs.items() if key not in ours}
    awaited: list[distributed.Future] = []
    if ours.get("after") is not None:
        some = several(ours["after"])
        awaited = [one for one in some if isinstance(one, distributed.Future)]
        ours["after"] = [key_of(one) for one in some]
    if isinstance(words := ours.get("on_upstream_failure"), Mapping):
        ours["on_upstream_failure"] = {key_of(one): words[one] for one in words}
    enclosing = get_annotations().get("dtf")
    if not ours and enclosing is None:
        yield arguments, awaited
        return
    # Each is checked by itself first: the inner one wins under either of its names.
    plain = {**validate(enclosing or {}, where="dask.annotate: "), **validate(ours)}
    with annotate(dtf=plain):
        yield arguments, awaited


def several(futures: Any) -> list[Any]:
    """Futures or keys, as a list. A tuple that begins with a text may be a key."""
    if isinstance(futures, str | distributed.Future) or not isinstance(
        futures, Iterable
    ):
        return [futures]
    return list(futures)


def key_of(future: Any) -> Any:
    """The key of a future, or of what is one already."""
    return future.key if isinstance(future, distributed.Future) else future


def keep(futures: Iterable[Any], awaited: list[distributed.Future]) -> None:
    """A future that nobody holds is released, and its task would never run."""
    for future in futures if awaited else ():
        future._dtf_after = awaited


def _parameters(func: Callable[..., Any]) -> frozenset[str]:
    """The parameters that a function names itself and a caller may give by name."""
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):  # some written in C do not tell
        return frozenset()
    bound = set(func.keywords) if isinstance(func, functools.partial) else set()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind in named and name not in bound
    )


def class_of(annotations: Mapping[str, Any]) -> str | None:
    """The priority class that Dask's annotations name, under either of its names."""
    ours = annotations.get("dtf")
    if not isinstance(ours, Mapping):
        return None
    found = ours.get("priority_class") or ours.get("class")
    return found if isinstance(found, str) else None
