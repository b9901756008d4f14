"""Refusals about what Meterhouse is about: meters, events, usage, destinations.

Where Stripe's sentence is known it stands here word for word. Refusals about the request itself
are in `wire.envelope`.
"""

from collections.abc import Sequence

from meterhouse.errors import Refusal
from meterhouse.limits import ADJUSTMENT_HOURS_MAX, DESTINATIONS_MAX, EVENT_PAST_DAYS_MAX
from meterhouse.wire.envelope import quote

# ---- API keys ----


def invalid_api_key_name(problem: str) -> Refusal:
    """Refuse a name that a key cannot have; `problem` is a sentence that says why."""
    return Refusal(f"Invalid name: {problem}", param="name")


def invalid_expiry(problem: str) -> Refusal:
    """Refuse a time at which a key cannot expire; `problem` is a sentence that says why."""
    return Refusal(f"Invalid expires_at: {problem}", param="expires_at")


def invalid_permissions(problem: str) -> Refusal:
    """Refuse what a key cannot be permitted; `problem` is a sentence that says why."""
    return Refusal(f"Invalid permissions: {quote(problem)}", param="permissions")


# ---- The Stripe CLI ----


def unknown_websocket() -> Refusal:
    """Refuse a websocket of an unknown session. The CLI matches on this sentence."""
    return Refusal("Unknown WebSocket ID.", status=404)


def no_websocket() -> Refusal:
    """Refuse a request for a websocket that cannot become one."""
    return Refusal(
        "Invalid request: a websocket is asked for with a GET that has no body, and with few and "
        "short headers."
    )


# ---- Entitlements ----


def too_many_streams() -> Refusal:
    """Refuse a stream, because this process serves as many as it may."""
    return Refusal(
        "Too many streams of entitlements are open. Close some of them, or ask for each "
        "entitlement when it is needed.",
        status=429,
        code="rate_limit",
        headers={"Stripe-Rate-Limited-Reason": "resource-specific"},
    )


# ---- Destinations and deliveries ----


def invalid_url(problem: str, param: str) -> Refusal:
    """Refuse a URL that nothing can be delivered to; `problem` is a sentence that says why."""
    return Refusal(f"Invalid URL: {problem}", code="url_invalid", param=param)


def invalid_event_type(pattern: str, param: str) -> Refusal:
    """Refuse what cannot be the type of an event."""
    return Refusal(f"Invalid event type: {quote(pattern)}", param=param)


def wrong_payload(pattern: str, payload: str, param: str) -> Refusal:
    """Refuse a type of events that are not told in the way that a destination takes."""
    return Refusal(
        f"Events of the type {quote(pattern)} are not sent with {quote(payload)} payloads.",
        param=param,
    )


def too_many_destinations(livemode: bool) -> Refusal:
    """Refuse one more destination than an account may have."""
    mode = "live" if livemode else "test"
    return Refusal(f"You have reached the maximum of {DESTINATIONS_MAX} {mode} webhook endpoints.")


def destination_disabled(destination: str) -> Refusal:
    """Refuse to send to a destination that is disabled or deleted."""
    return Refusal(f"The destination '{quote(destination)}' is not enabled, so nothing is sent.")


# ---- Meters ----


def meter_exists(event_name: str) -> Refusal:
    """Refuse an event name that an active meter has."""
    return Refusal(
        f"An active meter already exists for event name '{quote(event_name)}'. To create a new "
        "meter with the same event name, first deactivate the currently active meter."
    )


def dimensions_changing(meter: str) -> Refusal:
    """Refuse to change the dimensions of a meter while they are being changed."""
    return Refusal(
        f"The dimensions of the meter '{quote(meter)}' are being changed already. Try again when "
        "that change is complete."
    )


# ---- Meter events ----


def no_active_meter(event_name: str) -> Refusal:
    """Refuse an event name that no active meter has."""
    return Refusal(
        f'No active meter found for event name "{quote(event_name)}".', v2_code="no_meter"
    )


