"""The server behind a real nginx: with `proxy_pass` alone, and as docs/operations.md has it."""

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect
from websockets.sync.client import connect

from meterhouse.wire.stripecli import SUBPROTOCOL
from tests import nginx
from tests.api.stripe_cli import BINARY, Sink, StripeCli, sinking
from tests.dashboard.browser import CHROMIUM, PASSWORD, browsing, make_user, sign_in
from tests.nginx import Certificate
from tests.server import TEST_KEY, Server, serving

pytestmark = pytest.mark.skipif(
    not nginx.PROGRAM.exists() or shutil.which("openssl") is None,
    reason="no nginx, or no openssl: apt-get install nginx openssl",
)

BELOW = "/metering"
VERSION = {"Stripe-Version": "2026-10-28.endive"}
BATCHES, EVENTS, KEYS = 8, 100, 40


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return nginx.make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server whose paths begin at the root of its host."""
    data_dir = tmp_path_factory.mktemp("root")
    make_user(data_dir)
    with serving(data_dir) as server:
        yield server


@pytest.fixture(scope="module")
def below(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server that a proxy shows below a path."""
    data_dir = tmp_path_factory.mktemp("below")
    make_user(data_dir)
    with serving(data_dir, base_path=BELOW) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("no chromium: apt-get install chromium")
    with browsing() as opened:
        yield opened


@pytest.fixture
def sink() -> Iterator[Sink]:
    with sinking() as opened:
        yield opened


def ask(server: Server, method: str, path: str, **details: Any) -> Any:
    """Ask the server itself, past nginx."""
    url = server.url + path
    answer = httpx.request(method, url, auth=(TEST_KEY, ""), trust_env=False, **details)
    assert answer.status_code == 200, answer.text
    return answer.json()


# ---- In a browser ----


def look(browser: Browser, server: Server, url: str) -> None:
    """Sign in, see an event show up by itself, and sign out; everything is where `url` is."""
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda one: wrong.append(one.text) if one.type == "error" else None)
    page.on("request", lambda one: None if one.url.startswith(url) else wrong.append(one.url))
    page.goto(f"{url}/dashboard")
    sign_in(page, PASSWORD)
    page.wait_for_url(re.compile(re.escape(url) + "/dashboard/acct_[^/]+/test$"))
    page.get_by_role("link", name="Events").click()
    expect(page.locator(".live")).to_have_text("Live")
    name = f"through-{url.rpartition(':')[2].replace('/', '-')}"
    event = {"event_name": "none", "identifier": name, "payload": {"value": "1"}}
    stream = {"events": [event]}
    ask(server, "POST", "/v2/billing/meter_event_stream", json=stream, headers=VERSION)
    expect(page.get_by_role("link", name=name)).to_be_visible()
    page.get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    cookies = [one.get("name", "") for one in context.cookies()]
    context.close()
    assert wrong == []
    assert [one for one in cookies if not one.startswith("meterhouse_known_")] == []


def test_a_browser_through_proxy_pass_alone(browser: Browser, root: Server, tmp_path: Path) -> None:
    with nginx.alone(tmp_path, root.url) as url:
        look(browser, root, url)


def test_a_browser_over_tls(
    browser: Browser, root: Server, certificate: Certificate, tmp_path: Path
) -> None:
    with nginx.documented(tmp_path, root.url, certificate) as front:
        look(browser, root, front.tls)


@pytest.mark.parametrize("kept", [True, False])
def test_a_browser_below_a_path(
    browser: Browser, below: Server, certificate: Certificate, tmp_path: Path, kept: bool
) -> None:
    with nginx.documented(tmp_path, below.url, certificate, BELOW, kept=kept) as front:
        look(browser, below, front.tls)


# ---- Clients ----


def sign_in_with(url: str, host: str, **headers: str) -> httpx.Response:
    form = {"name": "ada", "password": PASSWORD}
    headers = {"Host": host, "Origin": f"http://{host}"} | headers
    return httpx.post(f"{url}/dashboard/sign-in", data=form, headers=headers, trust_env=False)


def test_a_browser_that_does_not_tell_needs_the_name_of_the_host(
    root: Server, certificate: Certificate, tmp_path: Path
) -> None:
    """Over plain HTTP from another machine no browser says whose page a form is of."""
    with nginx.alone(tmp_path / "alone", root.url) as url:
        refused = sign_in_with(url, "meters.test")
        assert refused.status_code == 403
        assert "is of http://meters.test, and the server was asked as 127.0.0.1:" in refused.text
        assert "X-Forwarded-Host" in refused.text
    with nginx.documented(tmp_path / "documented", root.url, certificate) as front:
        assert sign_in_with(front.plain, "meters.test").status_code == 303
        foreign = sign_in_with(front.plain, "meters.test", Origin="http://evil.test")
        forged = {"Origin": "http://evil.test", "X-Forwarded-Host": "evil.test"}
        told = [foreign, sign_in_with(front.plain, "meters.test", **forged)]
        assert [answer.status_code for answer in told] == [403, 403]


