"""A run of an agent, recorded with the OpenTelemetry SDK and exported over OTLP/HTTP as its environment says.
Prints the trace's id, and the results of its exports: the spans one by one, all of them again, and a late one."""
import json

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult


class Kept(SpanExporter):
    """Keeps what it exports, so that it can be sent again."""

    def __init__(self):
        self.exporter = OTLPSpanExporter()
        self.spans = []
        self.results = []

    def export(self, spans):
        self.spans.extend(spans)
        result = self.exporter.export(spans)
        self.results.append(result.name)
        return SpanExportResult.SUCCESS


kept = Kept()
provider = TracerProvider(resource=Resource.create({"service.name": "refund-agent", "service.namespace": "helpdesk"}))
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("otel_agent")


def operation(name, **more):
    attributes = {"gen_ai.operation.name": name}
    attributes.update({key.replace("__", "."): value for key, value in more.items()})
    return tracer.start_as_current_span(name, attributes=attributes)


with operation("invoke_agent", gen_ai__agent__name="refund-bot", gen_ai__conversation__id="conv-1") as root:
    with operation("retrieval", gen_ai__data_source__id="policies"):
        pass
    with operation("chat", gen_ai__request__model="gpt-4") as chat:
        chat.add_event("gen_ai.evaluation.result", {
            "gen_ai.evaluation.name": "RefundLimit", "gen_ai.evaluation.score.value": 0.85,
            "decisiongraph.event_type": "PolicyEvaluated", "decisiongraph.decision": "allow",
            "decisiongraph.policy.policy_id": "refund_limit", "decisiongraph.policy.policy_version": "4",
        })
    with operation("embeddings"):
        pass
    with operation("execute_tool", gen_ai__tool__name="issue_credit", gen_ai__tool__call__id="call_1"):
        pass

again = kept.exporter.export(list(kept.spans)).name
late = trace.set_span_in_context(root)
with tracer.start_as_current_span("execute_tool", context=late, attributes={
    "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "too_late",
}):
    pass
provider.shutdown()
print(json.dumps({
    "trace": format(root.get_span_context().trace_id, "032x"), "results": kept.results, "again": again,
}))
