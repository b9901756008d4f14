"""Every bound has a name, and its unit stands last.

Sizes, counts, windows and queue lengths of the whole system. Values that come from Stripe's
documentation say so; the others are Meterhouse's own and may be changed here. The relations that
the code relies on are asserted at the bottom.
"""

# The wire: one request.
REQUEST_BODY_BYTES_MAX = 1_048_576
REQUEST_BODY_DISCARD_BYTES_MAX = (
    128 * 1_048_576
)  # read and thrown away, so that the client hears us
REQUEST_BODY_READ_SECONDS_MAX = 20
REQUEST_HEAD_BYTES_MAX = 65_536  # counted from the second read on, so one read may be larger
REQUEST_HEAD_READ_SECONDS_MAX = 20
REQUEST_FORM_PAIRS_MAX = 1_000
REQUEST_FORM_DEPTH_MAX = 8
REQUEST_KEY_CHARS_MAX = 1_000
REQUEST_STRING_CHARS_MAX = 5_000  # the bound of a string that has none of its own, as at Stripe
REQUEST_LIST_ITEMS_MAX = 100
REQUEST_TIMESTAMP_SECONDS_MAX = 10_413_791_999  # 2299-12-31T23:59:59Z, the stores' last second
ERROR_QUOTED_CHARS_MAX = 200  # of the sender's own text in an error message
API_KEY_CHARS_MAX = 255
API_VERSIONS_CACHED_MAX = 256
TIMESTAMP_MINUTES_CACHED_MAX = 4_096  # minutes whose beginning is remembered
EXPAND_LEVELS_MAX = 4  # https://docs.stripe.com/api/expanding_objects
IDEMPOTENCY_KEY_CHARS_MAX = 255  # https://docs.stripe.com/api/idempotent_requests
IDEMPOTENCY_V1_HOURS = 24  # the same page: "at least 24 hours"
IDEMPOTENCY_V2_DAYS = 30  # https://docs.stripe.com/api-v2-overview

# Lists: https://docs.stripe.com/api/pagination
PAGE_LIMIT_MAX = 100
PAGE_LIMIT_DEFAULT = 10

# Metadata: https://docs.stripe.com/api/metadata
METADATA_KEYS_MAX = 50
METADATA_KEY_CHARS_MAX = 40
METADATA_VALUE_CHARS_MAX = 500

# Meters: https://docs.stripe.com/api/billing/meter/create
METER_DISPLAY_NAME_CHARS_MAX = 250
METER_EVENT_NAME_CHARS_MAX = 100
METER_PAYLOAD_KEY_CHARS_MAX = 100
METER_DIMENSION_KEYS_MAX = 10
DIMENSION_COMBINATIONS_MAX = 10_000  # distinct dimension values of one customer on one meter

# Meter events: https://docs.stripe.com/api/billing/meter-event/create
EVENT_IDENTIFIER_CHARS_MAX = 100
EVENT_PAYLOAD_KEYS_MAX = 50
EVENT_PAYLOAD_KEY_CHARS_MAX = 100
EVENT_PAYLOAD_VALUE_CHARS_MAX = 100
EVENT_PAST_DAYS_MAX = 35
EVENT_FUTURE_MINUTES_MAX = 5
EVENT_VALUE_DIGITS_MAX = 15
EVENT_VALUE_DECIMALS_MAX = 15
STORED_VALUE_DIGITS_MAX = 38  # of the usage store's column, decimals included
USAGE_DIGITS_MAX = 76  # of a total: what the usage store adds up in
ADJUSTMENT_HOURS_MAX = 24

# The meter event stream: https://docs.stripe.com/api/v2/billing-meter-stream
STREAM_EVENTS_MAX = 100  # of one request
SESSION_MINUTES = 15
SESSIONS_CACHED_MAX = 10_000

# The limits profile `stripe`; its table of rates is in `config`.
RATE_LIMIT_EVENTS_MAX = 1_000_000_000  # in a second, that a setting may name

