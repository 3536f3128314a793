"""Jobs as metrics for Prometheus: every name with its kind and meaning, and the samples of one look.

They are made of what `headrace status` shows. Where an input has more than `MOST_PARTITIONS` partitions they
are told as one, called ``all``: what waits is summed, of ages the largest counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from headrace.engine.health import Health
from headrace.engine.lag import Lag
from headrace.engine.stages import STAGES
from headrace.errors import UserError
from headrace.local.progress import InstanceState
from headrace.names import STAGE_MARK
from headrace.project.status import JobStatus

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

#: More series than these of one input would only tell where to look closer.
MOST_PARTITIONS: Final = 64

_JOB: Final = ("job",)
_INPUT: Final = ("job", "input", "partition")
_INSTANCE: Final = ("job", "instance")
_STAGE: Final = ("job", "instance", "stage")
_READ: Final = ("job", "instance", "input")


class Metric(NamedTuple):
    """A metric: its name, labels and meaning. One whose name ends in ``_total`` only grows."""

    name: str
    labels: tuple[str, ...]
    help: str

    @property
    def grows(self) -> bool:
        """Whether it is a counter."""
        return self.name.endswith("_total")


class Sample(NamedTuple):
    """One value of a metric; `labels` are the values of its labels."""

    name: str
    labels: tuple[str, ...]
    value: float


#: All there are, in the order in which they are told.
METRICS: Final = (
    Metric("headrace_job_health", ("job", "health"), "1 for the word that says how the job is, 0 for others"),
    Metric("headrace_job_instances", _JOB, "instances that run"),
    Metric("headrace_job_events_total", _JOB, "events read and committed since the job first ran"),
    Metric("headrace_job_rows_total", _JOB, "rows written since the job first ran"),
    Metric("headrace_job_dead_total", _JOB, "events and rows set aside since the job first ran"),
    Metric("headrace_job_dead_letters", _JOB, "dead letters that are kept now"),
    Metric("headrace_job_last_commit_timestamp_seconds", _JOB, "when the job last committed"),
    Metric("headrace_job_state_bytes", _JOB, "what its tasks keep, as last saved"),
    Metric("headrace_outbox_blocks", ("job", "output"), "blocks committed and not known to be delivered"),
    Metric("headrace_outbox_bytes", ("job", "output"), "the size of these blocks"),
    Metric("headrace_lag_events", _INPUT, "events of a hub that wait to be read"),
    Metric("headrace_lag_messages", _INPUT, "messages that stand in a queue"),
    Metric("headrace_lag_bytes", _INPUT, "bytes of files that wait to be read"),
    Metric("headrace_lag_rows", _INPUT, "rows between the stages of a job that repartitions the input"),
    Metric("headrace_lag_seconds", _INPUT, "how long ago the oldest event that waits arrived"),
    Metric("headrace_watermark_delay_seconds", _INPUT, "how far the watermark is behind the clock"),
    Metric("headrace_instance_heartbeat_timestamp_seconds", _INSTANCE, "when the instance last reported"),
    Metric("headrace_instance_epochs_total", _INSTANCE, "commits"),
    Metric("headrace_instance_cpu_seconds_total", _INSTANCE, "processor time of the process"),
    Metric("headrace_instance_seconds_total", _INSTANCE, "time since it started"),
    Metric("headrace_instance_idle_seconds_total", _INSTANCE, "time in which there was nothing to read"),
    Metric("headrace_instance_lock_wait_seconds_total", _INSTANCE, "time it waited for its turn to commit"),
    Metric("headrace_instance_ahead_wait_seconds_total", _INSTANCE, "time it waited for what is read ahead"),
    Metric("headrace_instance_background_seconds_total", _INSTANCE, "time a thread spent on reading ahead"),
    Metric("headrace_instance_memory_bytes", _INSTANCE, "memory in use"),
    Metric("headrace_instance_batch_limit_rows", _INSTANCE, "how many events it reads at once at most"),
    Metric("headrace_instance_state_rows", _INSTANCE, "rows that its tasks keep"),
    Metric("headrace_stage_busy_seconds_total", _STAGE, "time the stage was busy"),
    Metric("headrace_stage_cpu_seconds_total", _STAGE, "time its own thread had a processor in it"),
    Metric("headrace_stage_calls_total", _STAGE, "how often it was called, mostly once a batch"),
    Metric("headrace_stage_rows_in_total", _STAGE, "rows that went in"),
    Metric("headrace_stage_rows_out_total", _STAGE, "rows that came out"),
    Metric("headrace_stage_bytes_in_total", _STAGE, "bytes that went in, where rows are bytes"),
    Metric("headrace_stage_bytes_out_total", _STAGE, "bytes that came out, where rows are bytes"),
    Metric("headrace_input_events_total", _READ, "events read and committed"),
    Metric("headrace_input_rejected_total", _READ, "events that could not be read or have no place in time"),
    Metric("headrace_input_early_total", _READ, "events more than 5 minutes ahead, dropped"),
    Metric("headrace_input_late_total", _READ, "events later than the policy allows, adjusted or dropped"),
    Metric("headrace_input_out_of_order_total", _READ, "events below the watermark, adjusted or dropped"),
    Metric("headrace_input_untimed_total", _READ, "events for which TIMESTAMP BY gives no time, dropped"),
)

#: Where a counter of an instance is found in its report, and what a second or a row is there.
_OF_INSTANCE: Final = {
    "epochs_total": ("epochs", 1.0),
    "cpu_seconds_total": ("cpu_ms", 1e3),
    "seconds_total": ("wall_ms", 1e3),
    "idle_seconds_total": ("idle_ms", 1e3),
    "lock_wait_seconds_total": ("lock_wait_ms", 1e3),
    "ahead_wait_seconds_total": ("ahead_wait_ms", 1e3),
    "background_seconds_total": ("background_ms", 1e3),
    "memory_bytes": ("memory_bytes", 1.0),
    "batch_limit_rows": ("batch_limit_rows", 1.0),
    "state_rows": ("state_rows", 1.0),
}
_OF_STAGE: Final = {
    "busy_seconds_total": ("ms", 1e3),
    "cpu_seconds_total": ("cpu_ms", 1e3),
    "calls_total": ("calls", 1.0),
    "rows_in_total": ("rows_in", 1.0),
    "rows_out_total": ("rows_out", 1.0),
    "bytes_in_total": ("bytes_in", 1.0),
    "bytes_out_total": ("bytes_out", 1.0),
}
_OF_INPUT: Final = ("events", "rejected", "early", "late", "out_of_order", "untimed")


def samples(found: Iterable[JobStatus]) -> Iterator[Sample]:
    """Yield what one look found, each metric and its labels once."""
    for status in found:
        yield from _of_job(status)
        for lags in _by_input(status.lags).values():
            yield from _of_input(status, lags)
        for state in status.running:
            yield from _of_instance(state)


def exposition(found: Sequence[JobStatus]) -> tuple[bytes, str]:
    """Return the metrics as a page for Prometheus, and its media type; raises UserError without the extra."""
    try:
        import prometheus_client  # noqa: PLC0415 - optional
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - optional
    except ImportError:
        raise UserError("metrics need one package more: pip install 'headrace[metrics]'") from None
    families: dict[str, Any] = {
        metric.name: (CounterMetricFamily if metric.grows else GaugeMetricFamily)(
            metric.name, metric.help, labels=metric.labels
        )
        for metric in METRICS
    }
    for sample in samples(found):
        families[sample.name].add_metric(sample.labels, sample.value)
    registry = prometheus_client.CollectorRegistry(auto_describe=False)
    registry.register(_Collected([family for family in families.values() if family.samples]))
    return prometheus_client.generate_latest(registry), prometheus_client.CONTENT_TYPE_LATEST


class _Collected:
    """Families that were collected already, as a registry asks for them."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Sequence[Family]:
        return self._families


