"""The figures in Prometheus's form: one registry per connector, filled when it is scraped.

Needs the extra `metrics` (prometheus_client). Names carry base units, labels few values each: never a symbol, an
account or an order id. Label values that are known before anything happens are there from the start, with zero.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ibkr_connector.errors import ConfigurationError
from ibkr_connector.meters import SECONDS, Counted, Labels
from ibkr_connector.models.order import Action
from ibkr_connector.resilience import BreakerState
from ibkr_connector.session.link import LinkState
from ibkr_connector.watch.lookout import Figures

_OUTCOMES = ("sent", "filled", "cancelled", "rejected", "expired", "not_sent", "in_doubt", "refused")
_COUNTERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "connection_transitions": (
        "ibkr_connection_transitions",
        "Moves of the connection's state machine, and why.",
        ("to", "reason"),
    ),
    "requests": ("ibkr_requests", "Reads made of the broker, by how they ended.", ("op", "outcome")),
    "retries": ("ibkr_retries", "Reads that were made again, and after which error.", ("op", "error")),
    "orders": ("ibkr_orders", "What became of orders; sent and in_doubt are not ends.", ("side", "outcome")),
    "risk_decisions": ("ibkr_risk_decisions", "Answers of the risk gates.", ("gate", "decision")),
    "alerts": ("ibkr_alerts", "Alerts by target.", ("target", "outcome")),
}
_HISTOGRAMS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "request_duration": (
        "ibkr_request_duration_seconds",
        "How long reads took, waits and retries included.",
        ("op",),
    ),
    "pacing_wait": ("ibkr_pacing_wait_seconds", "How long messages waited for leave to be sent.", ("lane",)),
    "audit_write": ("ibkr_audit_write_seconds", "How long transactions of journal and audit trail took.", ()),
}
_KNOWN: dict[str, tuple[Labels, ...]] = {
    "orders": tuple((side.value.lower(), outcome) for side in Action for outcome in _OUTCOMES),
    "audit_write": ((),),
}


def prometheus() -> Any:
    """The prometheus_client package. Raises ConfigurationError naming the extra where it is missing."""
    try:
        return importlib.import_module("prometheus_client")
    except ImportError:
        raise ConfigurationError(
            "metrics need the prometheus_client library, which is not installed.",
            remedy='Install the extra: pip install "ibkr-connector[metrics]".',
            field="watch.http_port",
        ) from None


def make_registry(figures: Callable[[], Figures | None]) -> Any:
    """A registry of its own that reads `figures` at every scrape; None tells nothing but that they cannot be had."""
    registry = prometheus().CollectorRegistry(auto_describe=False)
    registry.register(FiguresCollector(figures))
    return registry


class FiguresCollector:
    """What prometheus_client asks at every scrape."""

    def __init__(self, figures: Callable[[], Figures | None]) -> None:
        self._figures = figures
        self._core = importlib.import_module("prometheus_client.core")

    def collect(self) -> Iterator[Any]:
        """Every family."""
        figures = self._figures()
        yield self._gauge("ibkr_up", "Whether the session answered this scrape.", [((), float(figures is not None))])
        if figures is None:
            return
        yield from self._state(figures)
        yield from self._resilience(figures)
        yield from self._orders(figures)
        yield from self._bus(figures)
        yield from self._counted(figures.counted)

    def _state(self, seen: Figures) -> Iterator[Any]:
        states = [((seen.backend, state.value), float(state is seen.state)) for state in LinkState]
        yield self._gauge("ibkr_connection_state", "1 for the state the connection is in.", states, "backend", "state")
        yield self._gauge("ibkr_broker_link", "Whether the gateway reaches IBKR.", [((), float(seen.broker_link))])
        yield self._gauge("ibkr_reconciled", "Whether orders agree with the broker's.", [((), float(seen.reconciled))])
        yield self._counter("ibkr_connections", "Connections made, synchronised or not.", {(): seen.epoch})
        planes = [((plane.value,), float(ready)) for plane, ready in seen.ready.items()]
        yield self._gauge("ibkr_ready", "Whether a plane can be used (/readyz).", planes, "plane")
        if seen.last_message_age is not None:
            age = [((), seen.last_message_age)]
            yield self._gauge("ibkr_last_message_age_seconds", "Since the broker said anything.", age)
        build = [((seen.version, seen.backend, seen.library, seen.python), 1.0)]
        yield self._gauge("ibkr_build_info", "What runs.", build, "version", "backend", "library", "python")

    def _resilience(self, seen: Figures) -> Iterator[Any]:
        states = [
            ((one.name, state.value), float(state is one.state)) for one in seen.breakers for state in BreakerState
        ]
        yield self._gauge("ibkr_breaker_state", "1 for the state a breaker is in.", states, "plane", "state")
        trips: dict[Labels, int] = {(one.name,): one.trips for one in seen.breakers}
        yield self._counter("ibkr_breaker_trips", "Times a breaker has opened.", trips, "plane")
        used = [((rule,), float(units)) for rule, units in seen.pacing.used.items()]
        yield self._gauge("ibkr_pacing_used", "Units used of a pacing rule's window.", used, "rule")
        waiting = [((lane,), float(count)) for lane, count in seen.pacing.pending.items()]
        yield self._gauge("ibkr_pacing_waiting", "Messages that wait for leave.", waiting, "lane")
        lines = [(("used",), float(seen.lines_used)), (("free",), float(seen.lines_limit - seen.lines_used))]
        yield self._gauge("ibkr_market_data_lines", "Market-data lines.", lines, "state")

    def _orders(self, seen: Figures) -> Iterator[Any]:
        yield self._gauge("ibkr_orders_unknown", "Orders in doubt.", [((), float(seen.orders_in_doubt))])
        yield self._gauge("ibkr_orders_open", "Orders that can still fill.", [((), float(seen.orders_open))])
        yield self._gauge("ibkr_trading_halted", "Whether trading was stopped.", [((), float(seen.halted))])
        if seen.journal_writable is not None:
            fine = [((), float(seen.journal_writable))]
            yield self._gauge("ibkr_journal_writable", "Whether the journal could be written last time.", fine)
        if seen.daily_loss_ratio is not None:
            # A loss counts negative, as the name says P&L: -1 is the limit.
            ratio = [((), -seen.daily_loss_ratio)]
            yield self._gauge("ibkr_daily_pnl_ratio_of_limit", "P&L of the day as a share of its limit.", ratio)

    def _bus(self, seen: Figures) -> Iterator[Any]:
        listeners = seen.listeners
        depth = [((one.name,), float(one.waiting)) for one in listeners]
        yield self._gauge("ibkr_event_queue_depth", "Events a listener has yet to hear.", depth, "listener")
        lag = [((one.name,), one.seconds) for one in listeners]
        yield self._gauge("ibkr_event_lag_seconds", "Age of the event a listener is at.", lag, "listener")
        dropped: dict[Labels, int] = {(one.name,): one.dropped for one in listeners}
        yield self._counter("ibkr_events_dropped", "Events that did not fit into a queue.", dropped, "listener")
        raised: dict[Labels, int] = {(one.name,): one.raised for one in listeners}
        yield self._counter("ibkr_listener_errors", "Times a listener raised.", raised, "listener")

    def _counted(self, counted: Counted) -> Iterator[Any]:
        for name, (metric, text, labels) in _COUNTERS.items():
            known = dict.fromkeys(_KNOWN.get(name, ()), 0)
            yield self._counter(metric, text, {**known, **counted.counts.get(name, {})}, *labels)
        for name, (metric, text, labels) in _HISTOGRAMS.items():
            family = self._core.HistogramMetricFamily(metric, text, labels=labels)
            for values, one in counted.seconds.get(name, {}).items():
                family.add_metric(values, buckets=list(_cumulative(one.buckets)), sum_value=one.total)
            yield family

    def _gauge(self, name: str, text: str, samples: Iterable[tuple[Labels, float]], *labels: str) -> Any:
        family = self._core.GaugeMetricFamily(name, text, labels=labels)
        for values, value in samples:
            family.add_metric(values, value)
        return family

    def _counter(self, name: str, text: str, samples: Mapping[Labels, int], *labels: str) -> Any:
        family = self._core.CounterMetricFamily(name, text, labels=labels)
        for values, value in samples.items():
            family.add_metric(values, value)
        return family


def _cumulative(buckets: list[int]) -> Iterator[tuple[str, int]]:
    total = 0
    for bound, count in zip((*SECONDS, math.inf), buckets, strict=True):
        total += count
        yield ("+Inf" if bound == math.inf else f"{bound:g}", total)
