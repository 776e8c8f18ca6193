"""A function known by its name, as cases from files have them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from dtf_dask.annotations import nearest
from dtf_dask.errors import UsageError


@dataclass(frozen=True, slots=True)
class ImportedFunction:
    """A function known by name, imported where and when it is called.

    So a file of cases is read without importing the code under test, and the case
    travels as two words.
    """

    module: str
    attribute: str

    def resolve(self) -> Callable[..., Any]:
        """Import the module and return the function.

        Raises
        ------
        UsageError
            If the module has no such callable. What importing it raises passes through.
        """
        found: Any = import_module(self.module)
        for part in self.attribute.split("."):
            try:
                found = getattr(found, part)
            except AttributeError:
                names = [name for name in dir(found) if not name.startswith("_")]
                raise UsageError(
                    f"{self.module} has no {self.attribute!r}{nearest(part, names)}"
                ) from None
        if not callable(found):
            raise UsageError(f"{self} is no function but {type(found).__name__}")
        function: Callable[..., Any] = found
        return function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.resolve()(*args, **kwargs)

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute}"
