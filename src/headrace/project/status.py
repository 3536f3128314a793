"""How the jobs of a project are: one look at the namespace, whether they run or not.

Whoever shows it, on a terminal, as JSON or as metrics, shows this.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from headrace.connect.files import FileSettings
from headrace.connect.hub import HubSettings
from headrace.connect.queue import QueueSettings
from headrace.engine.health import Health, health_of
from headrace.engine.lag import Lag, exchange_lags, file_lag, hub_lags, queue_lag, watermarks_us
from headrace.engine.telemetry import Rates, rates
from headrace.errors import HeadraceError, UserError
from headrace.limits import MAX_INPUT_FILE_BYTES
from headrace.local.hub import Hub
from headrace.local.input_files import InputFiles
from headrace.local.namespace import Namespace
from headrace.local.progress import InstanceState, Position, Progress
from headrace.local.standing import Standing, Waiting, dead_letters_of, standing_of
from headrace.names import STAGE_MARK, stage_name
from headrace.project.project import Project
from headrace.project.running import RUN_TASK
from headrace.project.stages import layout_of, look_at_exchange
from headrace.sql.partitioning import Repartition

#: A heartbeat this young says that an instance runs, where nobody may look at the locks.
_ALIVE_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One job at `at_us`: how it is, its instances, and what waits before and behind it.

    `instances` are those that last reported, of all its stages; `rates` what they did since the look before,
    by stage name and number. `trouble` says what kept us from knowing more.
    """

    job: str
    health: Health
    at_us: int
    instances: Sequence[InstanceState]
    lags: Sequence[Lag]
    totals: Mapping[str, int]
    dead_letters: int
    outbox: Mapping[str, Waiting]
    state_bytes: Mapping[str, int]
    committed_us: int | None
    trouble: str = ""
    rates: Mapping[str, Rates] = field(default_factory=dict)

    @property
    def running(self) -> list[InstanceState]:
        """The instances that have not ended."""
        if self.health in {"stopped", "failed"}:
            return []
        return [state for state in self.instances if state.condition.state != "ended"]

    def waiting(self) -> dict[str, int]:
        """Return how much waits of all inputs, by unit."""
        sums: dict[str, int] = {}
        for lag in self.lags:
            sums[lag.unit] = sums.get(lag.unit, 0) + lag.waiting
        return sums

    @property
    def lag_s(self) -> float:
        """How old the oldest event is that waits."""
        return max((lag.seconds(self.at_us) for lag in self.lags), default=0.0)

    def plain(self) -> dict[str, Any]:
        """Return the status as plain values for JSON."""
        return {
            "job": self.job,
            "health": self.health,
            "committed_age_s": age_s(self.committed_us, self.at_us),
            "lag_s": round(self.lag_s, 3),
            "waiting": self.waiting(),
            "inputs": [
                asdict(lag)
                | {
                    "lag_s": round(lag.seconds(self.at_us), 3),
                    "watermark_delay_s": lag.watermark_delay_s(self.at_us),
                }
                for lag in self.lags
            ],
            "instances": [self._plain_instance(state) for state in self.instances],
            "totals": dict(self.totals),
            "dead_letters": self.dead_letters,
            "outbox": {name: waiting._asdict() for name, waiting in self.outbox.items()},
            "state_bytes": dict(self.state_bytes),
            "trouble": self.trouble,
        }

    def _plain_instance(self, state: InstanceState) -> dict[str, Any]:
        own = self.rates.get(f"{state.job} {state.instance}")
        return {
            "job": state.job,
            "instance": state.number,
            "process": state.pid,
            "state": state.condition.state,
            "since_us": state.condition.since_us,
            "note": state.condition.note,
            "heartbeat_age_s": age_s(state.heartbeat_us, self.at_us),
            "counters": state.counters,
            "rates": None if own is None else asdict(own),
        }


