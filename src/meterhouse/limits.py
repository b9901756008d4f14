"""Every bound has a name, and its unit stands last.

Sizes, counts, windows and queue lengths of the whole system. Values that come from Stripe's
documentation say so; the others are Meterhouse's own and may be changed here. The relations that
the code relies on are asserted at the bottom.
"""

# The wire: one request.
REQUEST_BODY_BYTES_MAX = 2 * 1_048_576  # of all but a stream; a customer may have 1.8 MB
REQUEST_BODY_SMALL_BYTES = 65_536  # that are read at once; larger ones share a bounded memory
REQUEST_BODIES_BYTES_MAX = 128 * 1_048_576  # of them, in memory at a time; others wait
REQUEST_BODIES_SENDER_BYTES_MAX = 64 * 1_048_576  # the same of one sender
REQUEST_BODY_WAIT_SECONDS_MAX = 10  # for that memory; then the sender hears 429
REQUEST_BODY_DISCARD_BYTES_MAX = (
    128 * 1_048_576
)  # read and thrown away, so that the client hears us
REQUEST_BODY_READ_SECONDS_MAX = 20
REQUEST_ENCODINGS_ITEMS_MAX = 3  # one inside another, in the header Content-Encoding
REQUEST_ENCODED_PARTS_MAX = 1_000  # compressed streams, end to end
REQUEST_UNPACKED_PIECE_BYTES = 65_536
REQUEST_ZSTD_WINDOW_BITS = 23  # 8 MiB, what RFC 9659 lets a sender use
REQUEST_HEAD_BYTES_MAX = 65_536  # counted from the second read on, so one read may be larger
REQUEST_HEAD_READ_SECONDS_MAX = 20
PROXIES_MAX = 10  # one behind the other, whose word about the client is heard
REQUEST_CHAR_BYTES_MAX = 12  # of a character outside ASCII: two of JSON's escapes, four of a form's
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

# Search: https://docs.stripe.com/search
SEARCH_CLAUSES_MAX = 10
SEARCH_SUBSTRING_LEAST_CHARS = 3  # as long as the pieces of texts that the ledger's index is of
SEARCH_INDEXED_CHARS_MAX = 64  # of a text that is looked for; the rest of it is only compared
SEARCH_TOTAL_ROWS_MAX = 10_000  # to which what is found is counted

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
EVENT_CHARS_MAX = (
    METER_EVENT_NAME_CHARS_MAX
    + EVENT_IDENTIFIER_CHARS_MAX
    + EVENT_PAYLOAD_KEYS_MAX * (EVENT_PAYLOAD_KEY_CHARS_MAX + EVENT_PAYLOAD_VALUE_CHARS_MAX)
)
EVENT_PUNCTUATION_BYTES_MAX = 64 * (
    EVENT_PAYLOAD_KEYS_MAX + 16
)  # names, quotes, spaces; generously
EVENT_BODY_BYTES_MAX = EVENT_CHARS_MAX * REQUEST_CHAR_BYTES_MAX + EVENT_PUNCTUATION_BYTES_MAX
EVENT_PAST_DAYS_MAX = 35
EVENT_FUTURE_MINUTES_MAX = 5
EVENT_VALUE_DIGITS_MAX = 15
EVENT_VALUE_DECIMALS_MAX = 15
STORED_VALUE_DIGITS_MAX = 38  # of the usage store's column, decimals included
USAGE_DIGITS_MAX = 76  # of a total: what the usage store adds up in

# Alerts: https://docs.stripe.com/api/billing/alert
ENTITLEMENT_FRESH_SECONDS = 1  # an older one is given, and found anew behind it
ENTITLEMENT_AGE_SECONDS_MAX = 10  # an older one is not given any more
ENTITLEMENT_GATHER_MILLISECONDS = 100  # before what nobody waits for is found
ENTITLEMENTS_AT_ONCE_ITEMS_MAX = 500  # that are found together
ENTITLEMENTS_KEPT_ITEMS_MAX = 100_000  # in memory, some 2 KB each at most
ENTITLEMENT_LISTENERS_MAX = 1_000
ENTITLEMENT_SILENCE_SECONDS = 15  # after which a stream says that it is still there
ALERT_TITLE_CHARS_MAX = 256
ALERT_FILTERS_ITEMS_MAX = 1
ALERT_ACTIVE_ITEMS_MAX = 25  # on a meter, for one customer
ALERT_STEPS_ITEMS_MAX = 10
ALERT_DIMENSIONS_KEYS_MAX = 10
ALERT_DECIMAL_DIGITS_MAX = 15  # on each side of the point, of a step and of a budget
ALERT_PACE_DAYS = 7  # of usage by which a forecast of what happens once goes
ALERT_LOOK_MILLISECONDS = 200  # between two looks for usage to evaluate
ALERT_IDLE_MILLISECONDS = 1_000  # the same where there is no alert
ALERT_RETRY_SECONDS = 5  # after an evaluation that failed
ALERT_TOUCHES_ROWS_MAX = 500_000  # customers on meters that are evaluated together
ALERT_ASKED_ROWS_MAX = 10_000  # totals in one question
ALERT_WRITE_ROWS_MAX = 20  # triggers that are written together, while nobody else writes
ALERT_TOTALS_ROWS_MAX = 1_000_000  # that are kept in memory, some 100 bytes each
ALERT_TIME_LIMIT = 4_294_966_500_000  # of all usage: the end of the last slot there can be

