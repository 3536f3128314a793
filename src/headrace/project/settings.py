"""The settings of ``headrace.toml``, section by section, and the table of connectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from headrace.connect.callable import PythonSettings
from headrace.connect.console import ConsoleSettings
from headrace.connect.file_output_settings import FileOutputSettings
from headrace.connect.files import FileSettings
from headrace.connect.hub import HubSettings
from headrace.connect.postgresql import PostgresqlSettings
from headrace.connect.queue import QueueSettings
from headrace.connect.sqlite import SqliteSettings
from headrace.connect.table import TableSettings
from headrace.connect.topic import TopicInputSettings, TopicOutputSettings
from headrace.connect.webhook import WebhookSettings
from headrace.engine.bad_input import BadInput, OnBad
from headrace.errors import did_you_mean
from headrace.events.watermark import Policy
from headrace.limits import CALENDAR_DAYS, MAX_INSTANCES, MAX_LATE_DAYS
from headrace.local.fair_queue import TenantShare
from headrace.project.references import ReferenceSettings
from headrace.series.output_settings import SeriesSettings
from headrace.series.settings import DatasetSettings

StreamSettings = HubSettings | QueueSettings | FileSettings
InputSettings = StreamSettings | DatasetSettings | ReferenceSettings
OutputSettings = (
    TableSettings
    | QueueSettings
    | HubSettings
    | FileOutputSettings
    | ConsoleSettings
    | WebhookSettings
    | SqliteSettings
    | PostgresqlSettings
    | PythonSettings
    | TopicOutputSettings
    | SeriesSettings
)

#: The connectors, by the word that `kind` has.
INPUT_KINDS: Final[dict[str, type[InputSettings | TopicInputSettings]]] = {
    "hub": HubSettings,
    "queue": QueueSettings,
    "topic": TopicInputSettings,  # becomes the queue that the subscription is
    "file": FileSettings,
    "dataset": DatasetSettings,
    "reference": ReferenceSettings,
}
OUTPUT_KINDS: Final[dict[str, type[OutputSettings]]] = {
    "table": TableSettings,
    "queue": QueueSettings,
    "hub": HubSettings,
    "file": FileOutputSettings,
    "console": ConsoleSettings,
    "webhook": WebhookSettings,
    "sqlite": SqliteSettings,
    "postgresql": PostgresqlSettings,
    "python": PythonSettings,
    "topic": TopicOutputSettings,
    "series": SeriesSettings,
}


def read_inputs(given: Mapping[str, InputSettings | TopicInputSettings]) -> dict[str, InputSettings]:
    """Return inputs as they are read: a subscription of a topic is a queue."""
    return {key: s.queue if isinstance(s, TopicInputSettings) else s for key, s in given.items()}


class FunctionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A function of queries: a `model` (shipped name or path), or a Python function as ``file.py:name``.

    With `batch` the Python function takes a list of argument tuples and returns a result for each.
    """

    model: str | None = None
    python: str | None = None
    batch: bool = False


class JobSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job: its query as a file or in place, and the number of processes that run it.

    The others are its policy for events that TIMESTAMP BY finds late or out of order, and for bad ones. A job
    that reads a dataset has `threads` in each process, which use about `memory_megabytes` together.
    """

    query: str | None = None
    sql: str | None = None
    instances: Annotated[int, msgspec.Meta(ge=1, le=MAX_INSTANCES)] = 1
    late_seconds: Annotated[float, msgspec.Meta(ge=0, le=MAX_LATE_DAYS * 86_400)] = 5
    out_of_order_seconds: Annotated[float, msgspec.Meta(ge=0, le=MAX_LATE_DAYS * 86_400)] = 0
    out_of_order_action: Literal["adjust", "drop"] = "adjust"
    on_bad: OnBad | dict[str, OnBad] = "dead-letter"
    max_bad_share: Annotated[float, msgspec.Meta(ge=0, lt=1)] | None = None
    min_bad: Annotated[int, msgspec.Meta(ge=1)] = 100
    threads: Annotated[int, msgspec.Meta(ge=1, le=MAX_INSTANCES)] = 1
    memory_megabytes: Annotated[int, msgspec.Meta(ge=64, le=1_000_000)] = 256

    @property
    def bad(self) -> BadInput:
        """What becomes of events that cannot be read, and how many stop the job."""
        if isinstance(self.on_bad, str):
            return BadInput(self.on_bad, {}, self.max_bad_share, self.min_bad)
        return BadInput("dead-letter", self.on_bad, self.max_bad_share, self.min_bad)

    @property
    def policy(self) -> Policy:
        """What becomes of events that come late or out of order."""
        return Policy(self.late_seconds, self.out_of_order_seconds, self.out_of_order_action)


def joint_problems(
    inputs: Mapping[str, InputSettings],
    outputs: Mapping[str, OutputSettings],
    jobs: Mapping[str, JobSettings],
) -> Iterator[str]:
    """Yield what no table says alone: keys of inputs at outputs, and inputs that are not there."""
    for name, output in outputs.items():
        if isinstance(output, HubSettings | QueueSettings):
            for key, only in (("format", "json"), ("delimiter", ",")):
                if getattr(output, key) != only:
                    yield (
                        f"outputs.{name}.{key}: rows are JSON in a hub or a queue; only inputs have the "
                        "setting. Leave it out"
                    )
    for name, job in jobs.items():
        for read in job.on_bad if isinstance(job.on_bad, dict) else ():
            if not isinstance(inputs.get(read), StreamSettings):
                hint = did_you_mean(read, inputs)
                yield f"jobs.{name}.on_bad.{read}: there is no such input of events. {hint}".rstrip()


class ProjectSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the project as a whole; `data` is the folder of all that it stores."""

    data: str = ".headrace"


class TenantSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a tenant gets of the queues that jobs read: see `TenantShare`.

    Its histories are kept for `retention_days`, by default as the output that they are in says.
    """

    weight: float = 1
    urgent: bool = False
    max_in_flight: int | None = None
    retention_days: Annotated[float, msgspec.Meta(gt=0, le=CALENDAR_DAYS)] | None = None

    def __post_init__(self) -> None:
        _ = self.share

    @property
    def share(self) -> TenantShare:
        """What the tenant gets of a queue."""
        return TenantShare(self.weight, self.urgent, self.max_in_flight)


class PublishSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The HTTP publishing endpoint: `keys` maps key names to shared secrets."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8710
    keys: dict[str, str] = {}
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1)] = 1_048_576

    def __repr__(self) -> str:
        shown = dict.fromkeys(self.keys, "***")
        return f"PublishSettings(host={self.host!r}, port={self.port}, keys={shown})"


PlaceSettings = (
    HubSettings | QueueSettings | TableSettings | FileSettings | FileOutputSettings | TopicOutputSettings
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where events or rows are: `name` is the own name of the hub, queue or table, not the settings' key.

    Files have their path, or a pattern, as their name.
    """

    kind: str
    name: str
    settings: PlaceSettings

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}'"


def place_of(key: str, settings: InputSettings | OutputSettings) -> Place | None:
    """Return the place of an input or output called `key`, None if it has none, as the console."""
    match settings:
        case HubSettings():
            return Place("hub", settings.hub or key, settings)
        case QueueSettings():
            return Place("queue", settings.queue or key, settings)
        case TableSettings():
            return Place("table", settings.table or key, settings)
        case FileSettings() | FileOutputSettings():
            return Place("file", settings.given_path, settings)
        case TopicOutputSettings():
            return Place("topic", settings.topic or key, settings)
        case _:
            return None
