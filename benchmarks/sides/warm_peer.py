"""CPU of one more event with one vault: the peer's whole handler."""

from measured import count, tell_cpu
from peer_function import SCHEDULE, handler

tell_cpu(lambda: handler(SCHEDULE, None), count())
