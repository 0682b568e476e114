"""The kiosk's own numbers for ``/metrics``, beside those of the service."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from service.kiosk.loop import Counters
from service.monitoring.health import Health
from service.outputs.base import Outputs

BUCKETS_S = (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0)
STATES = ("idle", "face", "deciding", "decided", "cool_down", "locked")


class Latencies:
    """A histogram of nanoseconds; written by one thread, read by any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._sum_ns = 0

    def add(self, ns: int) -> None:
        place = next((i for i, bound in enumerate(BUCKETS_S) if ns <= bound * 1e9), len(BUCKETS_S))
        with self._lock:
            self._counts[place] += 1
            self._sum_ns += ns

    def family(self, name: str, text: str) -> Metric:
        with self._lock:
            counts, total = list(self._counts), self._sum_ns
        buckets, running = [], 0
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), counts, strict=True):
            running += count
            buckets.append((bound, float(running)))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=total / 1e9)


class KioskCollector(Collector):
    """States, decisions, outputs. Everything is read when it is asked for. Conditions are the service's to count."""

    def __init__(
        self, health: Health, counters: Counters, state: Callable[[], str], outputs: Outputs, latencies: Latencies
    ) -> None:
        self._health, self._counters, self._state = health, counters, state
        self._outputs, self._latencies = outputs, latencies

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("adsn_kiosk_ready", "1 while decisions can be made.", value=self._health.ready)
        states = GaugeMetricFamily("adsn_kiosk_state", "1 for the state it is in.", labels=["state"])
        now = self._state()
        for state in STATES:
            states.add_metric([state], state == now)
        yield states
        counters = self._counters
        yield CounterMetricFamily("adsn_kiosk_pairs", "Pairs that were judged.", value=counters.pairs)
        yield CounterMetricFamily("adsn_kiosk_pairs_missed", "Pairs replaced by newer ones.", value=counters.missed)
        yield CounterMetricFamily("adsn_kiosk_errors", "Pairs that could not be judged.", value=counters.errors)
        decisions = CounterMetricFamily("adsn_kiosk_sessions", "Sessions that were decided.", labels=["decision"])
        for decision, count in counters.decisions.items():
            decisions.add_metric([decision], count)
        yield decisions
        events = CounterMetricFamily("adsn_output_events", "What became of events.", labels=["output", "result"])
        for channel in self._outputs.channels:
            for result, count in channel.counts().items():
                events.add_metric([channel.name, result], count)
        yield events
        yield self._latencies.family("adsn_kiosk_latency_seconds", "From a pair's completion to its judgement.")
