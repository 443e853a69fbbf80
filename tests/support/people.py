"""What every message for people has to keep to, judged by what we did not write."""

from __future__ import annotations

import json
import re
from typing import Any

from huaweicloudsdksmn.v2.model import PublishMessageRequestBody

from cbr_sync.sinks.people import PeopleMessage

# The SDK's own words on the keys of message_structure; WeCom, Feishu and DingTalk are the robots.
_DOCUMENTATION = PublishMessageRequestBody.message_structure.fget.__doc__ or ""
PROTOCOLS = set(re.findall("“(\\w+)”", _DOCUMENTATION.split("。")[0] + _DOCUMENTATION.split("。")[1]))
ROBOTS = {"dingding", "dingTalkBot", "feishu", "wechat", "welink"}
# Bytes of a robot's message. Sources: the same words; WeCom's page on robots, path 91770.
ROBOT_BYTES = {"dingding": 20_000, "feishu": 30 * 1024, "wechat": 4096, "welink": 2048}
# Characters by which a carrier drops a text message, and by which a robot formats.
FORBIDDEN_IN_SMS = "[]【】"
MARKDOWN = "*[]<>`~\\"
# What breaks a line, or turns its direction.
INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def check_message(message: PeopleMessage) -> None:
    """Check a message's limits and forbidden characters, whatever names and errors are in it."""
    for text in message[:4]:
        assert isinstance(text, str)
        text.encode()
        assert "cbr-sync" in text, "robots with a keyword rule drop what lacks it"
    assert len(message.subject.encode()) <= 512
    assert not INVISIBLE.search(message.subject)
    assert not INVISIBLE.search(message.sms)
    assert not INVISIBLE.search(message.mail.replace("\n", ""))
    assert not INVISIBLE.search(message.chat.replace("\n", ""))
    assert not set(FORBIDDEN_IN_SMS).intersection(message.sms)
    assert len(message.sms.encode("utf-16-le")) // 2 <= (306 if message.sms.isascii() else 134)
    check_markdown(message.chat)


def check_markdown(chat: str) -> None:
    """Check that nothing but the first line's bold and the quotes is formatted."""
    first, *others = chat.split("\n")
    assert re.fullmatch(r"\*\*(.+)\*\*", first), first
    for line in [first.strip("*"), *(line.removeprefix("> ") for line in others)]:
        assert not set(MARKDOWN).intersection(line), line
        assert not re.match(r"#|[+-] |[0-9]+\. ", line), line


def check_publish_message(body: dict[str, Any]) -> dict[str, str]:
    """Check a request of PublishMessage against the vendor's SDK, and return the texts by protocol."""
    assert set(body) <= set(PublishMessageRequestBody.attribute_map.values())
    model = PublishMessageRequestBody(**body)
    assert {name: value for name, value in model.to_dict().items() if value is not None} == body
    structure: dict[str, str] = json.loads(body["message_structure"])
    assert "default" in structure
    assert set(structure) - {"default"} <= PROTOCOLS
    assert len(body["message_structure"].encode()) <= 256 * 1024
    for robot in ROBOTS & set(structure):
        assert len(structure[robot].encode()) <= ROBOT_BYTES.get(robot, 20_000)
        content = json.loads(structure[robot])
        kind = content["msgtype"]
        assert kind == ("text" if robot == "welink" else "markdown")
        assert content[kind]["content"]
    assert json.loads(structure["default"])["type"].startswith("cbr-sync.")
    return structure