# Prices: https://docs.stripe.com/api/prices/create
PRICE_AMOUNT_LIMIT = 999_999_999_999  # minor units a unit, a tier or a package, and units a package
PRICE_DECIMALS_MAX = 12  # of a unit amount in minor units, and of a quantity that is billed
BILLING_DIGITS_MAX = 120  # of a product of a total and a unit amount
LATE_USAGE_DAYS_MAX = 40  # before a period in which its usage is looked at once more
LATE_USAGE_READ_ROWS = 1_000  # segments that are counted at a time
LATE_USAGE_READ_ROWS_MAX = 50_000  # the same for one answer
PRICE_TIERS_ITEMS_MAX = 100
PRICE_CURRENCIES_KEYS_MAX = 150
PRICE_TRIAL_DAYS_MAX = 730
SUBSCRIPTION_ITEMS_MAX = 20
SUBSCRIPTION_QUANTITY_LIMIT = 999_999_999
SUBSCRIPTION_DESCRIPTION_CHARS_MAX = 500
SUBSCRIPTION_BACKDATED_LINES_MAX = 250  # that are billed, a line at least for each
SUBSCRIPTION_DUE_SECONDS_MAX = 5  # that a change waits for what is due before it
PREVIEW_INVOICE_ITEMS_MAX = 250
# https://docs.stripe.com/billing/subscriptions/usage-based/thresholds
THRESHOLD_LEAST_LIMIT = 50  # minor units
THRESHOLD_USAGE_LIMIT = 999_999_999_999_999
THRESHOLD_TOUCHED_ROWS = 5_000  # customers on meters who are looked for at a time
THRESHOLD_REST_MILLISECONDS = 86_400_000  # before a period ends, in which none is looked at
THRESHOLD_LATE_MILLISECONDS = 3_600_000  # after which usage that was billed early is counted again
TRIAL_NOTICE_MILLISECONDS = 3 * 86_400_000  # before a trial ends, it is told
INVOICE_COUNT_ATTEMPTS = 5  # to change an invoice that changes meanwhile
INVOICE_DUE_DAYS_MAX = 3_650
INVOICE_FINALIZATION_DAYS_MAX = 5 * 366  # ahead, where somebody chooses when
INVOICE_LINES_ITEMS_MAX = 250  # that somebody adds, and of one request
INVOICE_PENDING_ITEMS_MAX = 250  # that wait for a customer's next invoice
INVOICE_NUMBER_CHARS_MAX = 26
INVOICE_LINE_AMOUNT_LIMIT = 999_999_999_999_999  # minor units; sums of them are exact everywhere
INVOICE_FIRST_LINES = 10  # of an invoice, in the object itself
CREDIT_UNUSED_ITEMS_MAX = 100  # grants of a customer of which something is left
CREDIT_GRANT_NAME_CHARS_MAX = 100
CREDIT_GRANT_PRICES_ITEMS_MAX = 20
CREDIT_PRIORITY_DEFAULT = 50
CREDIT_PRIORITY_LIMIT = 100  # which goes last
LOOKUP_KEY_CHARS_MAX = 200
LOOKUP_KEYS_ITEMS_MAX = 10
INVOICE_FINALIZATION_SECONDS_MAX = 72 * 3_600
INVOICE_UPCOMING_DAYS_MAX = 45
INVOICE_BATCH_ROWS_MAX = 1_000  # that are counted together
INVOICE_WRITE_ROWS_MAX = 25  # that are written together, while nobody else writes
INVOICE_DRAFT_SETTLE_SECONDS_MAX = 2  # that a draft waits for what was acknowledged before
INVOICE_LOOK_SECONDS = 10  # of the job that bills, for what is due
INVOICE_RETRY_SECONDS = 10  # after one that failed; what is due of an object waits twice as long
INVOICE_RETRY_SECONDS_MAX = 3_600  # each time, up to this
TEST_CLOCK_NAME_CHARS_MAX = 300
TEST_CLOCK_DAYS = 30  # after which Stripe deletes one
TEST_CLOCK_CUSTOMERS_ITEMS_MAX = 3  # these three in the limits profile `stripe`
TEST_CLOCK_SUBSCRIPTIONS_ITEMS_MAX = 3  # of each of its customers
TEST_CLOCK_INTERVALS_ITEMS_MAX = 2  # of its shortest subscription, that it goes at once

PRODUCT_ID_CHARS_MAX = 255
PRODUCT_NAME_CHARS_MAX = 250
PRODUCT_IMAGES_ITEMS_MAX = 8
PRODUCT_FEATURES_ITEMS_MAX = 15
PRODUCT_FEATURE_CHARS_MAX = 80
STATEMENT_DESCRIPTOR_CHARS_MAX = 22
UNIT_LABEL_CHARS_MAX = 12
ADJUSTMENT_HOURS_MAX = 24