# The pipeline.
ACCEPT_GROUP_EVENTS_MAX = 2_000  # events in one commit
ACCEPT_GATHER_MICROSECONDS = 500  # how long a quiet spell ends the gathering of a group
ACCEPT_WAITING_EVENTS_MAX = 20_000  # events waiting for a commit; beyond it senders hear 429
JOURNAL_LAG_EVENTS_MAX = 2_000_000  # events acknowledged and not yet judged; beyond it 429
PROCESS_BATCH_EVENTS_MAX = 20_000
PROCESS_BATCH_ROWS_MAX = 1_000  # journal rows in one batch; each cancellation is a row
PROCESS_LINGER_MILLISECONDS = 100  # the least time between two batches when nobody waits
PROCESS_RETRY_SECONDS_MAX = 5
PROCESS_RETRY_DOUBLINGS_MAX = 10  # of the wait between failures in a row
DIMENSION_CACHE_COMBINATIONS_MAX = 1_000_000
CONSISTENCY_WAIT_SECONDS_MAX = 5
RETAIN_INTERVAL_SECONDS = 60
RETAIN_CHUNK_ROWS_MAX = 2_000
REJECTED_EVENTS_DAYS = 35

VERIFY_POLL_MILLISECONDS = 200  # between two looks at how far a verification is

# The stores.
LEDGER_READERS = 4
LEDGER_STATEMENTS_CACHED_MAX = 1_000
LEDGER_BUSY_SECONDS_MAX = 10
LEDGER_CACHE_BYTES_MAX = 64 * 1_048_576  # pages that the SQLite writer keeps in memory
LEDGER_WAL_BYTES_MAX = 64 * 1_048_576  # what SQLite's log shrinks to once it was read back
USAGE_READERS = 4
USAGE_TOKENS_KEPT = 1_000  # of the newest inserts; an insert repeated under one of them is dropped
USAGE_QUERY_BYTES_MAX = 1_024 * 1_048_576  # memory of one query; a larger grouping goes to disk
USAGE_SPILL_BYTES = 256 * 1_048_576  # memory from which on a grouping goes to disk
USAGE_CACHE_BYTES_MAX = 64 * 1_048_576  # memory of each of the engine's caches

# Authentication.
CREDENTIAL_CACHE_SECONDS = 1  # a revoked key stops working within this time
CREDENTIAL_CACHE_KEYS_MAX = 10_000

# The log.
LOG_LINES_WAITING_MAX = 512  # lines of requests that are written in one go
LOG_FLUSH_MILLISECONDS = 100  # the longest that a line of a request waits
LOG_PATH_CHARS_MAX = 300
LOG_PATHS_CACHED_MAX = 1_024

# Listening.
LISTEN_BACKLOG_CONNECTIONS = 2_048
LISTEN_OPEN_FILES = 65_536  # asked for at start, as far as the system lets us; one a connection
KEEP_ALIVE_SECONDS_MAX = 75  # that a connection may idle; longer than clients keep theirs
THREAD_SWITCH_MICROSECONDS = 1_000  # the longest that a working thread keeps the event loop waiting

# Stopping.
STOP_REQUESTS_SECONDS_MAX = 20
STOP_DRAIN_SECONDS_MAX = 30

assert PAGE_LIMIT_DEFAULT <= PAGE_LIMIT_MAX
assert ACCEPT_GROUP_EVENTS_MAX <= ACCEPT_WAITING_EVENTS_MAX <= JOURNAL_LAG_EVENTS_MAX
assert ACCEPT_GROUP_EVENTS_MAX <= PROCESS_BATCH_EVENTS_MAX
assert REQUEST_BODY_BYTES_MAX < REQUEST_BODY_DISCARD_BYTES_MAX
assert EVENT_VALUE_DIGITS_MAX + EVENT_VALUE_DECIMALS_MAX <= STORED_VALUE_DIGITS_MAX
assert USAGE_SPILL_BYTES < USAGE_QUERY_BYTES_MAX
