"""What a journal says later than it was so: read ahead, and acted on in time. Pure.

A scheduler that leads forgets tasks by itself, as when a worker dies. That it did
stands in its journal only behind what was on its way there by then; but it says up to
which operation it had acted. Whoever follows does the same there: so both do all in one
order, and what was asked for after that is asked for after that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from dtf_dask.durable import operations
from dtf_dask.durable.operations import Operation, decode_operation, kind_of
from dtf_dask.standby.journal import Batch, term_begins

KINDS = frozenset((operations.VOID, operations.KEEPS))
"""Operations whose body ends with the time of the last one acted on before them."""


class _Later(NamedTuple):
    term: int
    """Number of the first record of the term: it was not so in a term before."""
    upto_s: float
    place: tuple[int, int]
    operation: Operation


class Early:
    """What is still to be acted on, of all that was read.

    Examples
    --------
    >>> from dtf_dask.durable.operations import RELEASE, VOID, encode_operation
    >>> void = encode_operation(VOID, "c-1", ("x",), 1.0)
    >>> other = encode_operation(RELEASE, "c-1", ("y",))
    >>> early = Early()
    >>> len(early.read(Batch(7, 1, 1.0, (other, other, void), (1.0, 2.0, 3.0))))
    1
    >>> list(early.before((7, 0), 1.0))
    []
    >>> [one.body for one in early.before((7, 1), 2.0)]
    [(('x',), 1.0)]
    >>> list(early.before((7, 2), 3.0))
    []
    """

    def __init__(self) -> None:
        self._later: deque[_Later] = deque()

    def read(self, batch: Batch) -> list[Operation]:
        """What stands in a batch, before it, or what was before it, is acted on."""
        found = []
        for place, packed in enumerate(batch.operations):
            if kind_of(packed) in KINDS:
                operation = decode_operation(packed)
                upto_s: float = operation.body[-1]
                where = batch.number, place
                term = term_begins(batch.number)
                self._later.append(_Later(term, upto_s, where, operation))
                found.append(operation)
        return found

    def before(self, place: tuple[int, int], at_s: float) -> Iterator[Operation]:
        """What was so before the operation at a place, which was written at a time.

        Each is answered once, and at its own place at the latest.
        """
        later = self._later
        while later and (
            (later[0].term <= place[0] and later[0].upto_s < at_s)
            or later[0].place <= place
        ):
            yield later.popleft().operation
