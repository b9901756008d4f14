"""A user who is bound to an account and a mode: whatever they ask for, they see nothing else."""

import asyncio
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest

from meterhouse.dashboard.session import COOKIE
from meterhouse.dashboard.site import ROWS, Row
from meterhouse.ledger import accounts, users
from meterhouse.ledger.users import Role
from tests.api.local import LocalServer, local_server
from tests.api.v2.samples import done

PASSWORD = "correct horse"
VERSION = {"Stripe-Version": "2026-10-28.endive"}
OTHER_ACCOUNT = "You have no access to account 'ACCOUNT' (or that account does not exist)."
GETS = [row for row in ROWS if row.method == "GET"]
# Which show no name and no id, or not as text.
WORDLESS = {"/sessions", "/errors/resends/{id}", "/billing/invoices/{id}/pdf"}


class Books:
    """An account in one mode, with one of each kind of thing that a page can show.

    Every text that a sender chose has `mark` in it.
    """

    def __init__(
        self, local: LocalServer, account: str, mark: str, *, livemode: bool = False
    ) -> None:
        self._local = local
        self.account, self.mark, self.livemode = account, mark, livemode
        self.customer = self.post("/v1/customers", data={"name": mark})["id"]
        self.meter = self.post(
            "/v1/billing/meters",
            data={
                "display_name": mark,
                "event_name": f"{mark}-calls",
                "default_aggregation[formula]": "sum",
                "dimension_payload_keys[0]": f"{mark}_model",
            },
        )["id"]
        self.event = f"{mark}-event"
        self._stream(self.event, f"{mark}-calls")
        self._stream(f"{mark}-lost", f"{mark}-misspelled")
        self.key = self.post("/meterhouse/v1/api_keys", data={"name": mark})["id"]
        self.destination = self.post(
            "/v2/core/event_destinations",
            json={
                "name": mark,
                "type": "webhook_endpoint",
                "event_payload": "thin",
                "enabled_events": ["*"],
                "webhook_endpoint": {"url": f"https://{mark}.invalid"},
            },
        )["id"]
        self.post(f"/v2/core/event_destinations/{self.destination}/ping", json={})
        self.delivery = self.get("/meterhouse/v1/deliveries")["data"][0]["id"]
        self.resend = self.post(
            "/meterhouse/v1/invalid_meter_events/resend",
            json={"dry_run": True, "filter": {"event_name": f"{mark}-misspelled"}},
        )["id"]
        self.price = self.post("/v1/prices", data=self._price())["id"]
        self.invoice, self.line = self._bill()
        self.alert = self._alert()
        self.grant = self._grant()
        self.clock = "clock_none" if livemode else self._clock()

    @property
    def home(self) -> str:
        return f"/dashboard/{self.account}/{'live' if self.livemode else 'test'}"

    @property
    def marks(self) -> list[str]:
        """What tells that something is of these books."""
        ids = [self.customer, self.meter, self.key, self.destination, self.delivery, self.resend]
        billed = [self.price, self.invoice, self.line, self.alert, self.grant]
        return [self.mark, *ids, *billed, self.clock]

    def post(self, path: str, **details: Any) -> dict[str, Any]:
        return self._ask("POST", path, **details)

    def get(self, path: str) -> dict[str, Any]:
        return self._ask("GET", path)

    def path(self, row: Row) -> str:
        """Return the path of a row about what is in these books, below the home of any."""
        ids = {
            "/meters/": self.meter,
            "/customers/": self.customer,
            "/errors/resends/": self.resend,
            "/developers/destinations/": self.destination,
            "/developers/deliveries/": self.delivery,
            "/developers/keys/": self.key,
            "/billing/prices/": self.price,
            "/billing/invoices/": self.invoice,
            "/billing/clocks/": self.clock,
            "/billing/alerts/": self.alert,
            "/billing/credits/": self.grant,
            "/live/upcoming/": self.customer,
        }
        id_ = next((one for start, one in ids.items() if row.path.startswith(start)), "dses_none")
        parts = {
            "{id}": id_,
            "{change}": "roll_secret",
            "{identifier:path}": self.event,
            "{line}": self.line,
        }
        path = row.path
        for part, text in parts.items():
            path = path.replace(part, text)
        asked = {
            "/usage": f"?meter={self.meter}&group=dimension:{self.mark}_model",
            "/customer": f"?id={self.customer}",
            "/event": f"?identifier={self.event}",
            "/errors/resend": f"?event_name={self.mark}-misspelled",
        }
        return path + asked.get(row.path.partition(".")[0], "")

    def _price(self) -> dict[str, str]:
        """Return a price that costs something without usage, too."""
        return {
            "currency": "usd",
            "product_data[name]": self.mark,
            "recurring[interval]": "month",
            "recurring[usage_type]": "metered",
            "recurring[meter]": self.meter,
            "billing_scheme": "tiered",
            "tiers_mode": "volume",
            "tiers[0][up_to]": "inf",
            "tiers[0][flat_amount]": "900",
        }

    def _bill(self) -> tuple[str, str]:
        """Subscribe the customer as of yesterday; return the invoice and its first line."""
        form = {
            "customer": self.customer,
            "items[0][price]": self.price,
            "backdate_start_date": str(self._local.clock.now() // 1000 - 86_400),
        }
        invoice = self.post("/v1/subscriptions", data=form)["latest_invoice"]
        return invoice, self.get(f"/v1/invoices/{invoice}/lines")["data"][0]["id"]

    def _alert(self) -> str:
        form = {"title": self.mark, "meter": self.meter, "steps[0]": "100"}
        made: str = self.post("/meterhouse/v1/alerts", data=form)["id"]
        return made

    def _grant(self) -> str:
        form = {
            "customer": self.customer,
            "name": self.mark,
            "amount[type]": "monetary",
            "amount[monetary][currency]": "usd",
            "amount[monetary][value]": "1000",
            "applicability_config[scope][price_type]": "metered",
        }
        made: str = self.post("/v1/billing/credit_grants", data=form)["id"]
        return made

    def _clock(self) -> str:
        form = {"name": self.mark, "frozen_time": str(self._local.clock.now() // 1000)}
        made: str = self.post("/v1/test_helpers/test_clocks", data=form)["id"]
        return made

    def _stream(self, identifier: str, event_name: str) -> None:
        event = {
            "event_name": event_name,
            "identifier": identifier,
            "payload": {
                "stripe_customer_id": self.customer,
                "value": "7",
                f"{self.mark}_model": self.mark,
            },
        }
        self.post("/v2/billing/meter_event_stream", json={"events": [event]})
        assert self._local.run(self._local.meterhouse.services.progress.settle(30))

    def _ask(self, method: str, path: str, **details: Any) -> dict[str, Any]:
        headers = {
            "Stripe-Account": self.account,
            "Meterhouse-Livemode": str(self.livemode).lower(),
            **(VERSION if path.startswith("/v2") else {}),
        }
        key = self._local.meterhouse.services.operator_token
        made: dict[str, Any] = done(
            self._local.request(method, path, key=key, headers=headers, **details)
        )
        return made


class Bound:
    """A local with four books, and somebody who sees the first only."""

    def __init__(self, local: LocalServer) -> None:
        self.local = local
        default = local.request("GET", "/v1/account").json()["id"]
        with local.meterhouse.ledger.write() as connection:
            own, other = (
                accounts.create_account(connection, name, local.clock.now()).id
                for name in ("Acme", "Zenith")
            )
        self.own = Books(local, own, "amber")
        self.others = [
            Books(local, own, "bronze", livemode=True),
            Books(local, other, "cobalt"),
            Books(local, default, "drab"),
        ]
        self.foreign = [text for books in self.others for text in books.marks]
        self.foreign += ["Zenith", other, default, "everybody"]
        self.enter("viewer", None, None, name="everybody")

    def enter(
        self, role: Role, bound: list[str] | None, livemode: bool | None, name: str = ""
    ) -> dict[str, str]:
        """Sign somebody in; return the headers of their browser."""
        stores, hashed = self.local.meterhouse.services.stores, users.hash_password(PASSWORD)
        name = name or f"{role} {bound} {livemode}"
        now = self.local.clock.now()
        self.local.run(
            stores.write(
                users.create_user, name, hashed, role, now, accounts=bound, livemode=livemode
            )
        )
        form = {"name": name, "password": PASSWORD}
        held = self.local.request("POST", "/dashboard/sign-in", data=form).cookies[COOKIE]
        session = self.local.run(self.local.meterhouse.dashboard.sessions.read(held))
        assert session is not None
        return {"cookie": f"{COOKIE}={held}", "x-csrf-token": session.csrf}

    def first_piece(self, path: str, headers: dict[str, str]) -> str:
        """Return what a live page sends first."""
        return self.local.run(self._first_piece(path, headers))

    async def _first_piece(self, path: str, headers: dict[str, str]) -> str:
        sent: asyncio.Queue[str] = asyncio.Queue()

        async def send(message: Any) -> None:
            await sent.put(message.get("body", b"").decode())

        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "http_version": "1.1",
            "client": None,
            "headers": [(name.encode(), text.encode()) for name, text in headers.items()],
        }

        async def receive() -> Any:
            await asyncio.Event().wait()

        answering = asyncio.create_task(self.local.meterhouse.asgi(scope, receive, send))
        async with asyncio.timeout(60):
            while not (piece := await sent.get()).startswith("data:"):
                pass
        answering.cancel()
        await asyncio.wait({answering})
        return piece

    def changeable(self) -> list[Any]:
        """Return what a change could change in the books of others."""
        lists = (
            "/v1/billing/meters",
            "/v1/prices",
            "/v1/invoices",
            "/meterhouse/v1/api_keys",
            "/v2/core/event_destinations",
        )
        return [[books.get(path)["data"] for path in lists] for books in self.others]


@pytest.fixture(scope="module")
def bound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bound]:
    with local_server(tmp_path_factory.mktemp("bound")) as local:
        yield Bound(local)


@pytest.fixture(scope="module")
def browser(bound: Bound) -> dict[str, str]:
    """Return the headers of an admin who is bound to the first books."""
    return bound.enter("admin", [bound.own.account], livemode=False)


def told(row: Row) -> str:
    return f"{row.method} {row.path}"


@pytest.mark.parametrize("row", GETS, ids=told)
def test_a_page_shows_what_is_ones_own_and_nothing_else(
    bound: Bound, browser: dict[str, str], row: Row
) -> None:
    path = bound.own.home + bound.own.path(row)
    if "/live/" in row.path:
        text = bound.first_piece(path, browser)
    else:
        answer = bound.local.request("GET", path, headers=browser)
        assert answer.status_code == 200, answer.text
        text = answer.text
    assert row.path in WORDLESS or any(word in text for word in bound.own.marks)
    assert [word for word in bound.foreign if word in text] == []


@pytest.mark.parametrize("row", ROWS, ids=told)
def test_nothing_of_another_account_or_mode_is_shown_or_done(
    bound: Bound, browser: dict[str, str], row: Row
) -> None:
    before = bound.changeable()
    for books in (*bound.others, None):
        home = books.home if books else "/dashboard/acct_none/test"
        path = home + (books or bound.own).path(row)
        refused = bound.local.request(row.method, path, headers=browser)
        assert refused.status_code == 403
        shown = unescape(refused.text).replace(books.account if books else "acct_none", "ACCOUNT")
        assert (OTHER_ACCOUNT in shown) == (books is not bound.others[0])
        assert [word for word in bound.foreign if word in shown] == []
    assert bound.changeable() == before


@pytest.mark.parametrize("row", [row for row in ROWS if "{" in row.path or row in GETS], ids=told)
def test_ids_of_others_are_nobodys(bound: Bound, browser: dict[str, str], row: Row) -> None:
    """Also where they come below the home of one's own books."""
    if "/live/" in row.path:
        return
    before = bound.changeable()
    for books in bound.others:
        path = bound.own.home + books.path(row)
        form = {"display_name": "mine"} if row.method == "POST" else None
        answer = bound.local.request(row.method, path, headers=browser, data=form)
        assert answer.status_code in ({404} if "{" in row.path else {200, 400, 404})
        shown = unescape(answer.text)
        for echo in (*books.marks[1:], f"{books.mark}-", f"{books.mark}_model"):
            shown = shown.replace(echo, "") if echo in path else shown
        assert [word for word in bound.foreign if word in shown] == []
    assert bound.changeable() == before


@pytest.mark.parametrize("livemode", [True, False, None])
@pytest.mark.parametrize("accounts_", [0, 1, 2])
def test_home_and_switches_lead_to_what_one_may_see(
    bound: Bound, accounts_: int, livemode: bool | None
) -> None:
    own, *_, other, default = [bound.own, *bound.others]
    all_ = [other.account, own.account, default.account]
    seen = all_[:accounts_] or None
    headers = bound.enter("viewer", seen, livemode)
    home = bound.local.request("GET", "/dashboard", headers=headers).headers["location"]
    first = seen[0] if seen else default.account
    assert home == f"/dashboard/{first}/{'live' if livemode else 'test'}"
    page = bound.local.request("GET", home, headers=headers).text
    modes = {None: {"live", "test"}, True: {"live"}, False: {"test"}}[livemode]
    links = set(re.findall(r'href="/dashboard/(acct_\w+)/(live|test)["/]', page))
    assert {account for account, _ in links} == set(seen or all_)
    assert {mode for _, mode in links} == modes
    for account in all_:
        for mode in ("live", "test"):
            path = f"/dashboard/{account}/{mode}"
            status = bound.local.request("GET", path, headers=headers).status_code
            assert status == (200 if account in (seen or all_) and mode in modes else 403)
