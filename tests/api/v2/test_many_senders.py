"""One batch, four senders at once, and connections that break: every identifier counts once."""

import json
import random
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
import stripe

from tests.api.samples import make_customer, make_meter, total
from tests.api.v2.samples import SESSION, STREAM, VERSION
from tests.server import TEST_KEY, Server

SENDERS, BATCHES, EVENTS = 4, 25, 100
ENOUGH = b"HTTP/1.1 200"


def request(path: str, key: str, document: Any, *headers: str) -> bytes:
    body = json.dumps(document).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: meterhouse",
        f"Authorization: Bearer {key}",
        f"Stripe-Version: {VERSION}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def ask(url: str, sent: bytes) -> bytes:
    """Send a whole request and return the whole answer."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def ask_and_hang_up(url: str, sent: bytes, chance: random.Random) -> None:
    """Send a request, or a part of it, and do not wait for the answer."""
    place = urlsplit(url)
    part = len(sent) if chance.random() < 0.7 else chance.randrange(len(sent))
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        connection.sendall(sent[:part])


def send_all(url: str, token: str, batches: list[Any], seed: int) -> int:
    """Send every batch in an order of one's own until each was taken; count the broken tries."""
    chance = random.Random(seed)
    broken = 0
    for number in chance.sample(range(len(batches)), len(batches)):
        key = f"Idempotency-Key: {seed}-{number}"
        sent = request(STREAM, token, batches[number], key)
        while chance.random() < 0.5:
            ask_and_hang_up(url, sent, chance)
            broken += 1
        answer = ask(url, sent)
        while not answer.startswith(ENOUGH):  # the broken try is still at work
            assert answer.startswith(b"HTTP/1.1 409"), answer
            answer = ask(url, sent)
    return broken


@pytest.mark.parametrize("seed", [1, 2])
def test_every_identifier_counts_once(
    server: Server, client: stripe.StripeClient, account: str, seed: int
) -> None:
    meter, customer = make_meter(client), make_customer(client)
    payload = {"stripe_customer_id": customer, "value": "1"}
    batches = [
        {
            "events": [
                {"event_name": "calls", "payload": payload, "identifier": f"{batch}-{number}"}
                for number in range(EVENTS)
            ]
        }
        for batch in range(BATCHES)
    ]
    session = ask(server.url, request(SESSION, TEST_KEY, {}, f"Stripe-Account: {account}"))
    token = json.loads(session.partition(b"\r\n\r\n")[2])["authentication_token"]
    with ThreadPoolExecutor(SENDERS) as pool:
        broken = pool.map(
            lambda sender: send_all(server.url, token, batches, seed * 100 + sender), range(SENDERS)
        )
    assert sum(broken) > SENDERS * BATCHES // 2
    assert total(client, meter, customer) == BATCHES * EVENTS
