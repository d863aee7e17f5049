"""Metrics in Prometheus' text format, in a registry of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from engine.version import __version__

__all__ = ["CONTENT_TYPE_LATEST", "Metrics", "Sample"]

SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

Sample = Callable[[], Mapping[str, float]]
"""Returns the present values by the value of their label."""


class Metrics:
    """What the server counts. A server has one of these."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "cytosynth_http_requests",
            "Requests by route and status.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "cytosynth_http_request_seconds",
            "Seconds from the first byte of a request to the end of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._pictures = Counter(
            "cytosynth_pictures", "Drawn pictures by bundle and class.", ["bundle", "class"], registry=self._registry
        )
        self._picture_seconds = Histogram(
            "cytosynth_picture_seconds",
            "Seconds per picture: those of a batch, divided by its number of pictures.",
            ["bundle", "class"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.active = Gauge(
            "cytosynth_http_requests_active", "Requests that are being answered.", registry=self._registry
        )
        Info("cytosynth", "Version of the engine.", registry=self._registry).info({"version": __version__})
        ProcessCollector(registry=self._registry)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request. route: the pattern of its path, of which there are few."""
        self._requests.labels(method if method in METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def drew(self, bundle: str, class_name: str, pictures: int, seconds: float) -> None:
        """Count pictures that were drawn together. seconds: those that all of them took."""
        if pictures > 0:
            self._pictures.labels(bundle, class_name).inc(pictures)
            timed = self._picture_seconds.labels(bundle, class_name)
            for _ in range(pictures):
                timed.observe(seconds / pictures)

    def watch(self, name: str, text: str, label: str, sample: Sample, *, counter: bool = False) -> None:
        """Add a metric whose values are asked for at each scrape."""
        self._registry.register(_Watched(name, text, label, sample, counter))

    def text(self) -> bytes:
        """Return the present values in Prometheus' text format."""
        return generate_latest(self._registry)


class _Watched(Collector):
    def __init__(self, name: str, text: str, label: str, sample: Sample, counter: bool) -> None:
        self._name, self._text, self._label, self._sample = name, text, label, sample
        self._kind = CounterMetricFamily if counter else GaugeMetricFamily

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield the metric with its present values."""
        family = self._kind(self._name, self._text, labels=[self._label])
        for key, value in sorted(self._sample().items()):
            family.add_metric([key], value)
        yield family
