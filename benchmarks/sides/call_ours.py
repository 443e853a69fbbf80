"""CPU of one call of the API inside: a SyncParam in, an operation's id out."""

import os
from datetime import UTC, datetime

from measured import count, tell_cpu

from cbr_sync.huawei.cbr import Cbr
from cbr_sync.huawei.client import SignedClient
from cbr_sync.models import Credentials, SyncParam
from cbr_sync.tls import build_tls_context
from cbr_sync.transport import HttpTransport

keys = Credentials(os.environ["HUAWEICLOUD_SDK_AK"], os.environ["HUAWEICLOUD_SDK_SK"])
transport = HttpTransport(build_tls_context(os.environ), max_idle_connections=1)
client = SignedClient(transport, keys, now=lambda: datetime.now(UTC), renew=lambda: None)
cbr = Cbr(client, os.environ["CBR_SYNC_ENDPOINT"], os.environ["CBR_SYNC_PROJECT_ID"], lambda: 10.0)
param = SyncParam(vault_id=os.environ["CBR_SYNC_VAULTS"], auto_trigger=True)
tell_cpu(lambda: cbr.import_checkpoint(param), count())