class Looking:
    """Looks at the jobs of a project again and again; what changed between two looks are rates."""

    def __init__(self, project: Project, namespace: Namespace, jobs: Sequence[str]) -> None:
        self._project, self._namespace, self._jobs = project, namespace, jobs
        self._before: dict[str, InstanceState] = {}
        self._rates: dict[str, Rates] = {}

    def look(self) -> list[JobStatus]:
        """Return how each job is now."""
        return [self._status(job) for job in self._jobs]

    def _status(self, job: str) -> JobStatus:
        progress, now_us = Progress(self._namespace), self._namespace.clock.now_us()
        trouble, stages = "", dict[str, Repartition]()
        try:
            stages = dict(layout_of(self._project, self._project.script(job)).repartitions)
        except (HeadraceError, OSError) as error:
            trouble = str(error)
        names = [job, *(stage_name(job, name) for name in stages)]
        wanted = progress.scale(job) or self._project.job(job).instances
        states = [state for name in names for state in progress.instances(name) if state.number < wanted]
        stands = {name: standing_of(self._namespace, name) for name in names}
        lags: list[Lag] = []
        for name in self._inputs(job):
            reader = stage_name(job, name) if name in stages else job
            try:
                lags += self._lags(reader, name, stands[reader])
                if name in stages:
                    lags += self._lags_between(job, name, stages[name], stands[job])
            except (HeadraceError, OSError) as error:
                trouble = trouble or f"input '{name}': {error}"
        waiting = sum(lag.waiting for lag in lags)
        committed = [stand.committed_us for stand in stands.values() if stand.committed_us is not None]
        return JobStatus(
            job,
            health_of(states, waiting, now_us, held=_is_held(progress, job, states, now_us)),
            now_us,
            states,
            lags,
            progress.counts(job),
            dead_letters_of(self._namespace, job),
            dict(_merged(stand.outbox for stand in stands.values())),
            {
                f"{name.partition(STAGE_MARK)[2]} {task}".strip(): size
                for name, stand in stands.items()
                for task, size in stand.states.items()
            },
            max(committed, default=None),
            trouble,
            self._since_before(states),
        )

    def _inputs(self, job: str) -> Sequence[str]:
        with contextlib.suppress(HeadraceError):
            return self._project.script(job).inputs
        return []

    def _since_before(self, states: Sequence[InstanceState]) -> dict[str, Rates]:
        found = {}
        for state in states:
            key = f"{state.job} {state.instance}"
            before = self._before.get(key)
            if before is None or before.heartbeat_us != state.heartbeat_us:
                new = None if before is None else rates(before, state)
                self._before[key] = state
                if new is None:
                    self._rates.pop(key, None)
                else:
                    self._rates[key] = new
            if key in self._rates and state.condition.state != "ended":
                found[key] = self._rates[key]
        return found

    def _lags(self, reader: str, name: str, stand: Standing) -> list[Lag]:
        if (dataset := self._project.datasets.get(name)) is not None:
            return [queue_lag(name, self._namespace, dataset.queue or name)]
        match self._project.streams[name]:
            case HubSettings() as hub:
                return self._hub_lags(name, hub, stand)
            case QueueSettings() as queue:
                return [queue_lag(name, self._namespace, queue.queue or name)]
            case FileSettings() as files:
                known = stand.positions.get((name, 0), Position(0))
                number, at = divmod(known.next_offset, MAX_INPUT_FILE_BYTES)
                record = InputFiles(self._namespace, reader, name).since(0)
                mark = watermarks_us(stand.epochs, name, 1)[0]
                return [file_lag(name, self._project.folder, files, record, number, at, mark)]

    def _lags_between(self, job: str, name: str, repartition: Repartition, stand: Standing) -> list[Lag]:
        hub = look_at_exchange(self._namespace, job, name, repartition)
        if hub is None:
            return []
        with contextlib.closing(hub):
            marks = watermarks_us(stand.epochs, name, hub.partitions)
            return exchange_lags(name, hub, stand.passed_on, marks)

    def _hub_lags(self, name: str, settings: HubSettings, stand: Standing) -> list[Lag]:
        own, folder = settings.hub or name, self._namespace.hubs_folder
        if own not in Hub.names(folder):
            return []  # nothing was ever sent there
        with contextlib.closing(Hub.open(folder, own, looking=True)) as hub:
            marks = watermarks_us(stand.epochs, name, hub.partitions)
            return hub_lags(name, hub, stand.positions, marks)


@contextlib.contextmanager
def looking(project: Project, jobs: Sequence[str]) -> Iterator[Looking]:
    """Open the namespace of a project, if only to look; raises `UserError` where nothing is stored yet."""
    for job in jobs:
        project.job(job)
    with Namespace.open(project.data, create=False, looking=True) as namespace:
        yield Looking(project, namespace, jobs)


def chosen(project: Project, jobs: Sequence[str]) -> list[str]:
    """Return the jobs that were named, each once, or all."""
    for job in jobs:
        project.job(job)
    found = list(dict.fromkeys(jobs)) or list(project.jobs)
    if not found:
        raise UserError("the project has no jobs: add a [jobs.NAME] section to headrace.toml")
    return found


def age_s(time_us: int | None, now_us: int) -> float | None:
    """Return how long ago a time is in seconds, None where there is none."""
    return None if time_us is None else round(max(0.0, (now_us - time_us) / 1e6), 3)


def _is_held(progress: Progress, job: str, states: Sequence[InstanceState], now_us: int) -> bool:
    """Tell whether a `headrace run` has the job; by the heartbeats where locks cannot be looked at."""
    try:
        return progress.is_held(job, RUN_TASK)
    except (HeadraceError, OSError):
        alive_us = now_us - int(_ALIVE_S * 1e6)
        return any(s.heartbeat_us > alive_us and s.condition.state != "ended" for s in states)


def _merged(parts: Iterable[Mapping[str, Waiting]]) -> dict[str, Waiting]:
    sums: dict[str, Waiting] = {}
    for part in parts:
        for name, waiting in part.items():
            before = sums.get(name, Waiting(0, 0))
            sums[name] = Waiting(before.blocks + waiting.blocks, before.size_bytes + waiting.size_bytes)
    return sums
