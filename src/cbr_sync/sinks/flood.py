"""How often people may be written to by what others start: a burst, and then one message at a time."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cbr_sync.clock import Clock

# A robot of DingTalk is blocked for ten minutes after twenty messages in one minute.
BURST = 3
SECONDS_PER_MESSAGE = 600.0


class FloodLimit:
    """A token bucket for one instance; what it holds back is counted, and mentioned in the next message."""

    def __init__(self, clock: Clock) -> None:
        """Start full.

        Args:
            clock: The instance's clock.
        """
        self._clock = clock
        self._lock = Lock()
        self._tokens = float(BURST)
        self._filled_at = clock.monotonic()
        self._held_back = 0

    def take(self, *, is_limited: bool) -> int | None:
        """Ask to send one message.

        Args:
            is_limited: Whether this one counts; those of timers and schedules do not.

        Returns:
            How many messages were held back before it, or None if this one is held back, too.
        """
        with self._lock:
            if is_limited and not self._take_token():
                self._held_back += 1
                return None
            held_back, self._held_back = self._held_back, 0
            return held_back

    def _take_token(self) -> bool:
        now = self._clock.monotonic()
        filled = self._tokens + (now - self._filled_at) / SECONDS_PER_MESSAGE
        self._tokens, self._filled_at = min(float(BURST), filled), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