# Meter usage: https://docs.stripe.com/billing/subscriptions/usage-based/analytics
METER_USAGE_METERS_ITEMS_MAX = 5
METER_USAGE_DIMENSION_GROUP_KEYS_MAX = 2
METER_USAGE_DIMENSION_FILTER_KEYS_MAX = 10
METER_USAGE_TENANT_GROUP_KEYS_MAX = 2
METER_USAGE_TENANT_FILTER_KEYS_MAX = 3
METER_USAGE_INLINE_BYTES_MAX = 16_384  # of what is found, that is rendered without a thread
METER_USAGE_INLINE_WINDOWS_MAX = 1_000  # that a range is cut into without a thread
METER_USAGE_ROWS_MAX = 50_000  # of an answer; windows that a range is cut into
WINDOWS_CACHED_MAX = 16  # questions whose windows are kept

# Usage that is counted for bills, in one statement.
USAGE_PERIODS_ITEMS_MAX = 1_000  # questions
USAGE_PERIODS_PARTS_MAX = 16  # ranges that they are about

# What usage would have cost.
WHAT_IF_ITEMS_MAX = 10  # candidates
WHAT_IF_WINDOWS_MAX = 36  # periods that a range is cut into
WHAT_IF_CUSTOMERS_ITEMS_MAX = 100  # that are named
WHAT_IF_ROWS_MAX = 200_000  # customers in a period, under a candidate, that are priced
WHAT_IF_SHOWN_ROWS_MAX = 1_000  # customers in an answer
WHAT_IF_MULTIPLIER_DIGITS_MAX = 6  # before its point, and behind it

# Usage of all customers.
USAGE_TOP_GROUPS_MAX = 1_000  # that have rows of their own beside "other"
USAGE_BATCH_ROWS_MAX = 500_000  # of an answer, that are in memory
USAGE_ROWS_MAX = 20_000_000  # of an answer about one meter
USAGE_EXPORTS_MAX = 3  # that are written at a time; others wait
USAGE_SENDER_EXPORTS_MAX = 2  # of them, of one sender
USAGE_SENDER_HELD_EXPORTS_MAX = 8  # that wait, are written, or are sent; beyond it 429
USAGE_EXPORT_LEFT_BYTES = 1_024 * 1_048_576  # on the disk, which no answer is written to
USAGE_EXPORT_LOOK_BYTES = 8 * 1_048_576  # that are written between two looks at what is left
ANSWER_PIECE_BYTES = 262_144  # of a file that is sent

# The meter event stream: https://docs.stripe.com/api/v2/billing-meter-stream
STREAM_EVENTS_MAX = 100  # of one request
STREAM_BODY_BYTES_MAX = STREAM_EVENTS_MAX * EVENT_BODY_BYTES_MAX
SESSION_MINUTES = 15
SESSIONS_CACHED_MAX = 10_000

# The limits profile `stripe`; its table of rates is in `config`.
RATE_LIMIT_EVENTS_MAX = 1_000_000_000  # in a second, that a setting may name

# Stillness of all who process (`processing.stillness`).
STILL_SECONDS = 10  # that it lasts unless who wants it says again that it shall
STILL_RENEW_SECONDS = 3
STILL_WAIT_SECONDS_MAX = 30  # that all are waited for
STILL_LOOK_SECONDS = 1  # between two looks of an owner whether somebody wants it
STILL_POLL_MILLISECONDS = 100  # the same while somebody does

