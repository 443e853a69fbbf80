"""CPU of one call of the API inside: the vendor's SDK."""

import os

from measured import count, tell_cpu
from peer_function import start_sync

tell_cpu(lambda: start_sync(os.environ["CBR_SYNC_VAULTS"]), count())
