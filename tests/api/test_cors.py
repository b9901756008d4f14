"""Which pages of another origin may ask for what, as browsers are told."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from meterhouse.api.cors import Cors
from meterhouse.api.routes import ROUTES
from tests.api.local import LocalServer, local_server
from tests.api.samples import error_of
from tests.server import TEST_KEY

ORIGIN = "https://app.example.com"
USAGE = "/v1/billing/analytics/meter_usage"


@pytest.fixture
def open_local(tmp_path: Path) -> Iterator[LocalServer]:
    with local_server(tmp_path, embed_origins=f"{ORIGIN} http://localhost:*") as local:
        yield local


def preflight(local: LocalServer, path: str, origin: str = ORIGIN) -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization,stripe-version",
    }
    return local.request("OPTIONS", path, headers=headers)


def shared(answer: httpx.Response) -> dict[str, str]:
    """Return what an answer says about other origins."""
    told = {name: text for name, text in answer.headers.items() if "access-control" in name}
    return told | {name: text for name, text in answer.headers.items() if name == "vary"}


@pytest.mark.parametrize(
    ("setting", "origin", "allowed"),
    [
        ("", ORIGIN, False),
        (ORIGIN, ORIGIN, True),
        (f"http://a.test {ORIGIN}", ORIGIN, True),
        ("https://App.Example.com", ORIGIN, True),
        (f"{ORIGIN}:443", ORIGIN, True),
        ("http://a.test:80", "http://a.test", True),
        (f"{ORIGIN}:8443", f"{ORIGIN}:8443", True),
        ("http://[::1]:8000", "http://[::1]:8000", True),
        (ORIGIN, "http://app.example.com", False),
        (ORIGIN, f"{ORIGIN}:8443", False),
        (ORIGIN, f"{ORIGIN}.evil.test", False),
        (ORIGIN, "https://appxexample.com", False),
        (ORIGIN, "null", False),
        (ORIGIN, "", False),
        ("https://*.example.com", ORIGIN, True),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://evil.test/.example.com", False),
        ("https://app-*.example.com", "https://app-1.example.com", False),
        ("http://localhost:*", "http://localhost:3000", True),
        ("http://localhost:*", "http://localhost", True),
        ("http://localhost:*", "http://localhost:3000.evil.test", False),
        ("*", "https://any.test", True),
        ("*", "null", True),
    ],
)
def test_an_origin_is_one_of_the_setting(setting: str, origin: str, allowed: bool) -> None:
    told = Cors(setting).preflight({b"origin": origin.encode()})
    assert (told is not None) == allowed
    if told is not None:
        named = told["Access-Control-Allow-Origin"]
        assert named == ("*" if setting == "*" else origin)


def test_a_preflight_allows_what_an_embed_token_needs(open_local: LocalServer) -> None:
    answer = preflight(open_local, USAGE)
    assert (answer.status_code, answer.content) == (200, b"")
    assert shared(answer) == {
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-methods": "GET, HEAD",
        "access-control-allow-headers": (
            "Authorization, Stripe-Version, Meterhouse-Consistency, Meterhouse-Exact"
        ),
        "access-control-max-age": "600",
        "vary": "Origin",
    }


def test_no_other_path_and_no_other_origin_is_allowed(open_local: LocalServer) -> None:
    paths = {route.path for route in ROUTES if not route.embed} | {"/dashboard", "/subscribe/x"}
    for path in sorted(paths):
        assert not shared(preflight(open_local, path)), path
    refused = preflight(open_local, USAGE, "https://evil.test")
    assert "Unrecognized request URL (OPTIONS:" in error_of(refused, 404)["message"]
    assert not shared(refused)


def test_only_an_answer_to_an_embed_token_is_shared(open_local: LocalServer) -> None:
    """Also a refusal, so that the page can tell what was wrong."""
    meter, customer = open_local.meter(), open_local.customer()
    made = {"customer": customer, "meters[]": meter}
    token = open_local.create("/meterhouse/v1/embed_tokens", data=made)["token"]
    asked = {"customer": customer, "meters[0][meter]": meter, "starts_at": 0, "ends_at": 900}
    mine = {
        "access-control-allow-origin": ORIGIN,
        "access-control-expose-headers": "Request-Id",
        "vary": "Origin",
    }
    told = []
    for key, origin in [
        (token, ORIGIN),
        ("embed_over", ORIGIN),
        (TEST_KEY, ORIGIN),
        (token, "https://evil.test"),
    ]:
        headers = {"Origin": origin}
        answer = open_local.request("GET", USAGE, key=key, params=asked, headers=headers)
        told.append((answer.status_code, shared(answer)))
    other = open_local.request("GET", "/v1/customers", key=token, headers={"Origin": ORIGIN})
    told.append((other.status_code, shared(other)))
    foreign = {"vary": "Origin"}
    assert told == [(200, mine), (401, mine), (200, foreign), (200, foreign), (401, {})]


def test_nothing_is_said_where_no_origin_is_named(local: LocalServer) -> None:
    assert not shared(local.request("GET", USAGE, headers={"Origin": ORIGIN}))
    assert preflight(local, USAGE).status_code == 404
