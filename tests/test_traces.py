"""Runs as OpenTelemetry sees them: run > case > attempt; what tests know of it."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dask.config
import pytest

from dtf_dask import Case, Client, LocalCluster
from dtf_dask.errors import ConfigurationError
from dtf_dask.model import Attempt, CaseId, Outcome, Run, RunId
from dtf_dask.runs import tracing
from dtf_dask.runs.tally import RunEnd
from dtf_dask.trace_ids import span_of, trace_of, traceparent

exports = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

PARENT = traceparent("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


class Kept(exports.InMemorySpanExporter):  # type: ignore[name-defined, misc]
    """What was told, by name."""

    def shutdown(self) -> None:
        """It is looked at afterwards."""

    def by_name(self) -> dict[str, Any]:
        return {span.name: span for span in self.get_finished_spans()}


def span_id(span: Any) -> str:
    return f"{span.context.span_id:016x}"


@pytest.mark.parametrize("parent", ["", PARENT, "00-nonsense"])
def test_a_case_holds_its_attempts_and_the_run_its_cases(parent: str) -> None:
    """In the trace of who started it, or in one that follows from its id."""
    run, kept = Run(RunId("r"), 10.0, suite="s"), Kept()
    traced = tracing.Tracing(run, parent, kept)
    for number, outcome in enumerate((Outcome.FAILED, Outcome.PASSED), start=1):
        detail = "" if outcome.is_good else "retried"
        at = 10.0 + number
        properties = {tracing.PROPERTY: traceparent("a" * 32, f"{number:016x}")}
        traced.attempted(
            Attempt(
                *(CaseId("c"), number, outcome, "w", "h", detail, at, 0.5),
                exception="" if outcome.is_good else "ValueError",
                properties=properties,
                cpu_s=0.25,
            )
        )
    traced.attempted(Attempt(CaseId("lost"), 1, Outcome.LOST, started_at=12.0))
    end = RunEnd()
    end.outcomes["passed"] += 1
    traced.close(end, 20.0)
    spans = kept.by_name()
    assert set(spans) == {"run s", "c", "lost", "attempt 1", "attempt 2"}
    whole, case, attempt = spans["run s"], spans["c"], spans["attempt 2"]
    assert {f"{one.context.trace_id:032x}" for one in spans.values()} == {
        trace_of("r", parent)
    }
    assert span_id(whole) == span_of("r")
    assert (case.parent.span_id, attempt.parent.span_id) == (
        *(whole.context.span_id, case.context.span_id),
    )
    assert span_id(attempt) == "0000000000000002"
    assert (case.start_time, case.end_time) == (11 * 10**9, 12_500_000_000)
    assert (whole.start_time, whole.end_time) == (10 * 10**9, 20 * 10**9)
    assert attempt.attributes["dtf.cpu_s"] == 0.25
    assert case.attributes["test.case.result.status"] == "passed"
    assert (case.attributes["dtf.attempts"], case.status.is_ok) == (2, True)
    if parent == PARENT:
        assert f"{whole.parent.span_id:016x}" == "b7ad6b7169203331"
    else:
        assert whole.parent is None


def test_a_test_finds_the_context_of_its_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command and a callable too, and one that dies of itself, as is told of it."""

    def note() -> str:  # travels by value, being no part of a module
        import os

        return os.environ.get("TRACEPARENT", "")

    def die() -> None:
        import os
        from pathlib import Path

        Path(last_words).write_text(os.environ["TRACEPARENT"])
        os.kill(os.getpid(), 9)

    last_words = str(tmp_path / "last-words")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACEPARENT", PARENT)
    kept = Kept()
    monkeypatch.setattr(tracing, "_exporter", lambda: kept)
    command = ("sh", "-c", "echo $TRACEPARENT")
    cases = [
        Case("called", fn=note),
        Case("command", argv=command),
        Case("dies", fn=die),
    ]
    with (
        LocalCluster(
            n_workers=1, processes=False, protocol="tcp://", dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
        dask.config.set({"dtf.runs.traces": "otel"}),
    ):
        told = {one.case_id: one for one in client.run_cases(cases)}
    spans = {span_id(one) for one in kept.get_finished_spans()}
    called, ran = told[CaseId("called")], told[CaseId("command")]
    assert called.properties["result"] == called.properties["traceparent"]
    assert ran.stdout.strip() == ran.properties["traceparent"]
    died = told[CaseId("dies")]
    assert died.detail == "crash"
    assert Path(last_words).read_text() == died.properties["traceparent"]
    for one in (called, ran, died):
        trace, span = str(one.properties["traceparent"]).split("-")[1:3]
        assert trace == PARENT.split("-")[1]
        assert span in spans
    assert len(spans) == 7


class Collector(BaseHTTPRequestHandler):
    """What receives traces: keeps the body of each request."""

    heard: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.heard.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words: Any) -> None:
        """It says nothing."""


