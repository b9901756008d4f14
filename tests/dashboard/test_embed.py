import json
import re
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.api.local import HOUR, NOW, LocalServer
from tests.api.meterhouse.samples import stream
from tests.api.v2.samples import at, event
from tests.server import LIVE_KEY

TOKENS = "/meterhouse/v1/embed_tokens"
KEYS = {"dimension_payload_keys[0]": "model", "dimension_payload_keys[1]": "region"}


@dataclass(frozen=True)
class Frame:
    """Two customers with usage of two meters, and a token for one of each, told by model."""

    local: LocalServer
    customer: str
    other: str
    meter: str
    secret_meter: str
    token: str

    def open(self, **params: str) -> httpx.Response:
        asked = {"token": self.token, **params}
        return self.local.request("GET", "/embed/usage", params=asked)

    def drawn(self, **params: str) -> dict[str, int]:
        """Return how much of each group is drawn."""
        answer = self.open(**params)
        assert answer.status_code == 200, answer.text
        found = re.search(r'<script type="application/json">(.*)</script>', answer.text)
        assert found is not None
        series = json.loads(found[1])["series"]
        return {one["name"]: sum(map(int, one["bars"])) for one in series}


def make(local: LocalServer, customer: str, *meters: str, **more: str) -> str:
    data = {"customer": customer, "meters[]": list(meters), "expires_in": str(HOUR), **more}
    token: str = local.create(TOKENS, data=data)["token"]
    return token


def use(local: LocalServer, customer: str, value: str, model: str, name: str = "calls") -> None:
    payload = {"stripe_customer_id": customer, "value": value, "model": model, "region": "eu"}
    sent = event(customer, timestamp=at(-60), event_name=name)
    stream(local, sent | {"identifier": f"{customer}{model}{name}", "payload": payload})


@pytest.fixture
def frame(local: LocalServer) -> Frame:
    meter = local.meter(**KEYS)
    secret_meter = local.meter("secrets", display_name="Secrets")
    customer, other = local.customer(), local.customer()
    use(local, customer, "5", "small")
    use(local, customer, "2", "large")
    use(local, other, "1000", "huge")
    use(local, customer, "3000", "small", name="secrets")
    token = make(local, customer, meter, **{"dimension_group_by_keys[]": "model"})
    return Frame(local, customer, other, meter, secret_meter, token)


def test_the_customer_of_the_token_is_shown(frame: Frame) -> None:
    assert frame.drawn() == {"": 7}
    assert frame.drawn(group="dimension:model") == {"small": 5, "large": 2}
    for range_ in ("24h", "7d", "90d", "12m", "month"):
        assert frame.drawn(range=range_) == {"": 7}


def test_nobody_else_is_whatever_is_asked(frame: Frame) -> None:
    for asked in (
        {"customer": frame.other},
        {"meter": frame.secret_meter},
        {"group": "customer"},
        {"group": "dimension:region"},
        {"group": "tenant:xyzmodel"},
        {"group": "tenant:model"},
        {"dimension.region": "us"},
        {"tenant.user": "ada"},
        {"compare": "1"},
    ):
        assert frame.drawn(**asked) == {"": 7}


def test_the_page_names_no_other_meter_and_holds_no_secret(frame: Frame) -> None:
    text = frame.open(group="dimension:model").text
    assert "Calls" in text
    for secret in (
        "Secrets",
        "region",
        frame.other,
        frame.local.meterhouse.services.operator_token,
    ):
        assert secret not in text


def test_each_meter_of_the_token_can_be_chosen(frame: Frame) -> None:
    token = make(frame.local, frame.customer, frame.meter, frame.secret_meter)
    assert frame.drawn(token=token) == {"": 7}
    assert frame.drawn(token=token, meter=frame.secret_meter) == {"": 3000}
    assert frame.drawn(token=token, group="dimension:model") == {"": 7}


def test_only_the_chart_is_sent_to_a_page_that_is_open(frame: Frame) -> None:
    asked = {"token": frame.token}
    headers = {"x-fragment": "usage"}
    part = frame.local.request("GET", "/embed/usage", params=asked, headers=headers).text
    assert "<html" not in part
    assert part in frame.open().text


def test_a_token_opens_nothing_of_the_dashboard(frame: Frame) -> None:
    account = frame.local.request("GET", "/v1/account").json()["id"]
    path = f"/dashboard/{account}/test/usage"
    for headers in (
        {"cookie": f"meterhouse_session={frame.token}"},
        {"authorization": f"Bearer {frame.token}"},
    ):
        answer = frame.local.request("GET", path, params={"token": frame.token}, headers=headers)
        assert answer.headers["location"].startswith("/dashboard/sign-in")
    opened = frame.local.request("GET", "/dashboard/open", params={"token": frame.token})
    assert opened.status_code == 401


@pytest.mark.parametrize("token", ["", "embed_", "embed_" + "A" * 200, "\N{SNOWMAN}"])
def test_without_a_token_there_is_nothing(local: LocalServer, token: str) -> None:
    answer = local.request("GET", "/embed/usage", params={"token": token})
    assert answer.status_code == 401
    assert "its token is not valid" in answer.text


def test_a_token_is_over_in_time(frame: Frame) -> None:
    frame.local.clock.set((NOW + HOUR) * 1000 - 1)
    assert frame.open().status_code == 200
    frame.local.clock.advance(1)
    over = frame.open()
    assert over.status_code == 401
    assert "expired" in over.text
    assert "Calls" not in over.text


def test_a_token_is_of_its_mode(local: LocalServer) -> None:
    live: dict[str, Any] = {"key": LIVE_KEY}
    customer = local.create("/v1/customers", **live)["id"]
    data = {"display_name": "L", "event_name": "calls", "default_aggregation[formula]": "count"}
    meter = local.create("/v1/billing/meters", data=data, **live)["id"]
    bound = {"customer": customer, "meters[]": meter}
    token = local.create(TOKENS, data=bound, **live)["token"]
    assert local.request("GET", "/embed/usage", params={"token": token}).status_code == 200


def test_no_cookie_is_set_and_only_named_origins_may_frame_it(frame: Frame) -> None:
    answer = frame.open()
    assert "set-cookie" not in answer.headers
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
