"""Every metric, in one place; `GET /metrics` prints them.

Names follow Prometheus' conventions: a base unit, `_total` for what only grows. The balance of the
books can be read off `meterhouse_events_total` and `meterhouse_journal_events`.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from meterhouse import zones

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics of one process, registered in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._request_children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "meterhouse_requests",
            "Requests answered, by method, route and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "meterhouse_request_seconds",
            "Time from the first byte of a request to its answer, by route.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.events = Counter(
            "meterhouse_events",
            "Events of this process: acknowledged, then accepted, duplicate or rejected.",
            ("outcome", "code"),
            registry=self.registry,
        )
        self.overloads = Counter(
            "meterhouse_overloads",
            "Events refused with 429 because a queue was full, by queue.",
            ("queue",),
            registry=self.registry,
        )
        self.dropped = Counter(
            "meterhouse_dropped",
            "What was thrown away because a queue was full, by queue; never an event.",
            ("queue",),
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "meterhouse_commit_seconds",
            "Time of one group commit to the journal, fsync included.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.commit_events = Histogram(
            "meterhouse_commit_events",
            "Events in one group commit.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048),
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "meterhouse_batch_seconds",
            "Time of one processed batch, from the journal to the usage store.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.process_failures = Counter(
            "meterhouse_process_failures",
            "Batches that failed and are tried again.",
            registry=self.registry,
        )
        self.journal_events = Gauge(
            "meterhouse_journal_events",
            "Events acknowledged and not judged yet.",
            registry=self.registry,
        )
        self.stored_position = Gauge(
            "meterhouse_stored_position",
            "Everything up to this position can be read from the usage store.",
            registry=self.registry,
        )
        self.identifiers_known = Gauge(
            "meterhouse_identifiers_known",
            "1 as soon as the filter of identifiers has what was stored before the start.",
            registry=self.registry,
        )
        self.lease_epoch = Gauge(
            "meterhouse_lease_epoch",
            "The epoch of each lease that this process has: of a partition, or of a job.",
            ("lease",),
            registry=self.registry,
        )
        self.lease_takeovers = Counter(
            "meterhouse_lease_takeovers",
            "Leases taken over from a process that did not renew them in time.",
            ("lease",),
            registry=self.registry,
        )
        self.lease_renewal_failures = Counter(
            "meterhouse_lease_renewal_failures",
            "Times that this process could not renew its leases.",
            registry=self.registry,
        )
        self.partition_lag_seconds = Gauge(
            "meterhouse_partition_lag_seconds",
            "How long ago, by the ledger's clock, all that a partition had could be read.",
            ("partition",),
            registry=self.registry,
        )
        self.partition_backlog_events = Gauge(
            "meterhouse_partition_backlog_events",
            "Events that wait in a partition.",
            ("partition",),
            registry=self.registry,
        )
        self.zone_rules = Info(
            "meterhouse_timezone_rules",
            "The rules by which days of time zones are cut: IANA's version, and whose they are.",
            registry=self.registry,
        )
        self.zone_rules.info({"version": zones.rules().version, "source": zones.rules().source})
        self.delivery_attempts = Counter(
            "meterhouse_delivery_attempts",
            "Attempts to deliver an event, by what its delivery has become.",
            ("status",),
            registry=self.registry,
        )

    def note_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        # Looking a child up by its labels costs more than counting, so it is looked up once.
        children = self._request_children.get((method, route, status))
        if children is None:
            children = (
                self.requests.labels(method, route, status),
                self.request_seconds.labels(route),
            )
            self._request_children[method, route, status] = children
        count, duration = children
        count.inc()
        duration.observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
