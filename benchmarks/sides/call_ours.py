"""CPU of one call of the API inside: a SyncParam in, an operation's id out."""

import os

from measured import count, tell_cpu

from cbr_sync.clock import Clock
from cbr_sync.credentials import Credentials, KeyStates
from cbr_sync.huawei.cbr import Cbr
from cbr_sync.huawei.client import SignedClient
from cbr_sync.huawei.clock import ApiClock
from cbr_sync.models import SyncParam
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.tls import build_tls_context
from cbr_sync.transport import HttpTransport

clock = Clock()
logger = make_logger(os.environ)
transport = HttpTransport(build_tls_context(os.environ), max_idle_connections=1)
keys = Credentials(os.environ["HUAWEICLOUD_SDK_AK"], os.environ["HUAWEICLOUD_SDK_SK"])
cbr = Cbr(
    SignedClient(transport, keys, key_states=KeyStates(clock), clock=clock),
    endpoint=os.environ["CBR_SYNC_ENDPOINT"],
    project_id=os.environ["CBR_SYNC_PROJECT_ID"],
    timeout_seconds=lambda deadline: min(10.0, clock.remaining_seconds(deadline)),
    deadline=clock.monotonic() + 600,
    api_clock=ApiClock(logger),
    logger=logger,
)
param = SyncParam(vault_id=os.environ["CBR_SYNC_VAULTS"], auto_trigger=True)
tell_cpu(lambda: cbr.import_checkpoint(param), count())
