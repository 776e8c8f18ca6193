"""The process of a node: ``python -m dtf_dask.ha.node_process FOLDER``.

``--this-time`` and JSON is for this process what ``node.json`` says for all.

It says ``{"ready": ...}`` in one line when it takes part, and ends on SIGTERM, SIGINT
or when its input ends, so that it never outlives who started it. A node that leads
hands over first. Beside it run its scheduler process and its web process, if
``node.json`` has them. Exit codes are those of `dtf_dask.errors`; 1 if the node failed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dtf_dask.errors import DtfError
from dtf_dask.ha.handing_over import HandingOver
from dtf_dask.ha.metrics import serve_metrics
from dtf_dask.ha.network import nobody
from dtf_dask.ha.node import Node
from dtf_dask.ha.node_config import NodeConfig, read_config, shown_address
from dtf_dask.ha.node_options import NodeOptions
from dtf_dask.ha.node_status import NodeStatus
from dtf_dask.ha.scheduler_process import SchedulerProcess
from dtf_dask.ha.serving import ServingNode
from dtf_dask.ha.web_process import WebProcess

_HAND_OVER_S, _LOOK_S = 1.5, 0.05
_YOUNG_OBJECTS = 50_000


async def run(config: NodeConfig, *, until_input_ends: bool) -> int:
    """Run a node until it is told to end; the exit code."""
    ending: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(code: int) -> None:
        if not ending.done():
            ending.set_result(code)

    def status() -> NodeStatus:
        """As of now, for another thread."""
        assert serving.node is not None
        return asyncio.run_coroutine_threadsafe(_status(serving.node), loop).result(5.0)

    options = NodeOptions(content_keep_s=config.content_keep_s)
    serving = ServingNode(config.plan, config.security(), lambda _: end(1), options)
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, end, 0)
    end_metrics: Callable[[], None] = lambda: None  # noqa: E731
    scheduler: SchedulerProcess | None = None
    web: WebProcess | None = None
    try:
        folder = await serving.start()
        notes = [*folder.notes]
        if config.metrics is not None and serving.node is not None:
            where = shown_address(config.metrics)
            try:
                end_metrics = serve_metrics(config.metrics, status)
                serving.node.metrics_at = where
            except OSError as error:
                # No reason to do without the node.
                notes.append(f"no figures are served at {where}: {error}")
        if config.schedulers and serving.node is not None:
            scheduler = SchedulerProcess(serving.node, config.scheduler_hello())
            scheduler.start()
        if config.web is not None and serving.node is not None:
            ask = nobody if scheduler is None else scheduler.ask
            web = WebProcess(serving.node, config.web_hello(), ask=ask)
            web.start()
        _say(ready=config.node, clients=shown_address(serving.clients), notes=notes)
        if until_input_ends:
            loop.add_reader(sys.stdin.fileno(), _at_end_of_input, end)
        code = await ending
        if code == 0 and serving.node is not None:
            await _retire(serving.node)
        return code
    finally:
        if web is not None:
            await web.close()
        if scheduler is not None:
            await scheduler.close()
        await asyncio.to_thread(end_metrics)
        await serving.close()


async def _status(node: Node) -> NodeStatus:
    return NodeStatus.of(node)


async def _retire(node: Node) -> None:
    """Have another lead, if this node does and another can soon."""
    handing = HandingOver(node)
    try:
        async with asyncio.timeout(_HAND_OVER_S):
            while handing.next():
                while handing.under_way:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(node.change(), _LOOK_S)
    except TimeoutError:
        pass


def _at_end_of_input(end: Any) -> None:
    if not os.read(sys.stdin.fileno(), 4_096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        end(0)


def _say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


def main(arguments: list[str]) -> int:
    """Run the node of a folder."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        config = read_config(Path(arguments[0]))
        # What is loaded by now stays: no collection looks through it again. Of what
        # comes next to all goes without one, too: the rest can wait.
        gc.freeze()
        gc.set_threshold(_YOUNG_OBJECTS)
        supervised = "--supervised" in arguments[1:]
        if "--this-time" in arguments[1:]:
            said = arguments[arguments.index("--this-time") + 1]
            config = config.started(json.loads(said))
        return asyncio.run(run(config, until_input_ends=supervised))
    except DtfError as error:
        print(f"dtf: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except OSError as error:
        print(f"dtf: {error}", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
