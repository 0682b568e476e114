"""Prometheus metrics of this process for ``/metrics``: separate registry, base units, bounded label sets.

Label values come from sets known in advance; any other value is counted as ``other``. No label identifies a caller, a
session or a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from runtime import __version__
from runtime.core.units import SECOND
from runtime.liveness.decision import DECISIONS
from runtime.pairing.feed import FeedStatus
from service.monitoring.health import Condition
from service.store.base import CAUSES, StoreStatus

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"
STAGES = ("queue", "wait", "decode", "locate", "crop", "quality", "inference")
FAST = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5)
CALLS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
SKEWS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
MAX_LABELS = 64
"""Maximum number of values of labels whose set is not fixed in the code: causes and reasons from a rig, and problem
codes."""


class BoundedLabels:
    """Filter that passes the first `MAX_LABELS` plain values of a label and replaces all others with ``other``."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        if value in self._seen:
            return value
        if len(self._seen) >= MAX_LABELS or len(value) > 48 or not value.replace("_", "").isalnum():
            return OTHER
        self._seen.add(value)
        return value


class Metrics:
    """All metrics. Methods are thread-safe and take microseconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._code, self._reason = BoundedLabels(), BoundedLabels()
        r = self.registry
        Info("adsn_build", "Running version.", registry=r).info({"version": __version__})
        self._requests = Counter("adsn_requests", "Requests by decision; error: no decision.", ["decision"], registry=r)
        for decision in (*DECISIONS, "error"):
            # Create the series at start, so that a rate over them is never "no data".
            self._requests.labels(decision)
        self._problems = Counter("adsn_problems", "Refused requests by error code.", ["code"], registry=r)
        self._reasons = Counter("adsn_reasons", "Reasons of decisions that were not live.", ["reason"], registry=r)
        self._seconds = Histogram("adsn_request_seconds", "Time from request to response.", buckets=FAST, registry=r)
        self._stages = Histogram(
            "adsn_stage_seconds", "Time of each stage of a request.", ["stage"], buckets=FAST, registry=r
        )
        self._inference = Histogram(
            "adsn_inference_seconds", "Time of the network for one pair.", buckets=FAST, registry=r
        )
        self._skew = Histogram(
            "adsn_pair_skew_seconds", "Difference of mid-exposures in scored pairs.", buckets=SKEWS, registry=r
        )
        self._age = Histogram(
            "adsn_pair_age_seconds", "Age of a rig's pair when it was scored.", buckets=FAST, registry=r
        )
        self._tensors = Counter("adsn_v2_samples", "Crops scored through /v2.", registry=r)
        self._refused = Counter(
            "adsn_auth_failures",
            "Requests refused by authentication or authorisation, by cause.",
            ["cause"],
            registry=r,
        )
        for cause in ("missing", "wrong", "forbidden", "limited", "cross_site"):
            self._refused.labels(cause)
        self._build = Gauge("adsn_engine_build_seconds", "Time to start the engine, including compilation.", registry=r)
        self._engine = Info("adsn_engine", "Engine that runs the model.", registry=r)
        self._degraded = Gauge(
            "adsn_engine_degraded", "1 while a fallback runs instead of the configured engine.", registry=r
        )
        self._store = Histogram(
            "adsn_store_seconds", "Time of answered calls of the shared store.", buckets=CALLS, registry=None
        )
        ProcessCollector(registry=r)

    # Updates by the routes and the kiosk.

    def answered(self, answer: Mapping[str, Any], seconds: float) -> None:
        """Count a response of ``POST /liveness`` with status 200."""
        self._requests.labels(answer["decision"] if answer["decision"] in DECISIONS else "error").inc()
        self._seconds.observe(seconds)
        for reason in answer["reasons"]:
            self._reasons.labels(self._reason(reason)).inc()
        pair = answer["pair"]
        self.pair_scored(answer["timing_ms"], pair["skew_ms"], pair["age_ms"] if pair["source"] == "camera" else None)

    def failed(self, code: str, seconds: float) -> None:
        """Count a ``POST /liveness`` that ended without a decision."""
        self._requests.labels("error").inc()
        self._problems.labels(self._code(code)).inc()
        self._seconds.observe(seconds)

    def pair_scored(self, timing_ms: Mapping[str, float], skew_ms: float | None, age_ms: float | None) -> None:
        """Count a pair that the network has scored. ``age_ms``: of a rig's pair, since its exposure."""
        for stage, ms in timing_ms.items():
            if stage in STAGES:
                self._stages.labels(stage).observe(ms / 1e3)
        if "inference" in timing_ms:
            self._inference.observe(timing_ms["inference"] / 1e3)
        if skew_ms is not None:
            self._skew.observe(skew_ms / 1e3)
        if age_ms is not None:
            self._age.observe(age_ms / 1e3)

    def scored(self, samples: int) -> None:
        """Count crops scored through ``/v2``."""
        self._tensors.inc(samples)

    def refused(self, cause: str) -> None:
        """Count a refused caller."""
        self._refused.labels(cause).inc()

    def engine_started(self, labels: Mapping[str, str], *, degraded: bool, seconds: float) -> None:
        """Record that an engine took ``seconds`` to start. ``labels``: backend, precision, device, versions, model."""
        self._engine.info({name: value[:80] for name, value in labels.items()})
        self._degraded.set(degraded)
        self._build.set(seconds)

    def store_called(self, seconds: float) -> None:
        """Record the duration of an answered call of a shared store."""
        self._store.observe(seconds)

    # Values read at each scrape.

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge ``name``. ``read`` returns its value at each scrape and may be called from any thread."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def watch_feed(self, read: Callable[[], FeedStatus], now_ns: Callable[[], int]) -> None:
        """Add metrics of the cameras and pairs of a rig. ``now_ns``: CLOCK_MONOTONIC."""
        self.registry.register(FeedCollector(read, now_ns))

    def watch_counter(self, name: str, text: str, read: Callable[[], int]) -> None:
        """Add a counter ``name`` that is kept elsewhere. ``read`` returns its value and may be called from any
        thread."""
        self.registry.register(CallbackCollector(lambda: [CounterMetricFamily(name, text, value=read())]))

    def watch_conditions(self, read: Callable[[], Iterable[Condition]]) -> None:
        """Add a metric for the current conditions."""
        name, subject = BoundedLabels(), BoundedLabels()

        def families() -> list[Metric]:
            labels = ["name", "subject", "severity"]
            family = GaugeMetricFamily("adsn_condition", "1 while the condition holds.", labels=labels)
            for c in read():
                family.add_metric([name(c.name), subject(c.subject) if c.subject else "", c.severity], 1)
            return [family]

        self.registry.register(CallbackCollector(families))

    def watch_store(self, read: Callable[[], StoreStatus]) -> None:
        """Add metrics of a shared store: whether it answers, and its failed calls."""

        def families() -> list[Metric]:
            status = read()
            failed = CounterMetricFamily(
                "adsn_store_failures", "Calls of the shared store that failed.", labels=["cause"]
            )
            for cause in CAUSES:
                failed.add_metric([cause], status.failures.get(cause, 0))
            return [
                GaugeMetricFamily("adsn_store_up", "1 while the shared store answers.", value=float(status.up)),
                failed,
            ]

        self.registry.register(self._store)
        self.registry.register(CallbackCollector(families))

    def text(self) -> bytes:
        """Return all metrics in Prometheus text format. Blocks only on locks."""
        return generate_latest(_PlainRegistry(self.registry))


