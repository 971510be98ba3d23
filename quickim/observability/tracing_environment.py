"""What the standard variables of OpenTelemetry say, where the SDK does not look itself. Imported when tracing is on."""

import os
import socket
from collections.abc import Mapping

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased


def resource(environ: Mapping[str, str]) -> Resource:
    """What the environment says of this service, and what it does not say."""
    said = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    ours: dict[str, str | int] = {"process.pid": os.getpid()}
    if not environ.get("OTEL_SERVICE_NAME", "").strip() and "service.name=" not in said:
        ours["service.name"] = "quickim"
    if "service.instance.id=" not in said:
        ours["service.instance.id"] = f"{socket.gethostname()}-{os.getpid()}"
    known = Resource.create(ours)
    return _OneResource(known.attributes, known.schema_url)


class _OneResource(Resource):
    """A resource whose hash costs nothing: the exporter asks for it with every span, and the library's own makes JSON
    of all attributes each time."""

    def __hash__(self) -> int:
        return id(self)


def ratio_bound(environ: Mapping[str, str]) -> int | None:
    """Where the standard variables ask for a share of all traces: how many of 2^64; None: ask the sampler."""
    if environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() not in ("traceidratio", "parentbased_traceidratio"):
        return None
    try:
        return TraceIdRatioBased(float(environ.get("OTEL_TRACES_SAMPLER_ARG", ""))).bound
    except ValueError:
        return None