def test_metrics_are_for_nobody_behind_a_proxy(
    root: Server, certificate: Certificate, tmp_path: Path
) -> None:
    with (
        nginx.alone(tmp_path / "alone", root.url) as url,
        nginx.documented(tmp_path / "documented", root.url, certificate) as front,
    ):
        asked = [httpx.get(f"{one}/metrics", trust_env=False) for one in (url, front.plain)]
    assert [answer.status_code for answer in asked] == [401, 401]


def test_a_stream_of_full_batches(root: Server, certificate: Certificate, tmp_path: Path) -> None:
    """Many connections that are kept, and bodies that nginx has to write to a file."""
    meter = {
        "display_name": "Full",
        "event_name": "full",
        "default_aggregation[formula]": "sum",
    }
    made = ask(root, "POST", "/v1/billing/meters", data=meter)["id"]
    customer = ask(root, "POST", "/v1/customers")["id"]
    payload = {f"key-{number:02}": "\N{SNOWMAN}" * 100 for number in range(KEYS)}
    payload |= {"value": "1", "stripe_customer_id": customer}
    event = {"event_name": "full", "payload": payload}
    batches = [
        {"events": [event | {"identifier": f"{batch}-{number}"} for number in range(EVENTS)]}
        for batch in range(BATCHES)
    ]
    bodies = [json.dumps(batch).encode() for batch in batches]  # escaped, as SDKs do
    assert len(bodies[0]) > 2 * 1_048_576
    with (
        nginx.documented(tmp_path, root.url, certificate) as front,
        httpx.Client(
            base_url=front.tls,
            auth=(TEST_KEY, ""),
            headers=VERSION,
            verify=certificate.trust,
            trust_env=False,
            timeout=60,
        ) as client,
        ThreadPoolExecutor(4) as senders,
    ):
        path = "/v2/billing/meter_event_stream"
        answers = list(senders.map(lambda body: client.post(path, content=body), bodies))
        assert [answer.status_code for answer in answers] == [200] * BATCHES
        today = ask(root, "GET", f"/v1/customers/{customer}")["created"] // 86_400 * 86_400
        asked = {"customer": customer, "start_time": today, "end_time": today + 2 * 86_400}
        found = client.get(f"/v1/billing/meters/{made}/event_summaries", params=asked).json()
    assert [row["aggregated_value"] for row in found["data"]] == [BATCHES * EVENTS]


def test_a_websocket_over_tls_below_a_path(
    below: Server, certificate: Certificate, tmp_path: Path
) -> None:
    listen = {"device_name": "laptop", "websocket_features[]": "v2_events"}
    subprotocol: Any = SUBPROTOCOL
    with nginx.documented(tmp_path, below.url, certificate, BELOW, kept=False) as front:
        asked = httpx.post(
            f"{front.tls}/v1/stripecli/sessions",
            data=listen,
            auth=(TEST_KEY, ""),
            verify=certificate.trust,
            trust_env=False,
        ).json()
        assert asked["websocket_url"].startswith(front.tls.replace("https", "wss") + "/subscribe/")
        with connect(
            asked["websocket_url"],
            additional_headers={"Websocket-Id": asked["websocket_id"]},
            subprotocols=[subprotocol],
            ssl=certificate.trust,
            proxy=None,
        ) as socket:
            made = ask(below, "POST", "/v1/customers")["id"]
            frame = json.loads(socket.recv(30))
    assert json.loads(frame["payload"])["related_object"]["id"] == made


@pytest.mark.skipif(BINARY is None, reason="no Stripe CLI: it comes from npm")
def test_the_stripe_cli_listens_and_a_gap_loses_nothing(
    root: Server, certificate: Certificate, tmp_path: Path, sink: Sink
) -> None:
    """Given a CLI that listens through nginx, when nginx is away, then it hears that later."""
    flags = ("--forward-thin-to", f"{sink.url}/thin", "--thin-events", "*")
    with nginx.documented(tmp_path / "nginx", root.url, certificate) as front:
        cli = StripeCli(tmp_path, front.plain)
        with cli.listening("listen", "-s", *flags):
            made = [ask(root, "POST", "/v1/customers")["id"]]
            sink.wait_for("/thin", "v1.customer.created", about=made[0])
            front.nginx.stop()
            made.append(ask(root, "POST", "/v1/customers")["id"])
            front.nginx.start()
            sink.wait_for("/thin", "v1.customer.created", about=made[1])
    assert [json.loads(body)["related_object"]["id"] for _, body, _ in sink.got] == made