class CallbackCollector(Collector):
    """Collector of metrics that are created at each scrape."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Return nothing, because registering must not read values that do not exist yet. The names in this module are
        unique."""
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._read()


class _PlainRegistry(CollectorRegistry):
    """Registry without the ``_created`` series of a standard registry, which double its size and are not used."""

    def __init__(self, inner: CollectorRegistry) -> None:
        super().__init__()
        self._inner = inner

    def collect(self) -> Iterator[Metric]:
        for metric in self._inner.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class FeedCollector(Collector):
    """Collector of the counters that a rig keeps itself."""

    def __init__(self, read: Callable[[], FeedStatus], now_ns: Callable[[], int]) -> None:
        self._read, self._now_ns = read, now_ns
        self._cause, self._reason = BoundedLabels(), BoundedLabels()

    def describe(self) -> Iterable[Metric]:
        """Return names without values, because registering must not read a rig that does not exist yet."""
        return self._families().values()

    def collect(self) -> Iterator[Metric]:
        status = self._read()
        family = self._families()
        now = self._now_ns()
        for camera in status.cameras:
            who = [camera.modality]
            family["up"].add_metric(who, float(camera.state == "running"))
            family["fps"].add_metric(who, camera.fps)
            family["frames"].add_metric(who, camera.frames)
            family["reconnects"].add_metric(who, camera.reconnects)
            for cause, count in _summed(camera.drops, self._cause).items():
                family["dropped"].add_metric([*who, cause], count)
            if camera.last_frame_ns is not None:
                family["frame_age"].add_metric(who, (now - camera.last_frame_ns) / SECOND)
        family["pairs"].add_metric([], status.pairs)
        family["pairs_rate"].add_metric([], status.pairs_per_s)
        for reason, count in _summed(status.rejected, self._reason).items():
            family["rejected"].add_metric([reason], count)
        if status.last_pair_ns is not None:
            family["pair_age"].add_metric([], (now - status.last_pair_ns) / SECOND)
        yield from family.values()

    @staticmethod
    def _families() -> dict[str, Any]:
        gauge, counter = GaugeMetricFamily, CounterMetricFamily
        camera = ["camera"]
        return {
            "up": gauge("adsn_camera_up", "1 while the camera runs.", labels=camera),
            "fps": gauge("adsn_camera_frames_per_second", "Frame rate of the camera.", labels=camera),
            "frames": counter("adsn_frames", "Frames received.", labels=camera),
            "dropped": counter("adsn_frames_dropped", "Frames dropped, by cause.", labels=[*camera, "cause"]),
            "reconnects": counter("adsn_camera_reconnects", "Times the camera was reopened.", labels=camera),
            "frame_age": gauge("adsn_camera_last_frame_age_seconds", "Time since the last frame.", labels=camera),
            "pairs": counter("adsn_pairs", "Pairs formed.", labels=[]),
            "pairs_rate": gauge("adsn_pairs_per_second", "Rate of pairs formed.", labels=[]),
            "rejected": counter("adsn_pairs_rejected", "Candidates rejected as a pair, by reason.", labels=["reason"]),
            "pair_age": gauge("adsn_last_pair_age_seconds", "Time since the last pair was complete.", labels=[]),
        }  # fmt: skip


def _summed(counts: Mapping[str, int], bound: BoundedLabels) -> dict[str, int]:
    """Return the counts by bounded label. Counts whose label becomes ``other`` are added up."""
    family: dict[str, int] = {}
    for value, count in counts.items():
        label = bound(value)
        family[label] = family.get(label, 0) + count
    return family