def duplicate_identifier(identifier: str) -> Refusal:
    """Refuse a taken identifier. Clients match on this sentence, for it has no code."""
    return Refusal(
        f"An event already exists with identifier {quote(identifier)}.",
        headers={"Stripe-Should-Retry": "false"},
        v2_code="duplicate_meter_event",
    )


def timestamp_too_old(earliest: int) -> Refusal:
    """Refuse an event of too long ago; `earliest` is the first unix second still accepted."""
    return Refusal(
        f"The event timestamp cannot be more than {EVENT_PAST_DAYS_MAX} days in past. Expected a "
        f"timestamp greater than or equal to {earliest}.",
        param="timestamp",
    )


def timestamp_in_future() -> Refusal:
    """Refuse an event that has not happened yet."""
    return Refusal("The event timestamp cannot be in future.", param="timestamp")


def value_too_many_digits(text: str, digits_max: int) -> Refusal:
    """Refuse a usage value with more significant digits than can be kept exactly."""
    return Refusal(
        f"The value in the event payload can have at most {digits_max} digits. Received "
        f"{quote(text)}.",
        code="meter_event_value_too_many_digits",
        param="payload",
        v2_code="payload_invalid_value",
    )


# ---- Adjustments ----


def no_event_to_cancel(identifier: str) -> Refusal:
    """Refuse to cancel an event that does not exist."""
    return Refusal(
        f"No meter event found with identifier {quote(identifier)}.",
        param="cancel[identifier]",
        v2_code="invalid_cancel_configuration",
    )


def too_late_to_cancel(identifier: str) -> Refusal:
    """Refuse to cancel an event that was received too long ago."""
    return Refusal(
        f"The meter event with identifier {quote(identifier)} cannot be cancelled because it was "
        f"received more than {ADJUSTMENT_HOURS_MAX} hours ago.",
        param="cancel[identifier]",
        v2_code="invalid_cancel_configuration",
    )


# ---- Search and resend ----


def search_too_slow() -> Refusal:
    """Refuse a search that there is too much to look through for."""
    return Refusal(
        "There are too many events to look through for this search. Narrow it: name an "
        "`identifier`, a `meter` and a `customer`, or an `outcome`, or bound `timestamp`."
    )


def identifiers_or_filter() -> Refusal:
    """Refuse a resend that says in two ways, or in none, which events it is about."""
    return Refusal("Specify which events to resend by either identifiers or filter.")


# ---- Erasures ----


def key_of_usage(key: str, meter: str) -> Refusal:
    """Refuse to erase what says how much was used, or by whom."""
    return Refusal(
        f"The payload key '{quote(key)}' cannot be erased: the meter '{quote(meter)}' knows by it "
        "whose usage an event is or how much, and usage stays.",
        param="payload_keys",
    )


def nothing_to_erase() -> Refusal:
    """Refuse an erasure that is about nothing."""
    return Refusal("Specify payload_keys, or leave out keep_customer.", param="payload_keys")


# ---- Meter usage ----


def invalid_time_range() -> Refusal:
    """Refuse a range that ends before it begins. The sentence is Stripe's, for all versions."""
    return Refusal(
        "Param start_time should not be greater than end_time", code="invalid_time_range"
    )


def unknown_zone(name: str) -> Refusal:
    """Refuse a time zone that is not in the database of time zones."""
    return Refusal(
        f"Invalid timezone: {quote(name)}; must be the name of an IANA time zone, such as "
        "America/New_York",
        param="timezone",
    )


def unknown_dimension(key: str, meter: str, declared: Sequence[str], param: str) -> Refusal:
    """Refuse to tell usage apart by a key that the meter does not declare."""
    has = f"its dimensions are {quote(', '.join(declared))}" if declared else "it has none"
    return Refusal(
        f"'{quote(key)}' is not a dimension of the meter {quote(meter)}; {has}. Other keys of the "
        "payload can be used as tenants.",
        param=param,
    )


