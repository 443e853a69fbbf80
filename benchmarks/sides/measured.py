"""How a side tells what it measured: a line that begins with RESULT."""

import json
import sys
import time
from collections.abc import Callable

WARM_UP = 100


def tell(**figures: float) -> None:
    """Print the line."""
    print("RESULT", json.dumps(figures))


def tell_cpu(function: Callable[[], object], count: int) -> None:
    """Tell the CPU microseconds of one call, when it is warm."""
    for _ in range(WARM_UP):
        function()
    begun = time.process_time()
    for _ in range(count):
        function()
    tell(cpu_us=(time.process_time() - begun) / count * 1e6)


def count() -> int:
    """How often to measure, as the command line says."""
    return int(sys.argv[1])
