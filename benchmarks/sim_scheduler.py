"""The real `distributed.Scheduler`, in made-up time, over workers that only pretend.

What is real: the Scheduler object with its state machine, its queue, its choice of
workers, work stealing, and every plugin. What is not: HTTP, sockets, heartbeats, and
the workers, which follow Dask's own order (threads, priorities, resources) and sleep
for as long as a task is said to last. The time a message takes is `MESSAGE_S`.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import dask.config
import distributed.scheduler
import distributed.stealing
from dask._task_spec import Task
from distributed import Scheduler, SchedulerPlugin, Status
from distributed.scheduler import DEFAULT_EXTENSIONS, ClientState
from sim_loop import StalledError, VirtualLoop, clocks_replaced
from sim_measures import Record
from sim_workloads import Machine, SimTask, Workload

MESSAGE_S = 0.002  # one way: Dask sends what it has every 2 to 5 ms
_RELEASE_S = 0.01  # a client lets go of results that it has seen, in batches
_STEALING_S = 1.0  # Dask's 0.1 s cost ten times the CPU here, and gained nothing
_HORIZONS_MAX, _LONGEST_MAX = 20, 20  # after so many all tasks should have ended
_CLIENT = "sim-client"
_METRICS: dict[str, Any] = {
    "bandwidth": {"total": 1e8, "workers": {}, "types": {}},
    "digests_total_since_heartbeat": {},
    "memory": 0,
    "spilled_bytes": {"memory": 0, "disk": 0},
    "managed_bytes": 0,
    "task_counts": {},
}
# Their periodic work needs workers that answer.
_NOT_SIMULATED = ("amm", "memory_sampler")


def _nothing() -> None:
    """What every task would run."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way of scheduling: what tasks and workers tell Dask, and a plugin.

    Parameters
    ----------
    key
        Under which key a task is submitted: Dask learns durations by its prefix.
    annotations
        Of a task, as ``dask.annotate`` would give them.
    resources
        Of a worker, as ``dask worker --resources`` would.
    extra
        What a worker tells when it registers.
    """

    name: str
    key: Callable[[SimTask], str] = lambda task: task.key
    annotations: Callable[[SimTask], dict[str, Any]] = lambda task: {}
    resources: Callable[[Machine], dict[str, float]] = lambda machine: {}
    extra: Callable[[Machine], dict[str, Any]] = lambda machine: {}
    plugin: Callable[[Workload], SchedulerPlugin] | None = None
    clocked: tuple[Any, ...] = ()  # modules of the plugin that read clocks
    configuration: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What a simulated run left."""

    records: list[Record]
    scheduler_cpu_s: float
    stealing_cpu_s: float
    violations: list[str]


class Cpu:
    """CPU seconds of a part of this thread's work, added up."""

    def __init__(self) -> None:
        self.total_s = 0.0
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.thread_time()

    def __exit__(self, *exception: object) -> None:
        self.total_s += time.thread_time() - self._began


class _Comm:
    """The connection that a worker registers on."""

    name = ""

    async def write(self, message: object) -> None:
        """What the scheduler answers is known."""


class Stream:
    """In place of a `BatchedSend`: what is sent arrives a little later."""

    def __init__(self, receive: Callable[..., None], loop: VirtualLoop) -> None:
        self._receive, self._loop = receive, loop
        # The loop keeps no order among what is due at one time.
        self._under_way: deque[tuple[Any, ...]] = deque()

    def send(self, *messages: Any) -> None:
        """Called by the sender."""
        self._under_way.append(messages)
        self._loop.call_later(MESSAGE_S, self._arrive)

    def _arrive(self) -> None:
        self._receive(self._under_way.popleft())

    def closed(self) -> bool:
        """It never is."""
        return False


