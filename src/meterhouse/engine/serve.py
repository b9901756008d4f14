"""What the engine process does: it opens the stores and serves one `EngineService`.

It ends by itself when the engine of the usage store did not write all that it took: the next
process checks what there is.
"""

import gc
import logging
import os
from threading import Event, Thread

from meterhouse import limits, logs, zones
from meterhouse.engine.pair import open_pair, open_usage
from meterhouse.engine.service import CALLS, OPEN, EngineService, Manager
from meterhouse.engine.start import EngineConfig
from meterhouse.errors import StoreError, UnwrittenError
from meterhouse.ledger.engine import open_ledger
from meterhouse.usage.store import UsageStore

log = logging.getLogger("meterhouse.engine")

_UNWRITTEN = 1
_STANDARD_OUTPUT = 1


def serve(address: str, key: bytes, config: EngineConfig, may_proceed: Event) -> None:
    """Open the stores and serve one `EngineService`, as long as the process lives."""
    logs.configure(config.log_format, config.log_level)
    with os.fdopen(os.dup(_STANDARD_OUTPUT), "w") as tell:
        try:
            may_proceed.wait()
            ledger = open_ledger(config.database_url)
            if config.role == "all":
                usage = open_pair(ledger, config.clickhouse_url, config.mismatched_stores)
            else:
                usage = open_usage(ledger, config.clickhouse_url)
        except StoreError as error:
            tell.write(f"{error}\n")
            return
        Thread(target=_end_when_unwritten, args=(usage,), daemon=True).start()
        service = EngineService(ledger, usage, config.deduplication_days)
        Manager.register("service", lambda: service, exposed=CALLS)
        server = Manager(address, key).get_server()
        tell.write(f"{OPEN}{zones.rules().version}\n")
    # A batch is tens of thousands of objects without a cycle, which a collection looks through in
    # vain; what has been built so far stays.
    gc.freeze()
    gc.set_threshold(limits.ENGINE_UNCOLLECTED_OBJECTS)
    gc.enable()
    server.serve_forever()


def _end_when_unwritten(usage: UsageStore) -> None:
    """Wait until the engine did not write all that it took, and end before it removes anything."""
    while True:
        usage.unwritten.wait(limits.USAGE_CONFIRM_SECONDS)
        try:
            usage.confirm()
        except UnwrittenError as error:
            log.error("%s The process of the usage store starts anew.", error)  # noqa: TRY400
            os._exit(_UNWRITTEN)
        except StoreError:
            if usage.closed:
                return
            log.exception("nobody knows whether the usage store wrote all that it took")