# From the journal to the usage store.
ACCEPT_GROUP_EVENTS_MAX = 2_000  # events in one commit
ACCEPT_GATHER_MICROSECONDS = 500  # how long a quiet spell ends the gathering of a group
ACCEPT_ATTEMPTS_MAX = 5  # at a commit whose idempotency keys other processes use meanwhile
ACCEPT_WAITING_EVENTS_MAX = 20_000  # events waiting for a commit; beyond it senders hear 429
RECENT_CLAIM_SECONDS_MAX = 60  # from a question about an identifier until it is taken
RECENT_CLAIM_MINUTES = 5  # that a claim is kept in the ledger once the usage store has it
TALLY_STRIPES = 64  # lines that processes add the same count to, lest they wait for each other
JOURNAL_COMMIT_POSITIONS = 2_048  # that a commit has on PostgreSQL, whether it needs them or not
JOURNAL_LAG_EVENTS_MAX = 2_000_000  # events acknowledged and not yet judged; beyond it 429
SIGNAL_MILLISECONDS = 20  # between two times that a process signals to others
SIGNAL_LOOK_MILLISECONDS = 200  # until a process that listens looks whether it shall end
SIGNAL_RETRY_SECONDS = 1  # until it listens anew after it lost the connection
PARTITIONS_MAX = 1_024
PARTITION_COMING_MILLISECONDS = 100  # between two looks at one of which others have something left
PROCESS_BATCH_EVENTS_MAX = 60_000
PROCESS_BATCH_BYTES_MAX = 33_554_432  # of the journal; usual events have some 200 bytes each
PROCESS_AHEAD_EVENTS = 10_000  # in the journal, which are judged while a batch is committed
PROCESS_BATCH_ROWS_MAX = 10_000  # journal rows in one batch; each cancellation is a row
PROCESS_LINGER_MILLISECONDS = 200  # the least time between two batches when nobody waits
PROCESS_HELD_MILLISECONDS_MAX = 10_000  # that events wait in the journal when nobody asks
PROCESS_HELD_EVENTS_MAX = 1_000  # beyond which they do not
PROCESS_ASKED_MILLISECONDS = 500  # after a question, in which nothing is held back
PROCESS_RETRY_SECONDS_MAX = 5
PUBLISH_LOOK_SECONDS = 1  # between two looks at what waits in partitions that nobody asks about
LEASE_SECONDS = 8  # that a partition or a job is somebody's who has ended without a word
LEASE_RENEW_SECONDS = 2
LEASE_LOOK_SECONDS = 1  # between two looks at what nobody has
LEASE_SHARE_SECONDS = 4  # since a worker showed that it lives, that others leave it its share
PROCESS_RETRY_DOUBLINGS_MAX = 10  # of the wait between failures in a row
DIMENSION_CACHE_COMBINATIONS_MAX = 1_000_000
DIMENSION_LOCK_KEYS = 256  # that judges of other processes wait at, with new combinations
CUSTOMERS_CACHED_MAX = 1_000_000  # that the judge remembers
CONSISTENCY_WAIT_SECONDS_MAX = 5
FRESHNESS_LOOK_MILLISECONDS = 500  # between two looks at what was received last
PROGRESS_LOOK_SECONDS = 1  # between two looks at how far other processes are
PROGRESS_POLL_MILLISECONDS = 50  # the same while a reader waits
PROGRESS_LAG_MILLISECONDS = 2_000  # that an answer may lag where much is on its way
WATERMARK_JOURNAL_ROWS_MAX = 100  # of the journal, that are looked at to know if there is much
FRESHNESS_LOOKS_KEPT = 1_000  # until what they saw is stored
FILTER_PART_BYTES = 64 * 1_048_576  # of the filter of identifiers; a power of two
FILTER_PART_DIGESTS_MAX = 20_000_000  # in one part: then one suspicion in 10,000 is wrong
FILTER_PARTS_MAX = 16
FILTER_LOAD_DIGESTS = 4_000_000  # that are read at a time after a start
FILTER_LOAD_RETRY_SECONDS = 5  # until reading them is tried again
FILTER_ADD_DIGESTS = 20_000  # that are added at a time beside requests, in some 4 ms
ACTIVITY_WINDOW_MINUTES = 5  # the grain of activity
ACTIVITY_DAYS = 35
ACTIVITY_ROWS_MAX = 50_000  # of an answer
RETAIN_INTERVAL_SECONDS = 60
RETAIN_CHUNK_ROWS_MAX = 2_000
REJECTED_EVENTS_DAYS = 35

# The clock, and the time that is known to have been reached.
CLOCK_APART_MINUTES_MAX = 5  # between the two, until the clock is doubted
CLOCK_DOUBT_HOURS = 24  # that a clock which has jumped ahead has to go on so until it is believed
CLOCK_DOUBT_PARTS = 24  # of the time by which one is ahead since a boot: one part of it is enough
CLOCK_LOOK_SECONDS = 15  # between two looks at it
CLOCK_UNSETTLED_LOOK_SECONDS = 1  # the same while events are refused, or the ledger takes nothing

# Error reports. The window and the delay are those of every report that Stripe shows.
REPORT_WINDOW_SECONDS = 10
REPORT_DELAY_SECONDS = 2  # from the end of a window to its reports
REPORT_SETTLE_SECONDS_MAX = 5  # that reports wait until the events of their window are judged
REPORT_RETRY_SECONDS = 1
REPORT_CHUNK_ROWS_MAX = 100  # reports that are emitted in one transaction
REPORT_SAMPLE_EVENTS_MAX = 10  # of each code, in one report

# Events: https://docs.stripe.com/api/events, https://docs.stripe.com/api/v2/core/events
NOTIFICATIONS_DAYS = 30
NOTIFICATION_TYPES_ITEMS_MAX = 20  # types that a list can be narrowed to

# Destinations and deliveries: https://docs.stripe.com/webhooks
DESTINATIONS_MAX = 16  # of an account in one mode
DESTINATION_NAME_CHARS_MAX = 250
DESTINATION_EVENTS_ITEMS_MAX = 500  # types that it listens to
DESTINATION_SECRETS_MAX = 5  # that count at the same time while they are rolled
DESTINATION_FAILING_DAYS_MAX = 5  # without a delivery that arrives, until it is disabled
DESTINATION_SECRET_HOURS_MAX = 24  # that a rolled secret may still count
DELIVERY_LIVE_WAIT_SECONDS = 60  # from the first attempt to the second; each wait doubles
DELIVERY_LIVE_DAYS = 3
DELIVERY_TEST_WAIT_SECONDS = 3_600
DELIVERY_TEST_ATTEMPTS_MAX = 3
DELIVERY_ATTEMPT_SECONDS_MAX = 20  # to the status and the headers of the answer
DELIVERY_RESPONSE_SECONDS_MAX = 2  # more, that the beginning of its body is waited for
DELIVERY_RESPONSE_BYTES_MAX = 1_000  # of the answer, that are kept
DELIVERY_ERROR_CHARS_MAX = 300
DELIVERY_SHOWN_ATTEMPTS_MAX = 20  # of one delivery, the newest; retries alone are up to 13
DELIVERY_DESTINATION_ATTEMPTS_MAX = 8  # at one time, to one destination
DELIVERY_ATTEMPTS_MAX = 1_000  # at one time, to all of them
DELIVERY_DOUBT_WAIT_SECONDS = 3_600  # between attempts that only a doubted clock calls too late
DELIVERY_CANCEL_ROWS_MAX = 1_000  # of a destination that is gone, in one transaction
DELIVERY_LOOK_SECONDS_MAX = 5  # between two looks at what is due
DELIVERY_RETRY_SECONDS = 1  # until the ledger is asked again after it failed