_TOLD = """
import sys
from dtf_dask.model import Attempt, CaseId, Outcome, Run, RunId
from dtf_dask.runs import tracing
from dtf_dask.runs.tally import RunEnd

tracing.CLOSE_S = 60.0
traced = tracing.Tracing(Run(RunId("r"), 10.0, suite="s"), sys.argv[1])
traced.attempted(Attempt(CaseId("c"), 1, Outcome.PASSED, "w", gpu_memory=2**30))
traced.close(RunEnd(), 20.0)
"""


def test_traces_go_where_the_variables_say() -> None:
    """By the exporter that the extra installs, to a real receiver: all spans arrive."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    heard: list[tuple[str, bytes]] = []
    served = HTTPServer(
        ("127.0.0.1", 0), type("Receiver", (Collector,), {"heard": heard})
    )
    with served, ThreadPoolExecutor(1) as pool:
        pool.submit(served.serve_forever)
        url = f"http://127.0.0.1:{served.server_port}"
        env = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url}
        env.pop("OTEL_TRACES_EXPORTER", None)
        try:
            subprocess.run([sys.executable, "-c", _TOLD, PARENT], check=True, env=env)
        finally:
            served.shutdown()
    spans = {}
    for path, body in heard:
        assert path == "/v1/traces"
        told = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        for resource in told.resource_spans:
            named = {one.key: one.value for one in resource.resource.attributes}
            assert named["service.name"].string_value == "dtf"
            spans |= {one.name: one for s in resource.scope_spans for one in s.spans}
    assert set(spans) == {"run s", "c", "attempt 1"}
    assert {one.trace_id.hex() for one in spans.values()} == {PARENT.split("-")[1]}
    assert spans["run s"].parent_span_id.hex() == PARENT.split("-")[2]
    assert spans["c"].parent_span_id.hex() == span_of("r")
    attributes = {one.key: one.value for one in spans["attempt 1"].attributes}
    assert attributes["dtf.gpu_memory"].int_value == 2**30


@pytest.mark.logs("does not take them: some are lost")
def test_no_run_waits_for_who_does_not_take_its_traces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ends a moment later, and says so."""
    monkeypatch.setattr(tracing, "CLOSE_S", 0.2)
    taken = threading.Event()

    class Deaf(Kept):
        def export(self, spans: Any) -> Any:
            taken.wait(60)
            return super().export(spans)

    kept = Deaf()
    traced = tracing.Tracing(Run(RunId("r"), 10.0, suite="s"), "", kept)
    traced.close(RunEnd(), 20.0)
    assert kept.by_name() == {}
    taken.set()
    for one in threading.enumerate():
        if one.name == "dtf-traces":
            one.join()
    assert set(kept.by_name()) == {"run s"}


def test_what_cannot_be_traced_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the run begins."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "pigeons")
    with pytest.raises(ConfigurationError, match=r"no exporter 'pigeons'.*otel"):
        tracing.Tracing(Run(RunId("r"), 1.0), "")
