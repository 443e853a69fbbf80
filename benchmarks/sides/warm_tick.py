"""CPU of one more idle tick."""

from measured import count, tell_cpu
from ours_function import TICK, Context, handler

tell_cpu(lambda: handler(TICK, Context()), count())
