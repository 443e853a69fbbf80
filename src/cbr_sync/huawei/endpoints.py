"""The endpoints of Huawei Cloud's services: as set, else the host of the region."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

if TYPE_CHECKING:
    from cbr_sync.settings import Settings

# Regions with an IAM endpoint of their own; the others use the global one.
# Source: huaweicloudsdkcore 3.1.219, auth/endpoint.py.
_IAM_REGIONS = {
    *(f"ap-southeast-{number}" for number in range(1, 5)),
    *(f"cn-east-{number}" for number in range(2, 6)),
    *(f"cn-north-{number}" for number in (1, 2, 4, 9, 12)),
    *("ae-ad-1", "af-south-1", "cn-south-1", "cn-south-2", "cn-southwest-2", "eu-west-0", "la-north-2"),
    *("la-south-2", "me-east-1", "my-kualalumpur-1", "na-mexico-1", "ru-moscow-1", "sa-brazil-1"),
    "tr-west-1",
}
# One region has a domain of its own, in which IAM, SMN, EventGrid, DMS and LTS answer; the vendor's table of
# CBR alone (huaweicloudsdkcbr 3.1.219, region/cbr_region.py) says .com, which looks like an oversight.
# Sources: huaweicloudsdkiam, -smn, -eg, -dms and -lts, region/*_region.py.
_EU_REGION, _EU_DOMAIN = "eu-west-101", "myhuaweicloud.eu"
_DOMAIN = "myhuaweicloud.com"


class Topic(NamedTuple):
    """An SMN topic.

    Attributes:
        urn: Its URN.
        region: The region that the URN names.
        project_id: The project that the URN names.
    """

    urn: str
    region: str
    project_id: str


class Function(NamedTuple):
    """A function of FunctionGraph: its URN, and the region and the project in it."""

    urn: str
    region: str
    project_id: str


def find_cbr_endpoint(settings: Settings) -> str:
    """Return where CBR answers: as set, or the region's host."""
    return settings.endpoint or _build_endpoint("cbr", settings.region)


def find_iam_endpoint(settings: Settings) -> str:
    """Return where IAM answers: as set, the region's host, or the global one."""
    if settings.iam_endpoint:
        return settings.iam_endpoint
    if settings.region == _EU_REGION or settings.region in _IAM_REGIONS:
        return _build_endpoint("iam", settings.region)
    return f"https://iam.{_DOMAIN}"


def find_eventgrid_endpoint(settings: Settings) -> str:
    """Return where EventGrid answers: as set, or the region's host."""
    return settings.eventgrid_endpoint or _build_endpoint("eg", settings.region)


def parse_topic_urn(urn: str) -> Topic:
    """Return the topic of a URN, as in ``urn:smn:cn-north-4:f841e01fd2b14e7fa41b6ae7aa6b0594:backup``."""
    region, project_id = urn.split(":")[2:4]
    return Topic(urn, region, project_id)


def build_topic_url(settings: Settings, topic: Topic) -> str:
    """Return the URL of a topic in SMN's API: its own region and project decide, not those of the vaults.

    Source: SMN API reference, PublishMessage.
    """
    endpoint = settings.smn_endpoint or _build_endpoint("smn", topic.region)
    return f"{endpoint}/v2/{topic.project_id}/notifications/topics/{quote(topic.urn, safe='')}"


def parse_function_urn(urn: str) -> Function:
    """Return the function of a URN, as in ``urn:fss:cn-north-4:<project id>:function:default:later``."""
    region, project_id = urn.split(":")[2:4]
    return Function(urn, region, project_id)


def build_function_url(settings: Settings, function: Function) -> str:
    """Return the URL of a function in FunctionGraph's API, at its own region and project.

    Source: FunctionGraph API reference, "Executing a Function Asynchronously".
    """
    endpoint = settings.functiongraph_endpoint or _build_endpoint("functiongraph", function.region)
    return f"{endpoint}/v2/{function.project_id}/fgs/functions/{quote(function.urn, safe='')}"


def _build_endpoint(service: str, region: str | None) -> str:
    if region == _EU_REGION:
        return f"https://{service}.{region}.{_EU_DOMAIN}"
    # Source: huaweicloudsdksmn 3.1.219, region/smn_region.py; no other service has this exception.
    domain = "myhuaweicloud.cn" if (service, region) == ("smn", "cn-north-2") else _DOMAIN
    return f"https://{service}.{region}.{domain}"
