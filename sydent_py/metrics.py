"""What monitoring reads: figures that all processes have counted together, from the database, at the moment they are asked for."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from sydent_py import __version__
from sydent_py.log.published import PublishedLog
from sydent_py.replication.status import Status as PeerStatus
from sydent_py.replication.sydent_peering import Sydent
from sydent_py.services import Deliveries, Services
from sydent_py.sms.status import Status

# Beyond that it matters no more how many there are.
MAX_COUNTED = 1000


def render(services: Services) -> bytes:
    """Every figure, in Prometheus' text format. No process keeps any of its own, so that it matters not which one answers."""
    registry = CollectorRegistry(auto_describe=False)
    collectors: tuple[Collector, ...] = (
        _Build(),
        _Outbox(services.deliveries),
        _Log(services.published_log),
        _Peers(services.peering.status),
        _SydentPeers(services.sydent),
        _Keys(services),
        _Sms(services.sms.status),
    )
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry)


class _Keys(Collector):
    """Published keys."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterable[Metric]:
        differing = self._services.keys.register.differences(self._services.database, MAX_COUNTED)
        meaning = f"Users of whom servers say that different keys are theirs, at most {MAX_COUNTED}."
        yield GaugeMetricFamily("sydent_py_keys_differing_users", meaning, len(differing))


class _Build(Collector):
    """Which version this is."""

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily("sydent_py_build", "The version of the server.", {"version": __version__})


class _Outbox(Collector):
    """What waits to be delivered: it grows when no worker is active, or nobody can be reached."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    def collect(self) -> Iterable[Metric]:
        waiting = GaugeMetricFamily("sydent_py_outbox_messages", "Messages that wait to be delivered.", labels=["kind"])
        oldest = GaugeMetricFamily("sydent_py_outbox_oldest_seconds", "How long the oldest has waited.", labels=["kind"])
        for delivery in vars(self._deliveries).values():
            count, age_s = delivery.backlog()
            waiting.add_metric([delivery.kind], count)
            oldest.add_metric([delivery.kind], age_s)
        yield from (waiting, oldest)


class _Log(Collector):
    """The signed log: what waits for its place grows when no worker is active."""

    def __init__(self, published_log: PublishedLog) -> None:
        self._published_log = published_log

    def collect(self) -> Iterable[Metric]:
        status = self._published_log.status()
        entries, published_at_s = status.checkpoint.size, status.published_at_ms / 1000
        yield GaugeMetricFamily("sydent_py_log_entries", "Entries that the newest checkpoint covers.", entries)
        yield GaugeMetricFamily("sydent_py_log_checkpoint_timestamp_seconds", "When it was signed.", published_at_s)
        yield GaugeMetricFamily("sydent_py_log_pending_entries", "Entries that wait for their place.", status.pending)
        yield GaugeMetricFamily(
            "sydent_py_log_oldest_pending_seconds", "How long the oldest has waited.", status.oldest_pending_s
        )


class _Peers(Collector):
    """The peers whose logs are followed. One that is never reached succeeded last at 0."""

    def __init__(self, status: PeerStatus) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        families = [
            GaugeMetricFamily(f"sydent_py_peer_{name}", meaning, labels=["peer"])
            for name, meaning in (
                ("entries", "Entries of the peer's log that are taken over."),
                ("lag_entries", "Entries of its newest verified checkpoint that are not."),
                ("last_success_timestamp_seconds", "When its log was found to be sound last."),
                ("stopped", "1 if it is followed no more, because its log contradicts what it showed before."),
                ("quarantined_entries", "Entries of it that were put aside."),
                ("cosigned_entries", "Entries of its log that this server has cosigned."),
                ("cosigned_by_it_entries", "Entries of this server's log that it has cosigned."),
            )
        ]
        for peer in self._status.standings():
            if peer.is_followed:
                verified_s, is_stopped = (peer.verified_at_ms or 0) / 1000, peer.state == "stopped"
                followed = (peer.entries, peer.lag_entries, verified_s, is_stopped, peer.quarantined)
                figures = (*followed, peer.cosigned_entries, peer.cosigned_by_it)
                for family, figure in zip(families, figures, strict=True):
                    family.add_metric([peer.name], figure)
        yield from families


class _SydentPeers(Collector):
    """The peers that run Sydent. One that has never pushed did so last at 0; one that gets nothing of ours is behind by nothing."""

    def __init__(self, sydent: Sydent) -> None:
        self._sydent = sydent

    def collect(self) -> Iterable[Metric]:
        families = [
            GaugeMetricFamily(f"sydent_py_sydent_peer_{name}", meaning, labels=["peer"])
            for name, meaning in (
                ("behind_entries", "Entries of our log that are still to be sent."),
                ("failing", "1 if it did not take what was sent last."),
                ("last_push_timestamp_seconds", "When it pushed last."),
                ("quarantined_rows", "Rows of it that were put aside."),
            )
        ]
        for peer in self._sydent.status():
            figures = (peer.behind or 0, peer.error is not None, (peer.received_at_ms or 0) / 1000, peer.quarantined)
            for family, figure in zip(families, figures, strict=True):
                family.add_metric([peer.name], figure)
        yield from families


class _Sms(Collector):
    """Text messages by country, and the circuit breakers. A prefix is not named: that would be half of a phone number."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        sent = CounterMetricFamily("sydent_py_sms_sent", "Text messages that the provider took.", labels=["country"])
        entered = CounterMetricFamily("sydent_py_sms_converted", "Those whose code was entered.", labels=["country"])
        lost = CounterMetricFamily("sydent_py_sms_undelivered", "Those that did not arrive.", labels=["country"])
        for total in self._status.totals():
            sent.add_metric([total.country], total.sent)
            entered.add_metric([total.country], total.converted)
            lost.add_metric([total.country], total.undelivered)
        yield from (sent, entered, lost, self._breakers(), self._budget())

    def _breakers(self) -> Metric:
        labels = ["country", "scope", "state"]
        family = GaugeMetricFamily("sydent_py_sms_breakers", "Circuit breakers that are not closed.", labels=labels)
        counts: dict[tuple[str, str, str], int] = {}
        for breaker in self._status.breakers():
            key = breaker.country, "prefix" if breaker.prefix else "country", breaker.state
            counts[key] = counts.get(key, 0) + 1
        for key, count in counts.items():
            family.add_metric(key, count)
        return family

    def _budget(self) -> Metric:
        family = GaugeMetricFamily("sydent_py_sms_budget_left", "What is left of sms_overall.", labels=["rate"])
        for budget in self._status.budgets("sms_overall", ""):
            family.add_metric([budget.rate], budget.left)
        return family
