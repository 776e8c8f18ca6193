"""Traces of a run as OpenTelemetry has them: run > case > attempt. Needs ``[otel]``.

Spans are made when their ends are known, with the times that the worker told; who is
told of them is named by OpenTelemetry's own variables (``OTEL_TRACES_EXPORTER``,
``OTEL_EXPORTER_OTLP_ENDPOINT`` and so on).
"""

from __future__ import annotations

import logging
import os
import threading
from importlib.metadata import entry_points
from typing import Any

from dtf_dask import __version__
from dtf_dask.errors import ConfigurationError
from dtf_dask.model import Attempt, Outcome, Run
from dtf_dask.runs.tally import RunEnd
from dtf_dask.trace_ids import parent_of, span_of, trace_of

logger = logging.getLogger(__name__)

PROPERTY = "traceparent"
"""Of an attempt: the context that its test had."""

CLOSE_S = 5.0
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_GROUP = "opentelemetry_traces_exporter"
_NS = 1_000_000_000


class Tracing:
    """Of one run.

    Parameters
    ----------
    parent
        ``TRACEPARENT`` of who started the run.
    exporter
        Of OpenTelemetry; the configured one if not given.

    Raises
    ------
    ConfigurationError
        OpenTelemetry is not installed, or no such exporter is.
    """

    def __init__(self, run: Run, parent: str, exporter: Any = None) -> None:
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise ConfigurationError(
                f"runs.traces is otel, and there is no OpenTelemetry here ({error}):"
                " pip install 'dtf-dask[otel]'"
            ) from error
        self._run, self._parent = run, parent_of(parent)
        self.trace = trace_of(run.id, parent)
        self._resource = Resource.create({"service.name": "dtf"})
        self._processor = BatchSpanProcessor(exporter or _exporter())
        self._begun: dict[str, tuple[float, int]] = {}
        """Of cases that are not settled: since when, and how many attempts."""

    def attempted(self, attempt: Attempt) -> None:
        """An attempt has ended; perhaps its case is over."""
        run, case = self._run.id, attempt.case_id
        context = parent_of(str(attempt.properties.get(PROPERTY, "")))
        own = span_of(run, case, str(attempt.number)) if context is None else context[1]
        start_s = attempt.started_at or self._run.started_at
        end_s = start_s + attempt.duration_s
        began_s, count = self._begun.pop(case, (start_s, 0))
        good = attempt.outcome.is_good
        told: dict[str, Any] = {
            "test.case.name": str(case),
            "test.case.result.status": attempt.outcome.value,
            "dtf.attempt": attempt.number,
            "dtf.worker": attempt.worker,
            "host.name": attempt.host,
        }
        for name in ("cpu_s", "memory", "gpu_memory"):
            if (taken := getattr(attempt, name)) is not None:
                told[f"dtf.{name}"] = taken
        case_span = span_of(run, case)
        name = f"attempt {attempt.number}"
        why = "" if good else attempt.exception[:500] or attempt.outcome.value
        self._end((name, own, case_span), (start_s, end_s), told, why)
        if attempt.detail == "retried" or attempt.outcome is Outcome.LOST:
            self._begun[case] = (began_s, count + 1)
            return
        told = {k: v for k, v in told.items() if k.startswith("test.")}
        told["dtf.attempts"] = count + 1
        self._end((str(case), case_span, span_of(run)), (began_s, end_s), told, why)

    def close(self, end: RunEnd, finished_at: float) -> None:
        """The run has ended: tell what is left, or give up after a while."""
        run = self._run
        for case, (began_s, count) in self._begun.items():
            told = {"test.case.name": case, "dtf.attempts": count}
            names = (case, span_of(run.id, case), span_of(run.id))
            self._end(names, (began_s, finished_at), told, "it was not settled")
        told = {"test.suite.name": run.suite, "dtf.run": str(run.id)}
        told |= {f"dtf.cases.{name}": n for name, n in end.outcomes.items()}
        parent = "" if self._parent is None else self._parent[1]
        why = (
            str(end.error) if end.error else ("interrupted" if end.interrupted else "")
        )
        names = (f"run {run.suite}".strip(), span_of(run.id), parent)
        self._end(names, (run.started_at, finished_at), told, why)
        telling = threading.Thread(
            target=self._tell_all, name="dtf-traces", daemon=True
        )
        telling.start()
        telling.join(CLOSE_S)
        if telling.is_alive():
            logger.warning(
                "Who is told the traces of this run does not take them: some are lost."
            )

    def _tell_all(self) -> None:
        """As long as it takes: OpenTelemetry heeds no limit."""
        self._processor.force_flush()
        self._processor.shutdown()

    def _end(
        self,
        names: tuple[str, str, str],
        times_s: tuple[float, float],
        attributes: dict[str, Any],
        why: str,
    ) -> None:
        """A span is over: its name, its id and its parent's; why it failed, if so."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

        def context(span: str, *, remote: bool = False) -> SpanContext:
            flags = TraceFlags(TraceFlags.SAMPLED)
            return SpanContext(int(self.trace, 16), int(span, 16), remote, flags)

        name, own, parent = names
        status = Status(StatusCode.ERROR, why) if why else Status(StatusCode.OK)
        self._processor.on_end(
            ReadableSpan(
                name,
                context(own),
                context(parent) if parent else None,
                self._resource,
                {k: v for k, v in attributes.items() if v != ""},
                instrumentation_scope=InstrumentationScope("dtf", __version__),
                status=status,
                start_time=int(times_s[0] * _NS),
                end_time=int(times_s[1] * _NS),
            )
        )


def _exporter() -> Any:
    """The one that OpenTelemetry's variables name, or its usual one."""
    name = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    names = [name]
    if name == "otlp":  # there are packages of one protocol each, and one of all
        told = (os.environ.get(variable) for variable in _PROTOCOLS)
        protocol = next(filter(None, told), "http").partition("/")[0]
        names.insert(0, f"otlp_proto_{protocol}")
    for one in names:
        for found in entry_points(group=_GROUP, name=one):
            return found.load()()
    raise ConfigurationError(
        f"runs.traces is otel, and no exporter {name!r} is installed"
        " (OTEL_TRACES_EXPORTER): pip install 'dtf-dask[otel]'"
    )