class SimWorker:
    """Runs tasks in Dask's order, as `WorkerState` does with no data to fetch."""

    def __init__(self, machine: Machine, address: str, simulation: Simulation) -> None:
        self.machine, self.address = machine, address
        self.simulation = simulation
        self.available = dict(simulation.way.resources(machine))
        self.threads_free = machine.kind.threads
        self.gpus_free = machine.kind.gpus
        # key -> message; a heap's entry whose message is another one is dead.
        self.waiting: dict[str, dict[str, Any]] = {}
        self.running: dict[str, dict[str, Any]] = {}
        self._ready: list[tuple[Any, int, dict[str, Any]]] = []
        self._constrained: list[tuple[Any, int, dict[str, Any]]] = []
        self._counter = 0
        self._to_scheduler = Stream(simulation.told, simulation.loop)

    def tell(self, op: str, message: dict[str, Any]) -> None:
        """Send the scheduler a message."""
        self._to_scheduler.send(op, {"worker": self.address, **message})

    def receive(self, messages: Iterable[dict[str, Any]]) -> None:
        """What the scheduler sent."""
        replies = []
        with self.simulation.own_cpu:
            for message in messages:
                match message["op"]:
                    case "compute-task":
                        self._take(message)
                    case "free-keys":
                        for key in message["keys"]:
                            self.waiting.pop(key, None)
                    case "steal-request":
                        replies.append(self._give_back(message))
            self._start_ready()
        for reply in replies:
            self.tell("steal-response", reply)

    def _take(self, message: dict[str, Any]) -> None:
        key = message["key"]
        if key in self.waiting or key in self.running:
            return
        self.waiting[key] = message
        self._counter += 1
        heap = self._constrained if message["resource_restrictions"] else self._ready
        heapq.heappush(heap, (message["priority"], self._counter, message))

    def _give_back(self, message: dict[str, Any]) -> dict[str, Any]:
        key = message["key"]
        state = "executing" if key in self.running else None
        if found := self.waiting.pop(key, None):
            state = "constrained" if found["resource_restrictions"] else "ready"
        return {"key": key, "state": state, "stimulus_id": message["stimulus_id"]}

    def _start_ready(self) -> None:
        while self.threads_free and (message := self._next()):
            key = message["key"]
            del self.waiting[key]
            self.running[key] = message
            self.threads_free -= 1
            for name, amount in (message["resource_restrictions"] or {}).items():
                self.available[name] -= amount
            self.simulation.begun(self, message)

    def _next(self) -> dict[str, Any] | None:
        ready, constrained = self._head(self._ready), self._head(self._constrained)
        if constrained and (not ready or constrained[0] < ready[0]):
            wanted = constrained[2]["resource_restrictions"]
            if all(self.available.get(name, 0) >= n for name, n in wanted.items()):
                return heapq.heappop(self._constrained)[2]
        # A constrained task that does not fit holds up those behind it: as in Dask.
        return heapq.heappop(self._ready)[2] if ready else None

    def _head(self, heap: list[Any]) -> Any:
        while heap and self.waiting.get(heap[0][2]["key"]) is not heap[0][2]:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def finish(self, message: dict[str, Any], started: float) -> None:
        """A task's time is over."""
        with self.simulation.own_cpu:
            now = self.simulation.loop.wall_time()
            del self.running[message["key"]]
            self.threads_free += 1
            for name, amount in (message["resource_restrictions"] or {}).items():
                self.available[name] += amount
            self.simulation.ended(self, message, started)
            self._start_ready()
            report = {
                "key": message["key"],
                "run_id": message["run_id"],
                "stimulus_id": f"task-finished-{now}",
                "nbytes": 28,
                "type": b"",
                "typename": "NoneType",
                "metadata": {},
                "thread": 1,
                "startstops": [{"action": "compute", "start": started, "stop": now}],
            }
        self.tell("task-finished", report)


