"""Metrics of the kiosk on ``/metrics``, in addition to those of the service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import get_args

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.kiosk.loop import LoopCounters
from service.kiosk.state_machine import KioskState
from service.monitoring.health import Health
from service.outputs.base import Outputs

BUCKETS_S = (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0)
STATES: tuple[KioskState, ...] = get_args(KioskState)


class KioskCollector(Collector):
    """Collector of states, decisions, outputs and latencies. All but the latencies are read at each scrape.

    Conditions are exported by the service.
    """

    def __init__(self, health: Health, counters: LoopCounters, state: Callable[[], str], outputs: Outputs) -> None:
        self._health, self._counters, self._state = health, counters, state
        self._outputs = outputs
        # Not registered, because `collect` yields its samples.
        self._latency = Histogram(
            "adsn_kiosk_latency_seconds",
            "Time from a pair's completion to the end of its assessment.",
            buckets=BUCKETS_S,
            registry=None,
        )

    def add_latency(self, ns: int) -> None:
        """Add the latency of one pair to the histogram."""
        self._latency.observe(ns / 1e9)

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("adsn_kiosk_ready", "1 while the kiosk can make decisions.", value=self._health.ready)
        states = GaugeMetricFamily("adsn_kiosk_state", "1 for the current state.", labels=["state"])
        now = self._state()
        for state in STATES:
            states.add_metric([state], state == now)
        yield states
        counters = self._counters
        yield CounterMetricFamily("adsn_kiosk_pairs", "Pairs that were assessed.", value=counters.pairs)
        yield CounterMetricFamily("adsn_kiosk_pairs_missed", "Pairs replaced by newer ones.", value=counters.missed)
        yield CounterMetricFamily("adsn_kiosk_errors", "Pairs that could not be assessed.", value=counters.errors)
        decisions = CounterMetricFamily("adsn_kiosk_sessions", "Sessions by decision.", labels=["decision"])
        for decision, count in counters.decisions.items():
            decisions.add_metric([decision], count)
        yield decisions
        events = CounterMetricFamily("adsn_output_events", "Events by output and result.", labels=["output", "result"])
        for channel in self._outputs.channels:
            for result, count in channel.counts().items():
                events.add_metric([channel.name, result], count)
        yield events
        yield from self._latency.collect()