ANSWER_POLL_MILLISECONDS = 20  # between two looks at what an answer waits for

# The search for raw events, and resending what was rejected.
SEARCH_STRETCH_EVENTS = 1_000_000  # looked through at once; if the page is not full, more are
SEARCH_STRETCH_DOUBLINGS = 4  # of a stretch, from one to the next
SEARCH_PENDING_EVENTS_MAX = 20_000  # the oldest of the journal, that a search looks through
REJECTION_SAMPLE_EVENTS_MAX = 3  # of each kind of rejected events
LIFE_EVENTS_MAX = 100  # of one identifier, that its life is told from
HINT_CUSTOMERS_ROWS_MAX = 1_000  # that an unknown customer is compared with
CUSTOMER_SEARCH_CHARS_MAX = 256
RESEND_IDENTIFIERS_ITEMS_MAX = 1_000  # in one request; a filter takes any number
RESEND_CHUNK_EVENTS_MAX = 1_000  # that are resent together
RESEND_ANSWER_SECONDS_MAX = 2  # that the request which begins a resend waits for its end
RESEND_LOOK_SECONDS = 5  # between two looks at what is to be resent
RESEND_RETRY_SECONDS = 1
RESEND_POLL_MILLISECONDS = 200  # between two looks of the command line at how far a resend is
RESENDS_DAYS = 30  # that a resend can be asked for

# Forgetting customers.
ERASURE_EVENT_MINUTES = 10  # that events about one who was deleted are kept whole for who listens
ERASURE_OWED_DAYS = 4  # the same for destinations that they are owed to
ERASURE_CHUNK_ROWS_MAX = 500  # that are erased in one transaction
ERASURE_LOOK_SECONDS = 5  # between two looks at what is due
ERASURE_RETRY_SECONDS = 1
ERASURE_ANSWER_SECONDS_MAX = 2  # that the request which begins one waits for its end
ERASURE_POLL_MILLISECONDS = 200  # between two looks at how far something is
ERASURE_KEYS_ITEMS_MAX = 100  # of payloads, in one request
ERASURES_DAYS = 30  # that an erasure can be asked for

# Changing the dimensions of a meter.
REBUILD_PASSES_MAX = 5  # over what came meanwhile, before processing stands still for the rest
REBUILD_STILL_SECONDS_MAX = 1  # of a pass, after which little is left
REBUILD_ANSWER_SECONDS_MAX = 2  # that the request which begins a change waits for its end
REBUILD_FORMER_SECONDS = 60  # that a former version is kept for who is asking for it
REBUILD_LOOK_SECONDS = 5  # between two looks at what is over its time
REBUILD_RETRY_SECONDS = 1

ENGINE_UNCOLLECTED_OBJECTS = 500_000  # new ones, from which on cycles are looked for

# The demo.
DEMO_DAYS = 30  # of the usage that it invents
DEMO_CONNECTIONS = 6
DEMO_RETRY_MILLISECONDS = 250  # until what a busy server refused is sent again
DEMO_POLL_MILLISECONDS = 200  # between two looks at what is not judged yet
DEMO_SETTLE_SECONDS_MAX = 60  # that what was sent is waited for

BACKUP_LEDGER_BYTES = 8_388_608  # that are copied at a time, between two looks at how far it is
BACKUP_ANSWER_SECONDS_MAX = 60  # that the server takes for one answer about a snapshot
MOVE_LEDGER_ROWS = 10_000  # of a ledger that are copied at a time into another one
MOVE_USAGE_ROWS = 200_000  # of a usage store, in one insert
MOVE_PENDING_SECONDS_MAX = 600  # that what a partition of the journal holds is processed, at first
MOVE_ATTEMPTS_MAX = 3  # at a partition of a table, until a move is given up
BACKUP_POLL_MILLISECONDS = 100  # between two looks of the command line at how far it is
VERIFY_CREDITS_ROWS = 1_000  # invoices that are looked at together, and grants that are named
VERIFY_IDENTIFIERS_ROWS_MAX = 20  # that count twice and are named
VERIFY_POLL_MILLISECONDS = 200  # between two looks at how far a verification is
VERIFY_TOLD_SECONDS = 15  # after which who has told nothing of its verification has ended

