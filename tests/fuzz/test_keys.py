"""Somebody who has a key: whatever they send they hear what was wrong with it, and never a 500."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.api.routes import ROUTES, Route
from tests.api.local import LocalServer
from tests.api.v2.samples import VERSION, token
from tests.fuzz.asgi import Ask, ask, check
from tests.fuzz.examples import examples
from tests.fuzz.words import (
    DOCUMENTS,
    HEADERS,
    TEXTS,
    Headers,
    almost,
    bodies,
    paths,
    queries,
)
from tests.server import LIVE_KEY, TEST_KEY

ASKED = [row for row in ROUTES if row.open is None and not row.operator_only]


class Known:
    """What is there, so that more than the beginning of a handler sees what is sent."""

    def __init__(self, local: LocalServer) -> None:
        meter, customer = local.meter(), local.customer()
        self.local, self.session = local, token(local)
        wanted = {"customer": customer, "meters[]": meter}
        self.embed: str = local.create("/meterhouse/v1/embed_tokens", data=wanted)["token"]
        event = local.request("GET", "/v1/events", params={"limit": 1}).json()["data"][0]["id"]
        account = local.request("GET", "/v1/account").json()["id"]
        self.ids = st.sampled_from([meter, customer, event, account])
        self.texts = self.ids | TEXTS
        # A list of parameters that makes sense, of which something is replaced.
        self.forms = st.one_of(
            queries(self.texts), st.sampled_from(_sensible(meter, customer)).flatmap(_spoilt)
        )


def _sensible(meter: str, customer: str) -> list[str]:
    event = f"event_name=calls&payload[value]=1&payload[stripe_customer_id]={customer}"
    usage = f"customer={customer}&meters[0][meter]={meter}&starts_at=1763726400&ends_at=1763730000"
    return [
        f"{event}&identifier=a&timestamp=1763726400",
        "type=cancel&event_name=calls&cancel[identifier]=a",
        "display_name=a&event_name=b&default_aggregation[formula]=sum&event_time_window=day",
        f"customer={customer}&start_time=1763726400&end_time=1763812800&value_grouping_window=day",
        f"{usage}&timezone=Europe/Berlin&value_grouping_window=day",
        "name=a&email=a@b.c&metadata[a]=b&balance=1&address[city]=a&expand[]=tax",
        "limit=3&starting_after=cus_x&created[gte]=1&created[lt]=9999999999",
        "query=name:'a' AND metadata['a']:'b'&limit=3&page=YQ==",
        "url=https://127.0.0.1:1/&enabled_events[]=*&description=a&api_version=2024-06-20",
        "device_name=a&websocket_features[]=webhooks&websocket_features[]=request_logs&filters={}",
        f"meter={meter}&received[gte]=1&code=no_meter&limit=3&text=a&status=4XX&method=GET",
        f"meter={meter}&group_by=customer&top=3&value_grouping_window=hour&dimensions[a]=b",
    ]


def _spoilt(good: str) -> st.SearchStrategy[bytes]:
    return almost(good).map(lambda text: text.encode())


@pytest.fixture(scope="module")
def known(local: LocalServer) -> Known:
    return Known(local)


@st.composite
def _requests(draw: st.DrawFn, known: Known, row: Route) -> Ask:
    as_json = row.json or row.path.startswith("/v2/")
    contents = DOCUMENTS if as_json else known.forms
    kind = b"application/json" if as_json else b"application/x-www-form-urlencoded"
    headers, body = draw(bodies(contents if row.method == "POST" else st.just(b"")))
    key = draw(st.sampled_from([TEST_KEY, TEST_KEY, LIVE_KEY]))
    given: Headers = (
        (b"authorization", f"Bearer {key}".encode()),
        (b"content-type", kind),
        (b"stripe-version", VERSION.encode()),
    )
    return Ask(
        row.method,
        draw(paths([row.path], known.texts)),
        draw(known.forms if row.method != "POST" else st.just(b"") | queries()),
        given + headers + draw(st.just(()) | HEADERS),
        body,
        draw(st.sampled_from(["203.0.113.9", None])),
    )


@pytest.mark.parametrize("row", ASKED, ids=lambda row: f"{row.method} {row.path}")
@examples(8)
@given(data=st.data())
def test_any_parameters(known: Known, row: Route, data: st.DataObject) -> None:
    request = data.draw(_requests(known, row))
    check(request, ask(known.local, request))
