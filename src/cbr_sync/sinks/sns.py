"""A topic of Amazon SNS as a sink for people: Publish with a text for each protocol.

Source: SNS API reference, Publish: with ``MessageStructure`` ``json`` the message is an object whose keys are
protocols, ``default`` among them; a subject has fewer than 100 characters; all of it 256 KB at most.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from cbr_sync.errors import ApiError
from cbr_sync.sinks.base import Refusals
from cbr_sync.sinks.wording import cut

if TYPE_CHECKING:
    from cbr_sync.aws.sns import SnsClient
    from cbr_sync.retry import Retrier
    from cbr_sync.sinks.people import PeopleMessage

MAX_SUBJECT_LENGTH = 99


class SnsSink:
    """Publishes one message for people to a standard topic."""

    def __init__(
        self, client: SnsClient, topic_arn: str, *, retrier: Retrier, request_timeout_seconds: float
    ) -> None:
        """Publish to a topic.

        Args:
            client: Signs and sends.
            topic_arn: The topic.
            retrier: Repeats attempts.
            request_timeout_seconds: How long one request may take.
        """
        self._client = client
        self._topic_arn = topic_arn
        self._retrier = retrier
        self._request_timeout_seconds = request_timeout_seconds

    def publish(self, message: PeopleMessage, deadline: float) -> None:
        """Publish the message.

        Args:
            message: What to say.
            deadline: Reading of the clock, in seconds; nothing is sent after it.

        Raises:
            SinkError: It was not accepted.
        """
        parameters = {
            "TopicArn": self._topic_arn,
            "Subject": cut(message.subject, MAX_SUBJECT_LENGTH),
            "MessageStructure": "json",
            "Message": json.dumps(build_structure(message), ensure_ascii=False),
        }
        refusals = Refusals(self._client.redact)
        try:
            self._retrier.call(
                partial(self._publish, parameters, deadline), deadline=deadline, count_all=True
            )
        except ApiError as error:
            refusals.add(1, error)
        refusals.raise_if_any()

    def _publish(self, parameters: dict[str, str], deadline: float) -> None:
        timeout = min(self._request_timeout_seconds, self._retrier.clock.remaining_seconds(deadline))
        self._client.call("Publish", parameters, timeout_seconds=timeout)


def build_structure(message: PeopleMessage) -> dict[str, str]:
    """Return the text of each protocol; machines get the default, the CloudEvent as JSON."""
    return {
        "default": json.dumps(message.event, ensure_ascii=False),
        "email": message.mail,
        "sms": message.sms,
    }
