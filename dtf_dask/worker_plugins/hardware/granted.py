"""Which devices the task that asks was granted."""

from __future__ import annotations

from distributed import get_worker

from dtf_dask import grant
from dtf_dask.worker_plugins import dask_seam


def granted_gpus() -> tuple[str, ...]:
    """The GPUs that the calling task was granted, as CUDA_VISIBLE_DEVICES names them.

    Tests find that variable set. A task of a client runs in a thread of its worker,
    whose environment it shares with others: it has to choose its devices itself.

    Returns
    -------
    tuple of str
        Ids ("GPU-...", "MIG-...") or numbers; empty if it asked for none.

    Raises
    ------
    ValueError
        If it is not called by a task on a worker.

    Examples
    --------
    >>> def train():
    ...     (device,) = granted_gpus()
    ...     os.environ["CUDA_VISIBLE_DEVICES"] = device  # in a process of its own
    >>> client.submit(train, gpus=1)  # doctest: +SKIP
    """
    worker = get_worker()
    key = worker.get_current_task()
    visible = grant.visible_devices(dask_seam.task_annotations(worker, key))
    return tuple(visible.split(",")) if visible else ()