def _of_job(status: JobStatus) -> Iterator[Sample]:
    job = (status.job,)
    for health in get_args(Health):
        yield Sample("headrace_job_health", (status.job, health), float(status.health == health))
    yield Sample("headrace_job_instances", job, len(status.running))
    for name, total in (("events", "events_in"), ("rows", "rows_out"), ("dead", "dead")):
        yield Sample(f"headrace_job_{name}_total", job, status.totals.get(total, 0))
    yield Sample("headrace_job_dead_letters", job, status.dead_letters)
    if status.committed_us is not None:
        yield Sample("headrace_job_last_commit_timestamp_seconds", job, status.committed_us / 1e6)
    yield Sample("headrace_job_state_bytes", job, sum(status.state_bytes.values()))
    for output, waiting in status.outbox.items():
        yield Sample("headrace_outbox_blocks", (status.job, output), waiting.blocks)
        yield Sample("headrace_outbox_bytes", (status.job, output), waiting.size_bytes)


def _by_input(lags: Iterable[Lag]) -> Mapping[str, list[Lag]]:
    found: dict[str, list[Lag]] = {}
    for lag in lags:
        found.setdefault(lag.label, []).append(lag)
    return found


def _of_input(status: JobStatus, lags: Sequence[Lag]) -> Iterator[Sample]:
    parts = {str(lag.partition): [lag] for lag in lags} if len(lags) <= MOST_PARTITIONS else {"all": lags}
    for partition, own in parts.items():
        labels = (status.job, own[0].label, partition)
        yield Sample(f"headrace_lag_{own[0].unit}", labels, sum(lag.waiting for lag in own))
        yield Sample("headrace_lag_seconds", labels, max(lag.seconds(status.at_us) for lag in own))
        delays = [delay for lag in own if (delay := lag.watermark_delay_s(status.at_us)) is not None]
        if delays:
            yield Sample("headrace_watermark_delay_seconds", labels, max(delays))


def _of_instance(state: InstanceState) -> Iterator[Sample]:
    job, _, stage_of = state.job.partition(STAGE_MARK)
    labels = (job, f"{stage_of}/{state.number}" if stage_of else str(state.number))
    counters = state.counters
    yield Sample("headrace_instance_heartbeat_timestamp_seconds", labels, state.heartbeat_us / 1e6)
    for name, (counter, divisor) in _OF_INSTANCE.items():
        if counter in counters:
            yield Sample(f"headrace_instance_{name}", labels, counters[counter] / divisor)
    for stage in STAGES:
        for name, (counter, divisor) in _OF_STAGE.items():
            value = counters.get(f"{stage}_{counter}", 0) / divisor
            if value:
                yield Sample(f"headrace_stage_{name}", (*labels, stage), value)
    inputs = sorted({key.partition("/")[2] for key in counters if "/" in key})
    for name in inputs:
        for what in _OF_INPUT:
            yield Sample(f"headrace_input_{what}_total", (*labels, name), counters.get(f"{what}/{name}", 0))
