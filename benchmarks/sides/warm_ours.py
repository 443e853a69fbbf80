"""CPU of one more event with one vault: the whole handler, with its log line and SQS."""

from measured import count, tell_cpu
from ours_function import SCHEDULE, Context, handler

tell_cpu(lambda: handler(SCHEDULE, Context()), count())
