"""Every metric, by its name: what is counted, in which unit, and the values its labels may have.

Law: labels come from small closed sets; nothing that a client chooses (a path, a session, a platform's number, a code
it made up) becomes one. Names follow Prometheus' conventions: base units, ``_total`` for what only rises.
"""

from quickim.observability.metrics_series import Counter, Gauge, Histogram

PROTOCOLS = ("ws", "sse", "poll")

_DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_EACH_PROTOCOL = tuple((protocol,) for protocol in PROTOCOLS)

# Sending

SENDS = Counter(
    "quickim_sends_total",
    "Sends by their end: outcome is committed, repeated, refused, unavailable (503, nothing stored), unknown (503,"
    " maybe stored) or failed; code is the answer's.",
    ("outcome", "code"),
    [("committed", "0"), ("repeated", "0"), ("unavailable", "10002"), ("unknown", "10002"), ("failed", "10002")],
)
BATCH_SIZE = Histogram(
    "quickim_commit_batch_messages",
    "Messages in one transaction of the ledger.",
    (1, 2, 4, 8, 16, 32, 64, 128, 256),
)
BATCH_SECONDS = Histogram(
    "quickim_commit_duration_seconds",
    "How long one transaction of the ledger took, retries included.",
    _DURATIONS,
)
QUEUE_DEPTH = Gauge("quickim_ledger_queue_depth", "Sends that wait for the ledger's writer.")

# Between nodes

ANNOUNCEMENTS = Counter(
    "quickim_announcements_total",
    "Envelopes in the channel layer: direction is published, received or lost (left to the sweep).",
    ("direction", "kind"),
    [("published", "messages"), ("received", "messages"), ("lost", "messages")],
)
LAYER_UP = Gauge(
    "quickim_layer_up",
    "1 while what is published arrives, 0 while messages travel through the database; the worst of the processes.",
    across="min",
)
SWEEP_FINDINGS = Counter(
    "quickim_sweep_findings_total",
    "What the sweep found before any announcement told it: kind is messages, members, redactions or heads (found by"
    " the full comparison only).",
    ("kind",),
    [("messages",), ("members",), ("redactions",), ("heads",)],
)
GAPS_FILLED = Counter("quickim_gaps_filled_total", "Holes in a conversation's Seq that were filled from the database.")

# Delivering

DELIVERIES = Counter(
    "quickim_deliveries_total", "Messages handed to connections, live and replayed.", ("protocol",), _EACH_PROTOCOL
)
DELIVERED_BYTES = Counter(
    "quickim_delivered_bytes_total",
    "Bytes of these messages: their JSON, without a protocol's framing.",
    ("protocol",),
    _EACH_PROTOCOL,
)
DELIVERY_SECONDS = Histogram(
    "quickim_delivery_latency_seconds",
    "From the database's clock inside the transaction (SendTime) to the write to the last connection of a node, once"
    " for each message and node; live ones only.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
CONNECTIONS = Gauge("quickim_connections", "Push connections that stand.", ("protocol", "platform"))
MAX_FILES = Gauge("quickim_open_files_limit", "How many files and sockets the processes may have open together.")
OUTBOX_BYTES = Gauge("quickim_outbox_bytes", "Bytes that wait for slow readers.", ("protocol",))
SLOW_READERS = Counter(
    "quickim_slow_readers_cut_total", "Connections that were cut with 4003 (too slow).", ("protocol",), _EACH_PROTOCOL
)
RESUMES = Counter(
    "quickim_resumes_total",
    "Connections that got in: outcome is fresh (no cursor), resumed, reset (too much was missed, or pruned), or"
    " continued (the next poll of a chain, without a look into the database).",
    ("protocol", "outcome"),
    [(protocol, outcome) for protocol in PROTOCOLS for outcome in ("fresh", "resumed", "reset", "continued")],
)
REPLAYED = Counter("quickim_replayed_messages_total", "Messages that were given again from the database on a resume.")

# Doors

TOKEN_FAILURES = Counter(
    "quickim_token_failures_total",
    "Tokens that were refused, by reason.",
    ("reason",),
    [
        (reason,)
        for reason in ("missing", "malformed", "unknown_key", "signature", "expired", "claims", "revoked", "ticket")
    ],
)
HTTP_REQUESTS = Counter(
    "quickim_http_requests_total",
    "HTTP answers: endpoint is a route's name, a folder (admin, playground, static) or unknown; code is the envelope's,"
    " empty where there is none.",
    ("endpoint", "status", "code"),
)
HTTP_SECONDS = Histogram(
    "quickim_http_request_duration_seconds",
    "From a request's headers to the begin of its answer; without /notify, whose polls wait.",
    _DURATIONS,
    ("endpoint",),
)

# Database

POOL_CONNECTIONS = Gauge(
    "quickim_database_pool_connections",
    "Connections of the pools: state is in_use or idle. On SQLite, of the threads that work on the database.",
    ("state",),
)
POOL_WAITING = Gauge("quickim_database_pool_waiting", "How many wait for a connection or thread of these.")
POOL_MAX = Gauge("quickim_database_pool_max_connections", "How many connections the pools may grow to.")

WORKERS = Gauge("quickim_workers", "Processes whose numbers are in this answer.")
