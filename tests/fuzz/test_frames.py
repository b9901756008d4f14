"""What a listening Stripe CLI says, and who wants to listen: nothing of it is a failure."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse import limits
from tests.api.local import LocalServer
from tests.api.websocket import Message, Socket
from tests.fuzz.examples import examples
from tests.fuzz.words import DOCUMENTS, TEXTS

SESSION = {"device_name": "laptop", "websocket_features[]": "webhooks"}
TYPES = st.sampled_from(["event_ack", "webhook_response", "error"]) | TEXTS
VALUES = st.none() | st.integers(-1, 1_000) | st.floats() | TEXTS


@pytest.fixture(scope="module")
def listening(local: LocalServer) -> Iterator[dict[str, Any]]:
    """Return a session of a CLI, which hears of things at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "CLI_POLL_MILLISECONDS", 5)
        yield local.create("/v1/stripecli/sessions", data=SESSION)


@examples(100)
@given(
    account=TEXTS,
    name=TEXTS.map(lambda text: text.encode("latin-1", "replace").decode("latin-1")),
    protocols=st.lists(TEXTS, max_size=3),
)
def test_nobody_listens_without_a_session(
    local: LocalServer, account: str, name: str, protocols: list[str]
) -> None:
    async def knock() -> Message:
        wanted = {"websocket_url": f"ws://localhost/subscribe/{account}", "websocket_id": name}
        return await Socket(local, wanted, *protocols).open()

    told = local.run(knock())
    assert (told["type"], told["status"]) == ("websocket.http.response.start", 404)


NAMES = st.sampled_from(["evt_heard", "wc_heard"]) | TEXTS  # the event that was heard
FRAMES = st.fixed_dictionaries(
    {"type": TYPES},
    optional={
        "event_id": NAMES,
        "notification_id": NAMES,
        "webhook_conversation_id": NAMES,
        "status": VALUES,
        "body": VALUES,
    },
)
MESSAGES = st.one_of(
    FRAMES.map(lambda frame: {"text": json.dumps(frame)}),
    TEXTS.map(lambda text: {"text": text}),
    DOCUMENTS.map(lambda document: {"bytes": document}),
)


@examples(100)
@given(messages=st.lists(MESSAGES, max_size=4))
def test_whatever_is_told(
    local: LocalServer, listening: dict[str, Any], messages: list[dict[str, Any]]
) -> None:
    """Given a CLI that has heard of an event, when it says anything, then it hears of the next."""

    async def talk() -> None:
        socket = Socket(local, listening)
        assert (await socket.open())["type"] == "websocket.accept"
        event = await _next_event(local, socket)
        for message in messages:
            if "text" in message:
                text = message["text"].replace("_heard", event.removeprefix("evt"))
                await socket.say({"text": text})
            else:
                await socket.say(message)
        await _next_event(local, socket)
        await socket.close()

    local.run(talk())


async def _next_event(local: LocalServer, socket: Socket) -> str:
    """Let something happen, and return the event that the CLI hears of it."""
    made = (await local.ask("POST", "/v1/customers")).json()["id"]
    while True:
        event = json.loads((await socket.hear())["event_payload"])
        if event["data"]["object"]["id"] == made:
            return str(event["id"])
