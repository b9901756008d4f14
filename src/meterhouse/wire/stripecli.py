"""What the Stripe CLI and the server tell each other while `stripe listen` or `logs tail` runs.

The CLI asks for a session, opens a websocket with the session's id, and hears text frames: JSON
objects that name their `type`. It answers each with an acknowledgement, and tells what the URL that
it forwards an event to has answered. It posts the payload as it came, with the headers that came
with it, so the signature is the server's. Frames of a type that the other side does not know are
passed over.

No page describes this; https://github.com/stripe/stripe-cli is its source.
"""

import hmac
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from meterhouse.masking import SIGNING_SECRET
from meterhouse.wire.body import to_json

Feature = Literal["webhooks", "v2_events", "request_logs"]

SUBPROTOCOL = "stripecli-devproxy-v1"

_EVENT = "evt_"
_CONVERSATION = "wc_"
_LOG = "resp_"
_REQUEST = "req_"


def listen_secret(key: bytes, account: str, device: str, *, livemode: bool) -> str:
    """Return what signs the events that a device hears: the same whenever it listens.

    `key` follows from the ledger's secret, so every node that opens the ledger says the same.
    """
    name = "\0".join((account, "live" if livemode else "test", device))
    return SIGNING_SECRET + hmac.digest(key, name.encode(), "sha256").hex()


# ---- Frames that the server sends ----


def snapshot_frame(
    event: str, headers: Mapping[str, str], listener: str, payload: bytes, version: str | None
) -> str:
    """Return the frame of a snapshot event, `event` its id.

    `version` is None for the copy at the account's default version. The CLI shows the others only
    where it was started with `--latest`.
    """
    return _frame(
        type="webhook_event",
        endpoint={"api_version": version},
        event_payload=payload.decode(),
        http_headers=headers,
        webhook_conversation_id=_CONVERSATION + event.removeprefix(_EVENT),
        webhook_id=listener,
    )


def thin_frame(headers: Mapping[str, str], listener: str, payload: bytes) -> str:
    """Return the frame of a thin event."""
    return _frame(
        type="v2_event",
        payload=payload.decode(),
        http_headers=headers,
        destination_id=listener,
    )


def log_frame(request: str, payload: bytes) -> str:
    """Return the frame of a request that was answered, `request` its id."""
    return _frame(
        type="request_log_event", event_payload=payload.decode(), request_log_id=log_name(request)
    )


def log_name(request: str) -> str:
    """Return what an acknowledgement calls the log of a request."""
    return _LOG + request.removeprefix(_REQUEST)


def _frame(**members: Any) -> str:
    return to_json(members).decode()


# ---- Frames that the CLI sends ----


class Ack(msgspec.Struct, frozen=True, tag="event_ack"):
    """The CLI has read a frame. Not every client tells the event's own id."""

    event_id: str = ""
    webhook_conversation_id: str = ""

    @property
    def name(self) -> str:
        """The id of the event, or the name of the log, that was read."""
        return _named(self.webhook_conversation_id) or self.event_id


class Response(msgspec.Struct, frozen=True, tag="webhook_response"):
    """What a URL that the CLI forwards to has answered; of the body the CLI tells the beginning."""

    status: Annotated[int, msgspec.Meta(ge=100, le=999)]  # three digits, as HTTP has it
    body: str = ""
    notification_id: str = ""
    webhook_conversation_id: str = ""

    @property
    def name(self) -> str:
        """The id of the event that was forwarded."""
        return _named(self.webhook_conversation_id) or self.notification_id


_HEARD: msgspec.json.Decoder[Ack | Response] = msgspec.json.Decoder(Ack | Response)


def read_frame(text: str | bytes) -> Ack | Response | None:
    """Read a frame of the CLI; None for what is none, or of a type that is not known here."""
    try:
        return _HEARD.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _named(conversation: str) -> str:
    return conversation and _EVENT + conversation.removeprefix(_CONVERSATION)


# ---- The filters of `stripe logs tail` ----


class LogFilters(msgspec.Struct, frozen=True):
    """Which requests a CLI wants to hear of; an empty list leaves nothing out.

    Values come as a person typed them, in small letters or capitals; only `4XX` comes as 400.
    `filter_account` is about how Stripe's dashboard sees connected accounts and is not applied,
    which the CLI can be told.
    """

    filter_account: list[str] = []
    filter_http_method: list[str] = []
    filter_ip_address: list[str] = []
    filter_request_path: list[str] = []
    filter_request_status: list[str] = []
    filter_source: list[str] = []
    filter_status_code: list[str] = []
    filter_status_code_type: list[str] = []

    def admit(self, method: str, path: str, status: int, ip: str) -> bool:
        """Return whether a request is wanted."""
        succeeded = "SUCCEEDED" if 200 <= status < 300 else "FAILED"  # noqa: PLR2004 - HTTP's
        return all(
            not wanted or value.lower() in map(str.lower, wanted)
            for wanted, value in (
                (self.filter_http_method, method),
                (self.filter_ip_address, ip),
                (self.filter_request_path, path),
                (self.filter_request_status, succeeded),
                (self.filter_source, "API"),
                (self.filter_status_code, str(status)),
                (self.filter_status_code_type, f"{status // 100}00"),
            )
        )


EVERY_LOG = LogFilters()

_FILTERS = msgspec.json.Decoder(LogFilters)


def read_filters(text: str) -> LogFilters:
    """Read the filters as the CLI sends them, a JSON object; raises `ValueError` if it is none."""
    try:
        return _FILTERS.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
