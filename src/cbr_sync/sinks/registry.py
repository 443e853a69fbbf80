"""All sinks but the log: when each is on, and how it is built. Only a sink that is on is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from cbr_sync.app import App
    from cbr_sync.huawei.client import ProjectClient
    from cbr_sync.settings import Settings
    from cbr_sync.sinks.base import PeopleSink, Sink

SinkT = TypeVar("SinkT")


class SinkServices(Protocol):
    """What a sink may be built from."""

    @property
    def app(self) -> App:
        """The instance."""

    def build_project_client(self, project_id: str | None = None) -> ProjectClient:
        """Return a client of a project on Huawei Cloud: the function's own, if left out."""


class SinkEntry(NamedTuple, Generic[SinkT]):
    """A sink that can be switched on.

    Attributes:
        name: As it stands in errors; the doctor has a check under the same name.
        setting: The variable that switches it on; the README explains it.
        is_on: Whether the settings ask for it.
        build: Builds it for one event; raises SinkError or SettingsError where something is missing.
    """

    name: str
    setting: str
    is_on: Callable[[Settings], bool]
    build: Callable[[SinkServices], SinkT]


def _build_sqs(services: SinkServices) -> Sink:
    from cbr_sync.aws.sqs import build_sqs_client  # noqa: PLC0415
    from cbr_sync.sinks.sqs import SqsSink  # noqa: PLC0415

    app, settings = services.app, services.app.settings
    queue_url = settings.sqs_queue_url or ""
    return SqsSink(
        build_sqs_client(app.http, queue_url, app.environ, app.clock.now),
        queue_url,
        retrier=app.retrier,
        request_timeout_seconds=settings.request_timeout_seconds,
    )


def _build_smn(services: SinkServices) -> PeopleSink:
    from cbr_sync.huawei.endpoints import build_topic_url, parse_topic_urn  # noqa: PLC0415
    from cbr_sync.sinks.smn import SmnSink  # noqa: PLC0415

    settings = services.app.settings
    topic = parse_topic_urn(settings.smn_topic_urn or "")
    project = services.build_project_client(topic.project_id)
    return SmnSink(project, build_topic_url(settings, topic))


def _build_sns(services: SinkServices) -> PeopleSink:
    from cbr_sync.aws.sns import build_sns_client  # noqa: PLC0415
    from cbr_sync.sinks.sns import SnsSink  # noqa: PLC0415

    app, settings = services.app, services.app.settings
    topic_arn = settings.sns_topic_arn or ""
    return SnsSink(
        build_sns_client(app.http, topic_arn, app.environ, app.clock.now),
        topic_arn,
        retrier=app.retrier,
        request_timeout_seconds=settings.request_timeout_seconds,
    )


def _build_eventgrid(services: SinkServices) -> Sink:
    from cbr_sync.sinks.eventgrid import EventGridSink  # noqa: PLC0415

    return EventGridSink(services.build_project_client(), services.app.settings)


# For machines: each gets all events.
SINKS: tuple[SinkEntry[Sink], ...] = (
    SinkEntry(
        "sqs",
        setting="CBR_SYNC_SQS_QUEUE_URL",
        is_on=lambda settings: settings.sqs_queue_url is not None,
        build=_build_sqs,
    ),
    SinkEntry(
        "eventgrid",
        setting="CBR_SYNC_EVENTGRID_CHANNEL_ID",
        is_on=lambda settings: settings.eventgrid_channel_id is not None,
        build=_build_eventgrid,
    ),
)
# For people: each gets one message for a run that has something to say.
PEOPLE_SINKS: tuple[SinkEntry[PeopleSink], ...] = (
    SinkEntry(
        "smn",
        setting="CBR_SYNC_SMN_TOPIC_URN",
        is_on=lambda settings: settings.smn_topic_urn is not None,
        build=_build_smn,
    ),
    SinkEntry(
        "sns",
        setting="CBR_SYNC_SNS_TOPIC_ARN",
        is_on=lambda settings: settings.sns_topic_arn is not None,
        build=_build_sns,
    ),
)
ALL_SINKS: tuple[SinkEntry[Sink] | SinkEntry[PeopleSink], ...] = (*SINKS, *PEOPLE_SINKS)
