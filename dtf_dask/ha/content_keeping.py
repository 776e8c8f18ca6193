"""Contents on the disks of a majority, before anything in the log refers to them.

Whoever has a content offers it to all that vote, and counts those that say that it is
on their disks. A leader does that anew in each term, for each command that names one:
what it has not heard itself it does not propose.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dtf_dask.errors import DtfError
from dtf_dask.ha.content_fetching import Fetching
from dtf_dask.ha.content_holders import Holders, is_majority, other_voters
from dtf_dask.ha.elapsed import elapsed_s
from dtf_dask.ha.ledger.entries import references_in
from dtf_dask.ha.ledger.outcomes import Outcome, not_done
from dtf_dask.ha.ledger.references import Reference
from dtf_dask.ha.proposing import Waiter
from dtf_dask.ha.raft.messages import NodeId

if TYPE_CHECKING:
    from dtf_dask.ha.node import Node

CONFIRM_S = 30.0
"""How long commands wait for the contents that they name."""

_CONFIRMING_MAX = 1_000  # contents; those of one call may be more
_OFFERS_AT_ONCE = 8  # to one peer


class Keeping:
    """Has contents kept by a majority.

    Parameters
    ----------
    node
        Whose contents, and for which proposals.
    fetching
        Gets what other nodes have.
    """

    def __init__(self, node: Node, fetching: Fetching) -> None:
        self._node = node
        self._fetching = fetching
        self._store = node.folder.contents
        self._holders = Holders(node.options.content_keep_s / 2)
        self._offers: dict[tuple[Reference, NodeId], asyncio.Task[str]] = {}
        self._turns: dict[NodeId, asyncio.Semaphore] = {}
        self._confirming: dict[asyncio.Task[None], Waiter] = {}
        self._unsure = 0
        self._tasks: set[asyncio.Task[str]] = set()

    def is_kept(self, reference: Reference) -> bool:
        """Whether a majority is known to keep a content, for a while from now on."""
        node = self._node
        holders = self._holders.of(reference, elapsed_s())
        if self._is_here(reference):
            self._store.touch(reference.digest)
            holders.add(node.node)
        return is_majority(node.raw.status().config, holders)

    async def keep(self, reference: Reference, timeout_s: float) -> str:
        """Have a majority keep a content; why it does not, empty if it does."""
        problems: list[str] = []
        try:
            async with asyncio.timeout(timeout_s):
                while not self.is_kept(reference) and not problems:
                    if self._node.ended:
                        return self._node.refusal
                    await self._keep(reference, problems)
        except TimeoutError:
            problems.append(f"nobody else has said so within {timeout_s:g} s")
        if self.is_kept(reference):
            return ""
        return f"content {reference.digest.hex()} is not kept by a majority: " + (
            "; ".join(problems)
        )

    async def _keep(self, reference: Reference, problems: list[str]) -> None:
        node = self._node
        size = self._store.size(reference.digest)
        if size is None:
            # Even without it this node can ask the others whether they have it.
            problem = await self._fetching.fetch(reference)
            if problem:
                problems.append(f"node {node.node}: {problem}")
        elif size != reference.size:
            problems.append(f"it has {size} bytes, not {reference.size}")
            return
        config = node.raw.status().config
        offers = [self._offer(reference, at) for at in other_voters(config, node.node)]
        if not offers and not self.is_kept(reference):
            # It belongs to no cluster yet, or no more.
            problems.append(f"node {node.node} knows of nobody else that votes")
        while offers and not self.is_kept(reference):
            done, _ = await asyncio.wait(offers, return_when=asyncio.FIRST_COMPLETED)
            problems += sorted(filter(None, map(_said, done)))
            offers = [one for one in offers if one not in done]

    def _is_here(self, reference: Reference) -> bool:
        return self._store.size(reference.digest) == reference.size

    def _offer(self, reference: Reference, peer: NodeId) -> asyncio.Task[str]:
        """Have a peer take a content, whoever waits for that."""
        task = self._offers.get((reference, peer))
        if task is None:
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._offered(reference, peer))
            self._offers[reference, peer] = task
            task.add_done_callback(lambda _: self._offers.pop((reference, peer), None))
        return task

    async def _offered(self, reference: Reference, peer: NodeId) -> str:
        turn = self._turns.setdefault(peer, asyncio.Semaphore(_OFFERS_AT_ONCE))
        async with turn:
            try:
                await self._node.network.offer(peer, *reference)
            except (DtfError, OSError) as error:
                words = str(error)
                named = words.startswith(f"node {peer}")
                return words if named else f"node {peer}: {words}"
        self._holders.said(reference, peer, elapsed_s())
        return ""

    # Before commands that name contents

    def confirm(self, commands: Sequence[bytes], waiter: Waiter) -> bool:
        """Whether commands must wait; then they are proposed when they may be."""
        named = dict.fromkeys(references_in(commands))
        unsure = [one for one in named if not self.is_kept(one)]
        if not unsure:
            return False
        if self._unsure and self._unsure + len(unsure) > _CONFIRMING_MAX:
            waiter.refuse("too many commands wait for contents: try again")
            return True
        self._unsure += len(unsure)
        confirming = self._confirm(named, commands, waiter)
        task = asyncio.get_running_loop().create_task(confirming)
        self._confirming[task] = waiter
        task.add_done_callback(lambda _: self._confirmed(len(unsure)))
        return True

    def _confirmed(self, count: int) -> None:
        self._unsure -= count

    async def _confirm(
        self, named: Iterable[Reference], commands: Sequence[bytes], waiter: Waiter
    ) -> None:
        reasons: dict[Reference, str] = {}
        # What was sure may have gone while others took their time.
        while unsure := [
            one for one in named if not (reasons.get(one) or self.is_kept(one))
        ]:
            found = await asyncio.gather(*(self.keep(one, CONFIRM_S) for one in unsure))
            reasons.update(zip(unsure, found, strict=True))
        task = asyncio.current_task()
        if task is None or self._confirming.pop(task, None) is None:
            return  # it was refused meanwhile
        said = [
            next((reasons.get(one, "") for one in references_in([command])), "")
            for command in commands
        ]
        able = [one for one, reason in zip(commands, said, strict=True) if not reason]
        if len(able) == len(commands):
            self._node.accept(commands, waiter)
        elif able:
            self._node.accept(able, _SomeRefused(waiter, said))
        else:
            waiter.answer([not_done(reason) for reason in said])

    def refuse_all(self, reason: str) -> None:
        """None of those that wait will be proposed here."""
        confirming, self._confirming = self._confirming, {}
        for task, waiter in confirming.items():
            task.cancel()
            waiter.refuse(reason)

    def forget(self) -> None:
        """Members or leaders have changed: what nodes keep is asked again."""
        self._holders.clear()

    def keep_soon(self, references: Sequence[Reference]) -> None:
        """Have contents kept that the log names already."""
        for one in references:
            if not self.is_kept(one):
                keeping = self.keep(one, CONFIRM_S)
                task = asyncio.get_running_loop().create_task(keeping)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def give(self, peer: NodeId) -> int:
        """Have a node take all that records refer to; how many it could not."""
        counts = self._node.state.records.references.counts
        offers = [self._offer(one, peer) for one in counts]
        if offers:
            await asyncio.wait(offers)
        return sum(map(bool, map(_said, offers)))

    async def close(self) -> None:
        """End what is going on."""
        self.refuse_all("the node is stopping")
        tasks = [*self._tasks, *self._offers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _said(offer: asyncio.Task[str]) -> str:
    """What came of an offer; who waits for it was not cancelled with it."""
    return "the node is stopping" if offer.cancelled() else offer.result()


class _SomeRefused:
    """Who waits for commands of which some were not proposed."""

    def __init__(self, waiter: Waiter, reasons: Sequence[str]) -> None:
        self._waiter = waiter
        self._reasons = reasons

    def answer(self, outcomes: list[Outcome]) -> None:
        """Those that were proposed have their outcomes."""
        others = iter(outcomes)
        self._waiter.answer(
            [not_done(reason) if reason else next(others) for reason in self._reasons]
        )

    def refuse(self, reason: str) -> None:
        """None of them was done."""
        self._waiter.refuse(reason)
