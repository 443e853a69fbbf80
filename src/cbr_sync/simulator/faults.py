"""Faults that the simulator injects on demand."""

from __future__ import annotations

import re
from enum import StrEnum


class Fault(StrEnum):
    """What may happen to a request beside an HTTP answer."""

    REFUSE = "refuse"  # never connected; a socket sees a request only when connected, so reset there
    RESET = "reset"  # the connection breaks before the API took the request
    RESET_AFTER = "reset-after"  # the API took it, the answer is lost
    HANG = "hang"  # no answer, not taken
    HANG_AFTER = "hang-after"  # no answer, taken
    TRUNCATED = "truncated"  # taken, half an answer
    HTML = "html"  # taken, a 200 that is no JSON


ACCEPTED_FAULTS = frozenset({Fault.RESET_AFTER, Fault.HANG_AFTER, Fault.TRUNCATED, Fault.HTML})


def parse_faults(spec: str) -> list[Fault | int]:
    """The faults in words such as ``503,429*3,reset``: HTTP statuses and the names of ``Fault``.

    Raises:
        ValueError: naming the word that is not known, and those that are.
    """
    faults: list[Fault | int] = []
    for word in spec.split(","):
        name, star, times = word.strip().partition("*")
        if (star and not times.isdecimal()) or not (name in set(Fault) or re.fullmatch(r"[345]\d\d", name)):
            raise ValueError(f"{word!r} is no fault; known are HTTP statuses from 300 and {', '.join(Fault)}")
        faults += [Fault(name) if name in set(Fault) else int(name)] * int(times or 1)
    return faults