def too_many_rows(rows_max: int, window: str = "value_grouping_window") -> Refusal:
    """Refuse a question whose answer would be too long; `window` is the parameter of windows."""
    return Refusal(
        f"The answer would have more than {rows_max} rows. Ask for a shorter time range, a larger "
        f"{window}, or fewer groups."
    )


def too_many_months(months_max: int) -> Refusal:
    """Refuse to add up so long a time."""
    return Refusal(f"The range would have more than {months_max} months.", param="ends_at")


def top_without_groups() -> Refusal:
    """Refuse the most used of groups where nothing is told apart."""
    return Refusal("Invalid top: nothing is grouped by.", param="top")


def as_of_in_future() -> Refusal:
    """Refuse to tell what will have been received."""
    return Refusal("Invalid as_of: must not be in the future.", param="as_of")


def too_much_billed() -> Refusal:
    """Refuse to count anew all that was billed, where what has changed does not fill a page."""
    return Refusal(
        "There is too much billed usage to count at once. Narrow it with `usage_end`, `customer`, "
        "`meter`, `subscription` or `invoice`."
    )


def invalid_multiplier(text: str, digits_max: int) -> Refusal:
    """Refuse what is no number to multiply usage by."""
    return Refusal(
        f"Invalid multiplier: {quote(text)}. It is a decimal that is not negative, with up to "
        f"{digits_max} digits before its point and {digits_max} behind it.",
        param="multiplier",
    )


def too_many_periods(periods_max: int) -> Refusal:
    """Refuse a range that would be cut into too many periods."""
    return Refusal(
        f"The range has more than {periods_max} periods. Choose a longer interval, or a shorter "
        "range.",
        param="interval",
    )


def too_many_priced(rows_max: int) -> Refusal:
    """Refuse to price the usage of too many customers at once."""
    return Refusal(
        f"There is usage of more than {rows_max} customers and periods to be priced. Ask about a "
        "shorter range, fewer items, or some `customers`."
    )


def not_in_currency(price: str, currency: str, param: str) -> Refusal:
    """Refuse a price that has no amount in a currency."""
    return Refusal(f"The price '{quote(price)}' costs nothing in {quote(currency)}.", param=param)


def not_acceptable() -> Refusal:
    """Refuse to answer in none of the formats that there are."""
    return Refusal(
        "Invalid Accept header: must allow application/json, text/csv or "
        "application/vnd.apache.parquet.",
        status=406,
    )


def too_large_answer(sentence: str) -> Refusal:
    """Refuse to answer with more than can be written."""
    return Refusal(quote(sentence))


# ---- Embed tokens ----


def embed_token_expired() -> Refusal:
    """Refuse an embed token that is over."""
    return Refusal("The embed token has expired; make a new one.", status=401)


def not_embedded(noun: str, name: str, param: str) -> Refusal:
    """Refuse what an embed token is not bound to: another customer, meter, dimension or tenant."""
    return Refusal(
        f"The embed token does not permit the {noun} '{quote(name)}'.", status=403, param=param
    )


def every_meter_not_embedded() -> Refusal:
    """Refuse the usage of all meters together, which no embed token permits."""
    return Refusal(
        "The embed token permits only some meters; name them in meters.",
        status=403,
        param="meters",
    )


def dimension_of_none(key: str, param: str) -> Refusal:
    """Refuse to bind an embed token to what is no dimension of its meters."""
    return Refusal(f"'{quote(key)}' is a dimension of none of the meters.", param=param)


# ---- Event summaries ----


def incomplete_tenants() -> Refusal:
    """Refuse some of the parameters that filter by tenants without the others."""
    return Refusal(
        "tenant_keys, tenant_operator and tenant_values must be used together, with a list of "
        "values for each key."
    )


def unaligned_time(param: str, unit: str) -> Refusal:
    """Refuse a bound that does not begin a `unit` ("minute", "hour", "day") in UTC."""
    return Refusal(f"Invalid {param}: must be aligned with {unit} boundaries in UTC.", param=param)


def empty_range() -> Refusal:
    """Refuse a range that ends before it begins."""
    return Refusal("Invalid end_time: must be after start_time.", param="end_time")