# The stores, and the lanes to them (`lanes`).
LEDGER_READERS = 4
LOOK_UP_READERS = 1
QUICK_READERS = 4
SLOW_READERS = 2
WORK_STATEMENT_SECONDS_MAX = 3_600  # of what the server does by itself, such as a verification
QUICK_STATEMENT_MILLISECONDS_MAX = 500  # of what a sender asks; then it is begun anew, as slow
SLOW_STATEMENT_SECONDS_MAX = 10
EXPORT_STATEMENT_SECONDS_MAX = 300
QUICK_SENDER_READERS_MAX = 3  # that one sender has at a time; its other questions wait
SLOW_SENDER_READERS_MAX = 1
QUICK_SENDER_WAITING_MAX = 1_000  # beyond it the sender hears 429
SLOW_SENDER_WAITING_MAX = 8
LEDGER_LOOK_INSTRUCTIONS = 100_000  # of SQLite, some milliseconds, between two looks at the time
INTERRUPT_MILLISECONDS = 200  # until a question that nobody waits for is ended once more
LEDGER_SILENT_SECONDS = (
    30  # of a connection to PostgreSQL, until it asks whether we are still there
)
LEDGER_PROBE_ATTEMPTS_MAX = 3  # that stay unanswered until it is lost, the lock of an owner with it
LEDGER_PROBE_SECONDS = 5
LEDGER_TENDER_CONNECTIONS = (
    2  # connections beside the writer's, by which a process shows that it lives
)
LEDGER_WRITE_SECONDS_MAX = 20  # of a statement that an owner of a ledger on PostgreSQL writes
LEDGER_IDLE_SECONDS_MAX = 8  # between two statements of such a transaction; then it is undone
LEDGER_STATEMENTS_CACHED_MAX = 1_000
LEDGER_BUSY_SECONDS_MAX = 10
LEDGER_CACHE_BYTES_MAX = 64 * 1_048_576  # pages that the SQLite writer keeps in memory
LEDGER_REWRITE_BYTES_MAX = 256 * 1_048_576  # some seconds, in which nothing else is written
LEDGER_WAL_BYTES_MAX = 64 * 1_048_576  # what SQLite's log shrinks to once it was read back
USAGE_READERS = 4  # of the server's own work
USAGE_TOKENS_KEPT = 1_000  # of the newest inserts; an insert repeated under one of them is dropped
USAGE_QUERY_BYTES_MAX = 1_024 * 1_048_576  # memory of one query; a larger grouping goes to disk
USAGE_SPILL_BYTES = 256 * 1_048_576  # memory from which on a grouping goes to disk
USAGE_SPILL_LEFT_BYTES = 1_024 * 1_048_576  # on the disk, or a grouping is refused it
USAGE_ASKED_DIGESTS_MAX = 10_000  # in one statement
IDENTIFIERS_GRANULE_ROWS = 1_024  # read at least for one identifier
SLOTS_GRANULE_ROWS = 1_024  # read at least for the slots of one customer
SLOTS_AT_REST_SECONDS = 3_600  # without new slots of a month, after which it is merged whole
USAGE_CACHE_BYTES_MAX = 64 * 1_048_576  # memory of each of the engine's caches
USAGE_REPLACED_SECONDS = 30  # that the parts which a merge replaced stay on disk
USAGE_CLEANED_SECONDS_MAX = 60  # more, until they are deleted
USAGE_CONFIRM_SECONDS = 10  # between two looks at whether the engine wrote all that it took
USAGE_MEMORY_LOOK_MILLISECONDS = 1_000  # between two looks of the engine at its memory
USAGE_CONNECT_SECONDS_MAX = 3  # to a server; it is tried twice
USAGE_GREETING_SECONDS_MAX = 10  # for each answer of a server to a new client
USAGE_SILENT_SECONDS_MAX = 300  # of a server that runs a statement
USAGE_LATE_SECONDS_MAX = 10  # of an answer, beyond what its lane lets a statement take
USAGE_INSERT_SECONDS_MAX = 60
USAGE_HOME_SECONDS = 60  # at another server, until the first of them is tried again
USAGE_CATCH_UP_SECONDS_MAX = 60  # of a replica, with what others have
USAGE_QUORUM_SECONDS_MAX = 30  # until most replicas have a block
USAGE_STALE_SECONDS_MAX = 1  # that a replica is behind others and answers for its shard
USAGE_CLUSTER_TOKENS_KEPT = 10_000
USAGE_CLUSTER_TOKENS_DAYS = 7
USAGE_BROKEN_PARTS_BYTES_MAX = 1_024 * 1_024 * 1_048_576  # that a start sets aside

# Authentication.
API_KEY_NAME_CHARS_MAX = 250
CREDENTIAL_CACHE_SECONDS = 1  # a revoked key stops working within this time
CREDENTIAL_CACHE_KEYS_MAX = 10_000
KEY_LOOK_MILLISECONDS = 700  # between two looks at the keys of what lasts, such as a listener
SIGNING_LOOK_MILLISECONDS = 250  # between two looks at the secret that signs
API_KEY_USES_SECONDS = 60  # between two writes of when keys were used last
API_KEY_USES_ROWS_MAX = 1_000  # keys in one of these writes
API_KEY_DAYS_MAX = 3_650  # until one expires, where it does

# Embed tokens.
EMBED_TOKEN_CHARS_MAX = 8_192
EMBED_TOKEN_LEAST_SECONDS = 60
EMBED_TOKEN_SECONDS_DEFAULT = 3_600
EMBED_TOKEN_SECONDS_MAX = 86_400
CORS_PREFLIGHT_SECONDS = 600  # that a browser remembers what a page may ask