class Simulation:
    """A workload, scheduled one way."""

    def __init__(
        self,
        workload: Workload,
        way: Way,
        *,
        validate: bool = False,
        progress: Callable[[int], None] = lambda left: None,
    ) -> None:
        self.workload, self.way, self.validate = workload, way, validate
        self.progress = progress  # told often how many tasks are left
        self.own_cpu, self.stealing_cpu = Cpu(), Cpu()
        self.records: list[Record] = []
        self.violations: list[str] = []
        self.tasks = {way.key(task): task for task in workload.tasks}
        self.left = len(self.tasks)
        self._seen: list[str] = []
        longest_s = max(task.seconds for task in workload.tasks)
        self._end_s_max = _HORIZONS_MAX * workload.horizon_s + _LONGEST_MAX * longest_s

    async def run(self) -> Outcome:
        """Play it to its end."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop = loop
        self.over = loop.create_future()
        loop.set_exception_handler(self._failed)
        clocked = (distributed.scheduler, distributed.stealing, *self.way.clocked)
        settings = {
            "distributed.scheduler.validate": self.validate,
            "distributed.admin.low-level-log-length": 1000,
            **self.way.configuration,
        }
        versions = mock.Mock(**{"error_message.return_value": {}})
        with (
            dask.config.set(settings),
            clocks_replaced(loop, *clocked),
            mock.patch.object(distributed.scheduler, "version_module", versions),
            mock.patch.object(Scheduler, "start_http_server"),
        ):
            await self._open()
            gc.collect()
            gc.freeze()  # so that what is here already costs no collection below
            for moment, tasks in self.workload.runs():
                loop.call_at(moment, self._submit, tasks)
            loop.call_later(_STEALING_S, self._balance)
            began = time.thread_time()
            await self.over
            spent = time.thread_time() - began
            gc.unfreeze()
        return Outcome(
            self.records,
            spent - self.own_cpu.total_s - self.stealing_cpu.total_s,
            self.stealing_cpu.total_s,
            self.violations,
        )

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something called by the loop raised: that is the end of it."""
        error = context.get("exception") or RuntimeError(context["message"])
        if not self.over.done():
            self.over.set_exception(error)

    async def _open(self) -> None:
        extensions = {
            name: extension
            for name, extension in DEFAULT_EXTENSIONS.items()
            if name not in _NOT_SIMULATED
        }
        self.scheduler = scheduler = Scheduler(
            dashboard=False, extensions=extensions, port=0
        )
        scheduler.status = Status.running
        scheduler.clients[_CLIENT] = ClientState(_CLIENT)
        scheduler.client_comms[_CLIENT] = Stream(self._results, self.loop)
        self.plugin = self.way.plugin(self.workload) if self.way.plugin else None
        if self.plugin is not None:
            await scheduler.register_scheduler_plugin(self.plugin, idempotent=False)
        for plugin in list(scheduler.plugins.values()):
            plugin.add_client(scheduler=scheduler, client=_CLIENT)
        self.workers: dict[str, SimWorker] = {}
        with mock.patch.object(scheduler, "handle_worker", self._stream_opened):
            for number, machine in enumerate(self.workload.machines):
                await self._join(machine, f"tcp://10.{number >> 8}.{number & 255}.1:9")

    async def _join(self, machine: Machine, address: str) -> None:
        self.workers[address] = SimWorker(machine, address, self)
        await self.scheduler.add_worker(
            _Comm(),
            address=address,
            status="running",
            server_id=address,
            nthreads=machine.kind.threads,
            name=machine.name,
            resolve_address=False,
            now=self.loop.wall_time(),
            resources=self.way.resources(machine),
            memory_limit=machine.kind.memory,
            metrics=_METRICS,
            services={},
            local_directory="",
            versions={},
            nanny="",
            extra=self.way.extra(machine),
            stimulus_id=f"add-{address}",
        )

    async def _stream_opened(self, comm: _Comm, worker: str) -> None:
        buffered = self.scheduler.stream_comms[worker].buffer
        stream = Stream(self.workers[worker].receive, self.loop)
        self.scheduler.stream_comms[worker] = stream
        if buffered:
            stream.send(*buffered)

    def _submit(self, tasks: list[SimTask]) -> None:
        with self.own_cpu:
            keys = [self.way.key(task) for task in tasks]
            annotations: dict[str, dict[str, Any]] = {}
            for key, task in zip(keys, tasks, strict=True):
                for name, value in self.way.annotations(task).items():
                    annotations.setdefault(name, {})[key] = value
            graph = {key: Task(key, _nothing) for key in keys}
            now = self.loop.wall_time()
        self.scheduler._create_taskstate_from_graph(
            start=now,
            dsk=graph,
            keys=set(keys),
            ordered={key: number for number, key in enumerate(keys)},
            client=_CLIENT,
            annotations_by_type=annotations,
            global_annotations=None,
            stimulus_id=f"update-graph-{now}",
            submitting_task=None,
            span_metadata={"collections": []},
        )

    def told(self, message: tuple[str, dict[str, Any]]) -> None:
        """A worker's message arrives at the scheduler."""
        op, fields = message
        self.scheduler.stream_handlers[op](**fields)

    def begun(self, worker: SimWorker, message: dict[str, Any]) -> None:
        """A task starts: look whether it may, and set its end."""
        task = self.tasks[message["key"]]
        worker.gpus_free -= task.demand.gpus
        if worker.gpus_free < 0:
            self.violations.append(f"{worker.machine.name}: more GPUs than it has")
        if not task.demand.fits(worker.machine.kind):
            self.violations.append(
                f"{worker.machine.name} runs {task.key}, which wants {task.demand.name}"
            )
        self.loop.call_later(
            task.seconds_on(worker.machine),
            worker.finish,
            message,
            self.loop.wall_time(),
        )

    def ended(self, worker: SimWorker, message: dict[str, Any], started: float) -> None:
        """A task has run."""
        task = self.tasks[message["key"]]
        worker.gpus_free += task.demand.gpus
        offset = self.loop.wall_time() - self.loop.time()
        self.records.append(
            Record(task, worker.machine, started - offset, self.loop.time())
        )

    def _results(self, messages: Iterable[dict[str, Any]]) -> None:
        with self.own_cpu:
            done = [m["key"] for m in messages if m["op"] == "key-in-memory"]
            if done and not self._seen:
                self.loop.call_later(_RELEASE_S, self._release)
            self._seen += done

    def _release(self) -> None:
        keys, self._seen = self._seen, []
        self.scheduler.stream_handlers["client-releases-keys"](
            keys=keys, client=_CLIENT
        )
        self.left -= len(keys)
        if not self.left:
            self.over.set_result(None)

    def _balance(self) -> None:
        with self.stealing_cpu:
            self.scheduler.extensions["stealing"].balance()
        failure = getattr(self.plugin, "failure", "")
        if self.loop.time() > self._end_s_max:
            failure = failure or f"{self.left} tasks are left, and nothing happens"
        if failure and not self.over.done():
            self.over.set_exception(StalledError(f"{self.way.name}: {failure}"))
        self.progress(self.left)
        self.loop.call_later(_STEALING_S, self._balance)
