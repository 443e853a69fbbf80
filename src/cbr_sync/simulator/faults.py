"""Faults that the simulator injects on demand."""

from __future__ import annotations

import re
from enum import StrEnum


class Fault(StrEnum):
    """What can happen to a request in place of a plain HTTP status."""

    # A socket sees a request only once it is connected, so that the server resets the connection here.
    REFUSE = "refuse"
    RESET = "reset"
    RESET_AFTER = "reset-after"
    HANG = "hang"
    HANG_AFTER = "hang-after"
    TRUNCATED = "truncated"
    HTML = "html"


# What happens after the API accepted the request.
ACCEPTED_FAULTS = frozenset({Fault.RESET_AFTER, Fault.HANG_AFTER, Fault.TRUNCATED, Fault.HTML})


def parse_faults(spec: str) -> list[Fault | int]:
    """Parse a list of faults, such as ``503,429*3,reset``.

    Args:
        spec: HTTP statuses from 300 and values of ``Fault``, separated by commas; ``*3`` repeats three times.

    Returns:
        One item for each request that is to fail.

    Raises:
        ValueError: A word is not known; the message has it, and the words that are known.
    """
    faults: list[Fault | int] = []
    for word in spec.split(","):
        name, star, times = word.strip().partition("*")
        if (star and not times.isdecimal()) or not (name in set(Fault) or re.fullmatch(r"[345]\d\d", name)):
            raise ValueError(f"{word!r} is no fault; known are HTTP statuses from 300 and {', '.join(Fault)}")
        faults += [Fault(name) if name in set(Fault) else int(name)] * int(times or 1)
    return faults
