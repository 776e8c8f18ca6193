"""A cluster on this machine with dtf's plugins: `LocalCluster`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.config
import distributed
from dask.system import CPU_COUNT

from dtf_dask.preload import with_dtf

if TYPE_CHECKING:
    from dtf_dask.client import Client


_LOOPBACK = "127.0.0.1"


class _ThreadWorker(distributed.Worker):
    """A worker in this process, whose HTTP server is not open to the network.

    Without an address of its own, and over ``inproc``, Dask's listens everywhere.
    """

    def __init__(
        self, *args: Any, dashboard_address: str | None = None, **kwargs: Any
    ) -> None:
        address = dashboard_address or f"{_LOOPBACK}:0"
        super().__init__(*args, dashboard_address=address, **kwargs)


class LocalCluster(distributed.LocalCluster):
    """A scheduler and workers on this machine that can run tests.

    A `distributed.LocalCluster` with dtf's plugins and other defaults: one worker per
    core with one thread each, so that a test has a core to itself, and a dashboard on
    a free port of the loopback interface.

    Parameters
    ----------
    n_workers
        Number of workers; by default as many as the cores allow.
    threads_per_worker
        Threads of each worker.
    processes
        Whether workers are processes (the default) or threads of this one.
    dashboard_address
        Where the dashboard listens; ``":8787"`` means loopback, None means nowhere.
    **kwargs
        All else that `distributed.LocalCluster` takes.

    Examples
    --------
    >>> with LocalCluster(n_workers=1) as cluster:  # doctest: +SKIP
    ...     with cluster.get_client() as client:
    ...         client.submit(sum, [1, 2], timeout="5 min").result()
    3
    """

    def __init__(
        self,
        name: str | None = None,
        n_workers: int | None = None,
        threads_per_worker: int = 1,
        processes: bool | None = None,
        *,
        dashboard_address: str | None = f"{_LOOPBACK}:0",
        worker_dashboard_address: str | None = None,
        scheduler_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if n_workers is None:
            n_workers = max(1, CPU_COUNT // max(1, threads_per_worker))
        options = dict(scheduler_kwargs or {})
        if dashboard_address is None:
            # There is an HTTP server all the same, by default on all interfaces.
            options.setdefault("dashboard", False)
            options.setdefault("dashboard_address", f"{_LOOPBACK}:0")
        if processes is False:
            kwargs.setdefault("worker_class", _ThreadWorker)
        options["preload"] = with_dtf(
            options.get("preload"), dask.config.get("distributed.scheduler.preload")
        )
        kwargs["preload"] = with_dtf(
            kwargs.get("preload"), dask.config.get("distributed.worker.preload")
        )
        super().__init__(  # type: ignore[no-untyped-call]
            name=name,
            n_workers=n_workers,
            threads_per_worker=threads_per_worker,
            processes=processes,
            dashboard_address=on_loopback(dashboard_address),
            worker_dashboard_address=on_loopback(worker_dashboard_address),
            scheduler_kwargs=options,
            **kwargs,
        )

    def get_client(self) -> Client:
        """Return a `dtf_dask.Client` of this cluster: the current one, or a new one."""
        from dtf_dask.client import Client

        try:
            current = Client.current()  # type: ignore[no-untyped-call]
        except ValueError:
            current = None
        if current is not None and current.cluster is self:
            found: Client = current
            return found
        return Client(self)  # type: ignore[no-untyped-call]


def on_loopback(address: str | None) -> str | None:
    """Put the loopback host before a bare port, which Dask would open to the network.

    Examples
    --------
    >>> on_loopback(":8787"), on_loopback("8787"), on_loopback("0.0.0.0:8787")
    ('127.0.0.1:8787', '127.0.0.1:8787', '0.0.0.0:8787')
    """
    if address is None:
        return None
    text = str(address)
    if text.startswith(":") or text.isdecimal():
        return f"{_LOOPBACK}:{text.removeprefix(':')}"
    return text