# Users of the dashboard.
USER_NAME_CHARS_MAX = 100
USER_PASSWORD_LEAST_CHARS = 8  # https://pages.nist.gov/800-63-4/sp800-63b.html
USER_PASSWORD_CHARS_MAX = 1_000
USER_ACCOUNT_ITEMS_MAX = 20  # that a user is bound to

# The log.
LOG_LINES_WAITING_MAX = 512  # lines of requests that are written in one go
LOG_FLUSH_MILLISECONDS = 100  # the longest that a line of a request waits
LOG_PATH_CHARS_MAX = 300
LOG_PATHS_CACHED_MAX = 1_024

# The log of requests that a sender can read.
REQUEST_LOG_WAITING_ROWS_MAX = 2_000  # noted between two inserts; what is beyond it is not kept
REQUEST_LOG_HELD_SECONDS_MAX = 10  # from one insert to the next, when nobody asks or listens
REQUEST_LOG_HELD_ROWS_MAX = 200  # that are noted; from then on an insert follows within a second
REQUEST_LOG_DAYS = 7

# The Stripe CLI.
CLI_LISTENERS_MAX = 16  # that listen to one account in one mode at a time
CLI_DEVICE_CHARS_MAX = 255  # of the name of what one runs on
CLI_WAITING_FRAMES_MAX = 1_000  # for one of them; beyond it the oldest are dropped
CLI_KEPT_SECONDS = 120  # that one without a connection is waited for, and its frames are kept
CLI_RECONNECT_SECONDS = 3_600  # after which it is told to connect anew
CLI_POLL_MILLISECONDS = 200  # between two looks for events, while somebody listens
CLI_LOGS_SECONDS = 15  # that the log of a request may be late, for who listens at another server
CLI_READ_ROWS_MAX = 500  # events in one look
CLI_FRAME_BYTES_MAX = 1_048_576  # that it sends: the event, and what the forwarding came to
CLI_RESPONSE_CHARS_MAX = 5_000  # of what a URL answered; the CLI tells as much

# The dashboard.
DASHBOARD_SESSION_HOURS_MAX = 12
DASHBOARD_SESSION_ITEMS_MAX = 50  # of one user; one more ends the one that was seen longest ago
DASHBOARD_SESSION_SEEN_SECONDS = 60  # between two notes of when it was last seen
DASHBOARD_SESSION_LOOK_SECONDS = 1  # between two looks whether those who look on still may
DASHBOARD_BROWSER_CHARS_MAX = 60  # that are kept of what a browser calls itself
DASHBOARD_LINK_MINUTES_MAX = 60  # that the link of `--open-dashboard` holds
DASHBOARD_LIVE_SECONDS = 2  # between two looks, while somebody looks
DASHBOARD_LIVE_CUSTOMERS_SECONDS = 30  # between two looks at who used most
DASHBOARD_LIVE_SILENCE_SECONDS = 15  # after which a stream says that it is still there
DASHBOARD_LIVE_LISTENERS_MAX = 100
DASHBOARD_METER_ITEMS_MAX = 1_000  # that a page looks through
CHART_WINDOWS_MAX = 800  # bars; beyond it the next larger window is drawn
CHART_GROUPS_DEFAULT = 6
CHART_GROUPS_MAX = 12
REVENUE_WINDOWS_MAX = 120  # of an answer: months
STATEMENT_LINES_MAX = 250  # that the page of an invoice and its PDF show
SIMULATED_DIGITS_MAX = 15  # before the point, of a usage whose cost is asked for

# Attempts to sign in: so many at once; then each waits, up to so many seconds.
SIGN_IN_HERE_ATTEMPTS = 5  # with one name from one address, or in a browser that is known
SIGN_IN_HERE_SECONDS_MAX = 180
SIGN_IN_NAME_ATTEMPTS = 20  # with one name, from anywhere
SIGN_IN_NAME_SECONDS_MAX = 60
SIGN_IN_ADDRESS_ATTEMPTS = 50  # from one address, with any names; many people may share it
SIGN_IN_ADDRESS_SECONDS_MAX = 3
SIGN_IN_FIRST_WAIT_MILLISECONDS = 1_000  # each further wait is twice as long
SIGN_IN_HELD_SECONDS_MAX = 20  # that an attempt waits; who would wait longer is refused
SIGN_IN_WINDOW_MINUTES = 15  # after the last wait, when attempts are forgotten
SIGN_IN_WAITING_MAX = 200  # attempts under way, whose senders wait
SIGN_IN_PLACES = 65_536  # that attempts are counted at
AUDIT_CSV_ROWS_MAX = 10_000  # of the audit log, as CSV
AUDIT_FILTER_CHARS_MAX = 250  # of a parameter of the audit log's list
SIGN_IN_NOTED_ATTEMPTS_MAX = 100  # in an hour, with an entry of their own in the audit log
SIGN_IN_ADDRESS_NOTED_ATTEMPTS_MAX = 10  # of them, from one address
SIGN_IN_KNOWN_DAYS = 90  # that a browser is known after it has signed in
SIGN_IN_NEXT_CHARS_MAX = 2_000  # of the page that signing in leads to
SIGN_IN_FORM_BYTES_MAX = 40_960

