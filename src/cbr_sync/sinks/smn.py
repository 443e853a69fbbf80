"""A topic of Simple Message Notification as a sink for people: PublishMessage with a text for each protocol.

Source: SMN API reference, PublishMessage (huaweicloudsdksmn 3.1.219): ``message_structure`` is a string that
holds JSON, its keys are protocols, and the values of robots are JSON in a string again. A subject has at most
512 bytes, all of it 256 KB.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from cbr_sync.errors import ApiError
from cbr_sync.sinks.base import Refusals

if TYPE_CHECKING:
    from cbr_sync.huawei.client import ProjectClient
    from cbr_sync.sinks.people import PeopleMessage

# What could not be delivered for a day is no news any more.
_TIME_TO_LIVE = "86400"


class _PublishMessageResponse(BaseModel):
    message_id: str


class SmnSink:
    """Publishes one message for people."""

    def __init__(self, project: ProjectClient, topic_url: str) -> None:
        """Publish to a topic.

        Args:
            project: The topic's own project.
            topic_url: The topic's URL in the API.
        """
        self._project = project
        self._url = f"{topic_url}/publish"

    def publish(self, message: PeopleMessage, deadline: float) -> None:
        """Publish the message.

        Args:
            message: What to say.
            deadline: Reading of the clock, in seconds; nothing is sent after it.

        Raises:
            SinkError: It was not accepted.
        """
        body = {
            "subject": message.subject,
            "message_structure": _dump(build_structure(message)),
            "time_to_live": _TIME_TO_LIVE,
        }
        refusals = Refusals(self._project.redact)
        try:
            self._project.bind_retry(deadline)(
                partial(self._project.post, _PublishMessageResponse, self._url, body, deadline)
            )
        except ApiError as error:
            refusals.add(1, error)
        refusals.raise_if_any()


def build_structure(message: PeopleMessage) -> dict[str, str]:
    """Return the text of each protocol; machines get the default, the CloudEvent as JSON."""
    markdown = {"msgtype": "markdown", "markdown": {"content": message.chat}}
    titled = {"msgtype": "markdown", "markdown": {"content": message.chat, "title": message.subject}}
    return {
        "default": _dump(message.event),
        "email": message.mail,
        "sms": message.sms,
        "dingding": _dump(titled),
        "dingTalkBot": _dump(titled),
        "feishu": _dump(markdown),
        "wechat": _dump(markdown),
        # It has no Markdown.
        "welink": _dump({"msgtype": "text", "text": {"content": message.sms}}),
    }


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
