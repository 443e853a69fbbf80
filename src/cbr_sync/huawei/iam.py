"""Identity and Access Management: the id of the project that belongs to a region.

Source: IAM API reference, KeystoneListProjects; the vendor's SDK looks it up in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from cbr_sync.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cbr_sync.huawei.client import SignedClient


class _Project(BaseModel):
    id: str = Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")  # it goes into paths


class _Projects(BaseModel):
    projects: list[_Project]


def find_project_id(
    client: SignedClient, iam_url: str, region: str, *, timeout_seconds: Callable[[], float]
) -> str:
    """Return the id of the region's own project (sub-projects have other names).

    Args:
        client: Signs and sends.
        iam_url: Where IAM answers.
        region: The region's id, which is the project's name.
        timeout_seconds: Returns how long the request may take; called when it is sent.

    Raises:
        ApiError: As :meth:`SignedClient.call` raises; also where there is no such project, or more than one.
    """
    url = f"{iam_url}/v3/projects?name={region}"
    projects = client.call(_Projects, "GET", url, timeout_seconds=timeout_seconds).projects
    if len(projects) != 1:
        message = f"IAM knows {len(projects)} projects named {region}; set CBR_SYNC_PROJECT_ID"
        raise ApiError("CbrSync.ProjectUnknown", message)
    return projects[0].id