# Listening.
LISTEN_BACKLOG_CONNECTIONS = 2_048
LISTEN_OPEN_FILES = 65_536  # asked for at start, as far as the system lets us; one a connection
ANSWER_PROGRESS_SECONDS_MAX = 30  # without a byte of its answer taken, until a client is given up
KEEP_ALIVE_SECONDS_MAX = 75  # that a connection may idle; longer than clients keep theirs
THREAD_SWITCH_MICROSECONDS = 1_000  # the longest that a working thread keeps the event loop waiting

# The processes that share a ledger.
NODE_BEAT_SECONDS = 1  # between two signs that one lives
NODE_SECONDS = 10  # without one, after which it is taken for dead

# Starting and stopping.
LOCK_SECONDS_MAX = 3  # what is left of a server that was killed is gone by then
STANDBY_LOOK_SECONDS = 2  # between a standby's looks whether the other has ended
LOCK_FILE_CHARS_MAX = 500
OWNER_LOOK_SECONDS = 5  # between two looks at whether the ledger is still ours
STOP_REQUESTS_SECONDS_MAX = 20
STOP_DRAIN_SECONDS_MAX = 30
ENGINE_END_SECONDS_MAX = 5
STOP_DELIVERIES_SECONDS_MAX = 5

# Several processes behind one port.
PROCESSES_MAX = 64
CHILD_RESTART_MILLISECONDS = (
    500  # until one that has ended starts again; twice that after each failure
)
CHILD_RESTART_SECONDS_MAX = 30
CHILD_STEADY_SECONDS = 60  # that one must live to start again at once
CHILD_STOP_SECONDS_MAX = 60  # until one that does not end is killed

assert PAGE_LIMIT_DEFAULT <= PAGE_LIMIT_MAX
assert ACCEPT_GROUP_EVENTS_MAX <= ACCEPT_WAITING_EVENTS_MAX <= JOURNAL_LAG_EVENTS_MAX
assert ACCEPT_GROUP_EVENTS_MAX <= PROCESS_BATCH_EVENTS_MAX
assert ACCEPT_GROUP_EVENTS_MAX <= JOURNAL_COMMIT_POSITIONS
assert RECENT_CLAIM_SECONDS_MAX < RECENT_CLAIM_MINUTES * 60
assert NODE_BEAT_SECONDS < LEASE_SHARE_SECONDS < NODE_SECONDS
assert PROCESS_HELD_EVENTS_MAX <= PROCESS_BATCH_EVENTS_MAX
assert PROCESS_LINGER_MILLISECONDS < PROCESS_ASKED_MILLISECONDS
# What one had that died is free only when others do not leave it its share any more.
assert LEASE_SHARE_SECONDS + LEASE_LOOK_SECONDS < LEASE_SECONDS - LEASE_RENEW_SECONDS
# While the clock is believed, a timestamp that is true is not too far in its future.
assert CLOCK_APART_MINUTES_MAX <= EVENT_FUTURE_MINUTES_MAX
# An event comes so late at most, and is cancelled so much later.
assert EVENT_PAST_DAYS_MAX + ADJUSTMENT_HOURS_MAX / 24 < LATE_USAGE_DAYS_MAX
assert REQUEST_BODY_SMALL_BYTES < EVENT_BODY_BYTES_MAX < REQUEST_BODY_BYTES_MAX
assert REQUEST_BODY_BYTES_MAX < STREAM_BODY_BYTES_MAX < REQUEST_BODY_DISCARD_BYTES_MAX
assert STREAM_BODY_BYTES_MAX < REQUEST_BODIES_SENDER_BYTES_MAX < REQUEST_BODIES_BYTES_MAX
assert REQUEST_BODY_WAIT_SECONDS_MAX < REQUEST_BODY_READ_SECONDS_MAX
assert EVENT_VALUE_DIGITS_MAX + EVENT_VALUE_DECIMALS_MAX <= STORED_VALUE_DIGITS_MAX
assert REQUEST_LOG_HELD_SECONDS_MAX < CLI_LOGS_SECONDS
assert DELIVERY_LIVE_DAYS < DESTINATION_FAILING_DAYS_MAX
assert DELIVERY_LIVE_DAYS < ERASURE_OWED_DAYS
assert RESEND_CHUNK_EVENTS_MAX <= ACCEPT_GROUP_EVENTS_MAX
assert SIGN_IN_HELD_SECONDS_MAX <= STOP_REQUESTS_SECONDS_MAX
assert STOP_REQUESTS_SECONDS_MAX + STOP_DRAIN_SECONDS_MAX < CHILD_STOP_SECONDS_MAX
assert (
    USER_NAME_CHARS_MAX + USER_PASSWORD_CHARS_MAX + SIGN_IN_NEXT_CHARS_MAX
) * REQUEST_CHAR_BYTES_MAX < SIGN_IN_FORM_BYTES_MAX
assert USAGE_SPILL_BYTES < USAGE_QUERY_BYTES_MAX
assert USAGE_CONFIRM_SECONDS < USAGE_REPLACED_SECONDS
