"""Somebody who has no key, and may have been near one: nothing is told, and nothing is kept."""

import re
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.dashboard.attempts import Attempts
from meterhouse.ledger import users
from tests.api.local import LocalServer
from tests.api.v2.samples import VERSION, token
from tests.fuzz.asgi import Ask, Reply, ask, check
from tests.fuzz.examples import examples
from tests.fuzz.ledger import Kept
from tests.fuzz.words import (
    DOCUMENTS,
    HEADERS,
    METHODS,
    PAGES,
    PATHS,
    TEXTS,
    almost,
    bodies,
    credentials,
    paths,
    queries,
)
from tests.server import TEST_KEY

OPEN = re.compile(rb"/healthz|/readyz|/dashboard/(sign-in|open|static/.+)")
SPACE = "/dashboard/acct_x/test"
OTHERS = ["/", "/dashboard", "/dashboard/", "/dashboard/{x}", "/embed/usage", "/embed/{x}"]
OTHERS += ["/invoice/{x}", "/invoice/acct_x/test/{x}/{y}", "/invoice/{x}/test/in_x/{y}/pdf"]
DOORS = ["/dashboard/sign-in", "/dashboard/sign-out", "/dashboard/open", "/dashboard/static/{x}"]
EVERYWHERE = paths([*PATHS, *(SPACE + page for page in PAGES), *OTHERS, *DOORS], TEXTS)
ADDRESSES = st.sampled_from(["203.0.113.9", "2001:db8::1", "::ffff:203.0.113.9", None])


class Secrets:
    """Good tokens, of which strangers have what is nearly so."""

    def __init__(self, local: LocalServer) -> None:
        meter, customer = local.meter(), local.customer()
        wanted = {"customer": customer, "meters[]": meter}
        embed = local.create("/meterhouse/v1/embed_tokens", data=wanted)["token"]
        operator = local.meterhouse.services.operator_token
        opened = local.request("GET", local.meterhouse.dashboard.open_path())
        ((self.cookie, session),) = opened.cookies.items()
        self.tokens = st.sampled_from([token(local), embed, operator, TEST_KEY]).flatmap(almost)
        self.sessions = almost(session)
        self.embeds = almost(embed)


@pytest.fixture(scope="module")
def secrets(local: LocalServer) -> Secrets:
    return Secrets(local)


@pytest.fixture(scope="module")
def kept(local: LocalServer, secrets: Secrets) -> Iterator[Kept]:
    """Return what the ledger holds once everything is there that strangers want to know."""
    assert secrets.cookie
    with closing(Kept(local.meterhouse.config.data_dir)) as found:
        yield found


def refused(request: Ask, reply: Reply) -> None:
    """Check that a stranger is told nothing."""
    check(request, reply)
    if reply.status == 200:
        assert OPEN.fullmatch(request.path) or request.method == "OPTIONS", (request, reply)


@examples(300)
@given(data=st.data())
def test_any_request(local: LocalServer, secrets: Secrets, kept: Kept, data: st.DataObject) -> None:
    headers, body = data.draw(bodies(queries() | DOCUMENTS | st.binary(max_size=60)))
    request = Ask(
        data.draw(st.sampled_from(METHODS)),
        data.draw(EVERYWHERE),
        data.draw(queries()),
        data.draw(credentials(TEXTS | secrets.tokens)) + headers + data.draw(HEADERS),
        body,
        data.draw(ADDRESSES),
        data.draw(st.sampled_from(["1.1", "1.0"])),
    )
    refused(request, ask(local, request))
    assert not kept.changed()


@examples(150)
@given(data=st.data())
def test_what_is_nearly_a_token(local: LocalServer, secrets: Secrets, data: st.DataObject) -> None:
    path = data.draw(
        st.sampled_from(
            [
                b"/v1/customers",
                b"/v1/billing/analytics/meter_usage",
                b"/v2/billing/meter_event_stream",
            ]
        )
    )
    bearer = b"Bearer " + data.draw(secrets.tokens.filter(str.isascii)).encode()
    method = "POST" if path.endswith(b"stream") else "GET"
    version = (b"stripe-version", VERSION.encode())
    request = Ask(method, path, b"", ((b"authorization", bearer), version))
    assert ask(local, request).status == 401


@examples(100)
@given(data=st.data())
def test_what_is_nearly_a_session(
    local: LocalServer, secrets: Secrets, data: st.DataObject
) -> None:
    held = f"{secrets.cookie}={data.draw(secrets.sessions)}".encode()
    page = data.draw(st.sampled_from(PAGES)).partition("{")[0].rstrip("/")
    request = Ask("GET", f"{SPACE}{page}".encode(), b"", ((b"cookie", held),))
    refused(request, ask(local, request))


@examples(100)
@given(data=st.data())
def test_what_is_nearly_an_embedded_chart(
    local: LocalServer, secrets: Secrets, data: st.DataObject
) -> None:
    query = urlencode({"token": data.draw(secrets.embeds | TEXTS), "theme": data.draw(TEXTS)})
    request = Ask("GET", b"/embed/usage", query.encode())
    assert ask(local, request).status == 401


# ---- Signing in ----

FIELDS = st.sampled_from(["name", "password", "next", "csrf"]) | TEXTS
FORMS = st.lists(st.tuples(FIELDS, TEXTS), max_size=5).map(lambda pairs: urlencode(pairs).encode())


async def _at_once(_: Attempts, __: int) -> bool:
    return True


@examples(200)
@given(data=st.data())
def test_signing_in(local: LocalServer, data: st.DataObject) -> None:
    """Given any form of anybody, when it is taken, then it leads to no page but the form again.

    Nobody waits for their turn, and no password is worth being checked.
    """
    headers, body = data.draw(bodies(FORMS | queries() | st.binary(max_size=60)))
    asked = urlencode({"next": data.draw(TEXTS), "token": data.draw(TEXTS)}).encode()
    request = Ask(
        data.draw(st.sampled_from(["POST", "POST", "GET", "HEAD"])),
        data.draw(paths(DOORS, TEXTS)),
        asked,
        headers + data.draw(HEADERS),
        body,
        data.draw(ADDRESSES),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(users, "matches", lambda *_: False)
        patch.setattr(Attempts, "_pause", _at_once)
        reply = ask(local, request)
    refused(request, reply)
    target = reply.headers.get(b"location", b"/dashboard/sign-in")
    assert target.startswith(b"/dashboard/sign-in"), reply
    hrefs = re.findall(rb'name="next" value="(.*?)"', reply.body)
    assert all(one.startswith(b"/dashboard") for one in hrefs), reply
