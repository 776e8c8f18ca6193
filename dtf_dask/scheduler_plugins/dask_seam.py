"""The private names of Dask's scheduler that dtf leans on, all in this module.

`broken` names what an installed version of Dask no longer has; a contract test keeps
it empty, and who needs a name asks before taking any decision.
"""

from __future__ import annotations

from collections.abc import Iterable

from distributed import Scheduler
from distributed.broker import Broker, Topic


def broken(scheduler: Scheduler) -> tuple[str, ...]:
    """Say what is missing of what the functions below use; empty if all is there."""
    missing = []
    broker = getattr(scheduler, "_broker", None)
    if not isinstance(broker, Broker):
        missing.append("Scheduler._broker")
    elif not isinstance(getattr(broker, "_topics", None), dict):
        missing.append("Broker._topics")
    missing += [
        f"{owner.__name__}.{name}"
        for owner, name in ((Broker, "truncate"), (Topic, "unsubscribe"))
        if not callable(getattr(owner, name, None))
    ]
    if not isinstance(getattr(Topic(1), "subscribers", None), set):
        missing.append("Topic.subscribers")
    return tuple(missing)


def drop_history(scheduler: Scheduler, topic: str) -> None:
    """Forget a topic's past events; what is on its way to subscribers still comes."""
    scheduler._broker.truncate(topic)


def has_subscribers(scheduler: Scheduler, topic: str) -> bool:
    """Whether anyone listens to a topic. Asking does not create it."""
    found = scheduler._broker._topics.get(topic)
    return found is not None and bool(found.subscribers)


def forget_topic(scheduler: Scheduler, topic: str) -> None:
    """Drop a topic with all that it holds; the next event would make it anew."""
    scheduler._broker._topics.pop(topic, None)


def topics_with_prefix(scheduler: Scheduler, prefixes: tuple[str, ...]) -> list[str]:
    """The names of existing topics, in the order in which they came to be."""
    topics = scheduler._broker._topics
    return [name for name in topics if str(name).startswith(prefixes)]


def unsubscribe_everywhere(
    scheduler: Scheduler, client: str, topics: Iterable[str]
) -> None:
    """Take a client that is gone out of topics: Dask itself leaves it subscribed."""
    for topic in topics:
        found = scheduler._broker._topics.get(topic)
        if found is not None:
            found.unsubscribe(client)
