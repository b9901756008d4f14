"""The dashboard in a real browser: Debian's chromium, driven by playwright.

The server is the real one. Each test ends with a console that has told of no error.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboard.browser import CHROMIUM, PASSWORD, browsing, command, make_user, sign_in
from tests.receiver import receiving
from tests.server import TEST_KEY, Server, serving

AXE = Path(__file__).parents[2] / ".cache/clients/axe/node_modules/axe-core/axe.min.js"
VERSION = {"Stripe-Version": "2026-10-28.endive"}
PING = "v2.core.event_destination.ping"

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason="no chromium: apt-get install chromium"
)


@dataclass(frozen=True)
class Site:
    """A server with some usage, and who is signed in to its dashboard."""

    server: Server
    home: str
    state: Any
    meter: str
    customer: str
    price: str = ""
    invoice: str = ""
    line: str = ""
    clock: str = ""
    grant: str = ""
    alert: str = ""

    def post(self, path: str, **details: Any) -> dict[str, Any]:
        answer = httpx.post(self.server.url + path, auth=(TEST_KEY, ""), trust_env=False, **details)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def bill(self) -> dict[str, Any]:
        """Subscribe the customer as of yesterday, whose usage is invoiced at once."""
        form = {
            "customer": self.customer,
            "items[0][price]": self.price,
            "backdate_start_date": str(int(time.time()) - 86_400),
        }
        made = self.post("/v1/subscriptions", data=form)["latest_invoice"]
        asked = {"auth": (TEST_KEY, ""), "trust_env": False}
        found = httpx.get(f"{self.server.url}/v1/invoices/{made}", **asked)  # type: ignore[arg-type]
        invoice: dict[str, Any] = found.json()
        return invoice

    def send(self, *identifiers: str, event_name: str = "tokens", value: str = "1234.5") -> None:
        """Send events; return once they are judged, as a strong read tells."""
        events = [
            {
                "event_name": event_name,
                "identifier": name,
                "payload": {
                    "stripe_customer_id": self.customer,
                    "value": value,
                    "model": ("small", "large")[number % 2],
                },
            }
            for number, name in enumerate(identifiers)
        ]
        self.post("/v2/billing/meter_event_stream", headers=VERSION, json={"events": events})
        events_of = f"{self.server.url}/meterhouse/v1/meter_events"
        asked = {"identifier": identifiers[-1]}
        found = httpx.get(events_of, params=asked, auth=(TEST_KEY, ""), trust_env=False).json()
        assert found["data"][0]["outcome"] != "pending"


def tiered(meter: str) -> dict[str, str]:
    """Return the parameters of a price by tiers, which costs something without usage, too."""
    return {
        "currency": "usd",
        "product_data[name]": "Tokens & <i>more</i>",
        "product_data[unit_label]": "token",
        "recurring[interval]": "month",
        "recurring[usage_type]": "metered",
        "recurring[meter]": meter,
        "billing_scheme": "tiered",
        "tiers_mode": "graduated",
        "tiers[0][up_to]": "1000",
        "tiers[0][flat_amount]": "900",
        "tiers[1][up_to]": "inf",
        "tiers[1][unit_amount_decimal]": "3.6",
    }


def granted(customer: str) -> dict[str, str]:
    """Return the parameters of credit for a customer."""
    return {
        "customer": customer,
        "amount[type]": "monetary",
        "amount[monetary][currency]": "usd",
        "amount[monetary][value]": "2500",
        "category": "paid",
        "applicability_config[scope][price_type]": "metered",
    }


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as opened:
        yield opened


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Site]:
    data_dir = tmp_path_factory.mktemp("dashboard")
    make_user(data_dir)
    settings = {"embed_origins": "http://localhost:*", "public_url": "https://b.example"}
    with serving(data_dir, **settings) as server:
        page = browser.new_page()
        page.goto(f"{server.url}/dashboard")
        sign_in(page, "a wrong password")
        expect(page.get_by_role("alert")).to_be_visible()
        sign_in(page, PASSWORD)
        page.wait_for_url(re.compile("/dashboard/acct_[^/]+/test$"))
        began = Site(server, page.url, page.context.storage_state(), "", "")
        page.context.close()
        customer = began.post("/v1/customers", data={"name": "Ada"})["id"]
        meter = began.post(
            "/v1/billing/meters",
            data={
                "display_name": "Tokens",
                "event_name": "tokens",
                "default_aggregation[formula]": "sum",
                "dimension_payload_keys[0]": "model",
            },
        )["id"]
        price = began.post("/v1/prices", data=tiered(meter))["id"]
        ready = Site(server, began.home, began.state, meter, customer, price)
        clock = began.post(
            "/v1/test_helpers/test_clocks", data={"frozen_time": "1798000000", "name": "A month"}
        )["id"]
        watching = {"title": "Tokens", "meter": meter, "steps[0]": "1000", "steps[1]": "90000"}
        alert = began.post("/meterhouse/v1/alerts", data=watching)["id"]
        ready.send("one", "two", "three")
        ready.send("lost-1", "lost-2", event_name="mystery")
        ready.send("wordy", value="many")
        invoice = ready.bill()
        line = invoice["lines"]["data"][0]["id"]
        grant = began.post("/v1/billing/credit_grants", data=granted(customer))["id"]
        yield replace(
            ready, invoice=invoice["id"], line=line, clock=clock, grant=grant, alert=alert
        )


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    context = browser.new_context(storage_state=site.state, accept_downloads=True)
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda one: wrong.append(one.text) if one.type == "error" else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    yield opened
    context.close()
    assert wrong == []


def drawn(page: Page) -> None:
    """Wait until the chart is there."""
    expect(page.locator(".plot[data-drawn]")).to_be_visible()
    expect(page.locator(".plot .bars .point").first).to_be_attached()


def test_a_chart_is_built_step_by_step(page: Page, site: Site) -> None:
    """Each state has an address, and going back goes back."""
    page.goto(f"{site.home}/usage")
    drawn(page)
    expect(page.locator(".total")).to_have_text("3,703.5")
    page.get_by_label("Broken down by").select_option("dimension:model")
    expect(page.locator("table")).to_contain_text("large")
    drawn(page)
    assert "model" in page.url
    page.get_by_label("Window").select_option("hour")
    page.wait_for_url(re.compile("window=hour"))
    drawn(page)
    page.go_back()
    page.wait_for_url(lambda url: "window=hour" not in url)
    expect(page.get_by_label("Window")).not_to_have_value("hour")
    with page.expect_download() as told:
        page.get_by_role("link", name="CSV").click()
    text = told.value.path().read_text()
    assert text.startswith("\ufeffstarts_at,ends_at,local_start,meter,")  # for Excel
    assert "2469" in text


def test_dates_are_chosen_without_scripts(browser: Browser, site: Site) -> None:
    context = browser.new_context(storage_state=site.state, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.home}/usage?range=7d")
    page.get_by_label("From").fill("2026-01-01")
    page.get_by_label("To", exact=True).fill("2026-01-02")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_label("To", exact=True)).to_have_value("2026-01-02")
    expect(page.get_by_role("heading", name="No usage in this range")).to_be_visible()
    context.close()


def test_a_chart_leaves_as_a_picture_and_as_an_api_call(page: Page, site: Site) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{site.home}/usage?group=dimension:model&meter={site.meter}")
    drawn(page)
    with page.expect_download() as told:
        page.get_by_role("button", name="PNG").click()
    assert told.value.path().read_bytes().startswith(b"\x89PNG")
    page.get_by_role("button", name="Copy as API call").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    call = page.evaluate("navigator.clipboard.readText()")
    assert call.startswith("curl -G ")
    assert f"meters[0][meter]={site.meter}" in call


def test_the_legend_leaves_something_out(page: Page, site: Site) -> None:
    page.goto(f"{site.home}/usage?group=dimension:model&meter={site.meter}")
    drawn(page)
    bars = page.locator(".plot .bars .point path:not([d=''])")
    before = bars.count()
    page.locator(".plot .legendtoggle").first.click()
    expect(bars).not_to_have_count(before)


def test_a_page_is_walked_through_with_the_keyboard(page: Page, site: Site) -> None:
    page.goto(f"{site.home}/meters")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Tokens")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Tokens")).to_be_visible()


def test_a_click_on_a_bar_filters(page: Page, site: Site) -> None:
    page.goto(f"{site.home}/usage?group=dimension:model")
    drawn(page)
    page.locator(".plot .bars .point").last.click(force=True)
    page.wait_for_url(re.compile("(small|large)"))
    drawn(page)
    expect(page.locator(".total")).to_have_text(re.compile("^(2,469|1,234.5)$"))


def test_new_events_show_up_by_themselves(page: Page, site: Site) -> None:
    page.goto(f"{site.home}/events")
    expect(page.locator(".live")).to_have_text("Live")
    name = f"live-{time.monotonic_ns()}"
    site.send(name, event_name="unknown")
    expect(page.get_by_role("link", name=name)).to_be_visible()
    page.get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.locator("main")).to_contain_text("no_meter")


@pytest.mark.parametrize("mode", ["test", "live"])
def test_a_live_page_keeps_its_frame(page: Page, site: Site, mode: str) -> None:
    page.goto(site.home.removesuffix("test") + mode)
    expect(page.get_by_role("status")).to_have_text("Live")
    expect(page.get_by_role("navigation", name="Mode").get_by_role("link")).to_have_count(2)


def test_a_mistake_is_corrected_and_resent(page: Page, site: Site) -> None:
    site.send("typo-1", "typo-2", event_name="tokesn")
    page.goto(f"{site.home}/errors")
    kind = page.locator("section.card", has_text="tokesn")
    kind.get_by_role("link", name="Correct and resend").click()
    page.get_by_label("Event name").fill("tokens")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("status")).to_contain_text("2 of 2 would count")
    page.get_by_role("button", name="Resend").click()
    expect(page.get_by_role("status")).to_contain_text("2 of 2 count now")
    page.goto(f"{site.home}/events/typo-1")
    expect(page.locator("main")).to_contain_text("It counts")


def test_a_key_is_made_shown_once_and_revoked(page: Page, site: Site) -> None:
    page.goto(f"{site.home}/developers/keys")
    page.get_by_label("Name").fill("billing")
    page.get_by_role("button", name="Make key").click()
    secret = page.locator("#secret").inner_text()
    asked = {"auth": (secret, ""), "trust_env": False}
    assert httpx.get(f"{site.server.url}/v1/customers", **asked).status_code == 200  # type: ignore[arg-type]
    page.goto(f"{site.home}/developers/keys")
    assert secret not in page.content()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("row", name="billing").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("row", name="billing")).to_contain_text("revoked")
    assert httpx.get(f"{site.server.url}/v1/customers", **asked).status_code == 401  # type: ignore[arg-type]


def test_a_destination_is_made_and_pinged(page: Page, site: Site) -> None:
    with receiving() as receiver:
        page.goto(f"{site.home}/developers/destinations")
        page.get_by_label("Name").fill("Mine")
        page.get_by_label("URL").fill(f"{receiver.url}/hook")
        page.get_by_label("Events").fill("v1.billing.meter.no_meter_found")
        page.get_by_role("button", name="Make destination").click()
        expect(page.locator("#secret")).to_contain_text("whsec_")
        page.get_by_role("button", name="Send a ping").click()
        expect(page.locator("#secret")).to_have_count(0)  # the page has come anew
        heard = receiver.wait(1, "/hook")
        while not any(PING.encode() in one.body for one in heard):  # a report of another test's
            heard = receiver.wait(len(heard) + 1, "/hook")
        page.reload()
        expect(page.locator("details.more").filter(has_text=PING)).to_have_count(1)


def test_a_meter_is_made_and_deactivated(page: Page, site: Site) -> None:
    page.goto(f"{site.home}/meters")
    page.get_by_label("Name", exact=True).fill("Minutes")
    page.get_by_label("Event name").fill("minutes")
    page.get_by_role("button", name="Make meter").click()
    expect(page.get_by_role("heading", name="Minutes")).to_be_visible()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Deactivate").click()
    expect(page.get_by_role("button", name="Reactivate")).to_be_visible()


def test_a_price_is_made_and_simulated(page: Page, site: Site) -> None:
    page.goto(f"{site.home}/billing/prices")
    page.get_by_label("New product's name").fill("Voice")
    page.get_by_label("Model").select_option("per package")
    page.get_by_label("Amount").fill("8")
    page.get_by_label("Units in a package").fill("60")
    page.get_by_role("button", name="Make price").click()
    expect(page.get_by_role("heading", name="Voice")).to_be_visible()
    usage = page.get_by_label("Usage in a period")
    usage.fill("9892")
    usage.press("Enter")
    expect(page.locator(".total")).to_have_text("$13.20")
    expect(page.locator("main")).to_contain_text("9892 × Voice (at $0.08 per 60 units / month)")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Archive").click()
    expect(page.get_by_role("button", name="Activate")).to_be_visible()


def test_an_invoice_is_printed_by_whoever_pays_it(browser: Browser, site: Site) -> None:
    """On paper there is the invoice and nothing else; a line is as wide as the paper."""
    asked = {"auth": (TEST_KEY, ""), "trust_env": False}
    told = httpx.get(f"{site.server.url}/v1/invoices/{site.invoice}", **asked).json()  # type: ignore[arg-type]
    page = browser.new_page(viewport={"width": 390, "height": 844}, bypass_csp=True)
    page.goto(site.server.url + urlsplit(told["hosted_invoice_url"]).path)
    expect(page.get_by_role("heading", name=f"Invoice {told['number']}")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if AXE.exists():
        page.add_script_tag(path=AXE)
        assert [serious(page, "light"), serious(page, "dark")] == [[], []]
    with page.expect_download() as kept:
        page.get_by_role("link", name="PDF").click()
    assert kept.value.path().read_bytes().startswith(b"%PDF")
    page.emulate_media(media="print")
    expect(page.get_by_role("link", name="PDF")).not_to_be_visible()
    expect(page.get_by_role("article")).to_be_visible()
    page.context.close()


def test_a_clock_is_advanced_and_watched(page: Page, site: Site) -> None:
    customer = site.post("/v1/customers", data={"name": "Clocked", "test_clock": site.clock})["id"]
    items = {"customer": customer, "items[0][price]": site.price}
    site.post("/v1/subscriptions", data=items)
    page.goto(f"{site.home}/billing/clocks/{site.clock}")
    expect(page.get_by_text("No invoices.")).to_be_visible()
    page.get_by_role("button", name="By a month").click()
    expect(page.get_by_role("link", name="Draft")).to_be_visible()
    page.get_by_role("button", name="By a day").click()
    expect(page.get_by_text("$9.00").first).to_be_visible()
    expect(page.locator(".badge", has_text="open")).to_be_visible()


def test_what_comes_next_keeps_itself_up_to_date(page: Page, site: Site) -> None:
    customer = site.post("/v1/customers")["id"]
    site.post("/v1/subscriptions", data={"customer": customer, "items[0][price]": site.price})
    page.goto(f"{site.home}/customers/{customer}")
    upcoming = page.locator("section.card", has_text="Upcoming invoice")
    expect(upcoming.locator(".total")).to_have_text("$9.00")
    replace(site, customer=customer).send(f"upcoming-{time.monotonic_ns()}", value="2000")
    expect(upcoming.locator(".total")).to_have_text("$45.00")


def test_an_embedded_chart_shows_one_customer(page: Page, site: Site) -> None:
    token = site.post(
        "/meterhouse/v1/embed_tokens",
        data={
            "customer": site.customer,
            "meters[0]": site.meter,
            "dimension_group_by_keys[0]": "model",
        },
    )["token"]
    page.goto(f"{site.server.url}/embed/usage?token={token}&theme=dark")
    drawn(page)
    page.get_by_label("Broken down by").select_option("dimension:model")
    page.wait_for_url(re.compile("model"))
    drawn(page)
    expect(page.locator(".plot .legend")).to_contain_text("small")
    for range_ in ("7d", "90d"):
        page.get_by_label("Range").select_option(range_)
        page.wait_for_url(re.compile(f"range={range_}"))
        drawn(page)
        expect(page.get_by_label("Range")).to_have_count(1)
    assert page.evaluate("document.cookie") == ""


def test_a_page_of_another_origin_asks_with_a_token(browser: Browser, site: Site) -> None:
    """The browser itself judges: it lets the page read what a token permits, and nothing else."""
    bound = {"customer": site.customer, "meters[0]": site.meter}
    token = site.post("/meterhouse/v1/embed_tokens", data=bound)["token"]
    today = int(time.time()) // 86_400 * 86_400
    usage = (
        f"{site.server.url}/v1/billing/analytics/meter_usage?customer={site.customer}"
        f"&meters[0][meter]={site.meter}&starts_at={today - 86_400}&ends_at={today + 86_400}"
    )
    ask = """async ([url, key]) => {
        const headers = {Authorization: `Bearer ${key}`, 'Stripe-Version': '2026-10-28.endive'};
        const answer = await fetch(url, {headers}).catch((error) => error.name);
        return answer.ok ? (await answer.json()).data[0].value : answer;
    }"""
    page = browser.new_page()
    page.goto(site.server.url.replace("127.0.0.1", "localhost") + "/healthz")
    asked = [(usage, token), (usage, TEST_KEY), (f"{site.server.url}/v1/customers", token)]
    used = httpx.get(usage, auth=(TEST_KEY, ""), trust_env=False).json()["data"][0]["value"]
    assert [page.evaluate(ask, list(one)) for one in asked] == [used, "TypeError", "TypeError"]
    page.context.close()


def entered(browser: Browser, site: Site, name: str) -> Page:
    """Return a page of a browser that has just signed in; it is at the overview."""
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    page.goto(site.home)
    sign_in(page, PASSWORD, name)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    return page


def outside(page: Page) -> None:
    """Wait until a page shows nothing any more."""
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_signing_out(browser: Browser, site: Site) -> None:
    """A copy of the cookie is worth nothing then."""
    page = entered(browser, site, "ada")
    copied = browser.new_context(storage_state=page.context.storage_state()).new_page()
    page.get_by_role("button", name="Sign out").click()
    outside(page)
    page.goto(site.home)
    outside(page)
    copied.goto(site.home)
    outside(copied)
    for one in (page, copied):
        one.context.close()


def test_what_is_live_goes_when_its_session_ends(browser: Browser, site: Site) -> None:
    """By the page of sessions, everywhere at once, and by the command line."""
    data_dir = site.server.data_dir
    make_user(data_dir, "bob", "viewer")
    page, ended = (entered(browser, site, "bob") for _ in range(2))
    page.get_by_role("link", name="bob").click()
    expect(page.get_by_role("row")).to_have_count(3)
    page.get_by_role("button", name="End").click()
    expect(page.get_by_role("row")).to_have_count(2)
    outside(ended)
    live = entered(browser, site, "bob")
    page.on("dialog", lambda one: one.accept())
    page.get_by_role("button", name="Sign out everywhere").click()
    for one in (page, live):
        outside(one)
        one.context.close()
    sign_in(ended, PASSWORD, "bob")
    expect(ended.get_by_role("heading", name="Overview")).to_be_visible()
    command(data_dir, "users", "sign-out", "bob")
    outside(ended)
    ended.context.close()


@pytest.mark.skipif(not AXE.exists(), reason="no axe-core: it comes from npm")
@pytest.mark.parametrize(
    "path",
    [
        "",
        "/usage?group=dimension:model&meter={meter}",
        "/meters",
        "/meters/{meter}",
        "/customers",
        "/customers/{customer}",
        "/events",
        "/events/one",
        "/events/lost-1",
        "/errors",
        "/errors/resend?code=no_meter&event_name=mystery",
        "/billing/prices",
        "/billing/prices/{price}",
        "/billing/invoices",
        "/billing/invoices/{invoice}",
        "/billing/invoices/{invoice}/lines/{line}",
        "/billing/alerts",
        "/billing/alerts/{alert}?customer={customer}",
        "/billing/credits?customer={customer}",
        "/billing/credits/{grant}",
        "/billing/late",
        "/billing/revenue",
        "/billing/what-if?price={price}",
        "/billing/clocks",
        "/billing/clocks/{clock}",
        "/developers/logs",
        "/developers/destinations",
        "/developers/keys",
        "/developers/audit",
        "/sessions",
        "/nothing",
    ],
)
def test_a_page_is_for_everybody(browser: Browser, site: Site, path: str) -> None:
    """axe-core finds nothing serious in light or dark, and the page is no wider than a phone."""
    context = browser.new_context(
        storage_state=site.state,
        viewport={"width": 390, "height": 844},
        bypass_csp=True,  # to add axe-core to the page
    )
    page = context.new_page()
    page.goto(site.home + path.format(**vars(site)))
    if page.locator(".plot").count():
        drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.add_script_tag(path=AXE)
    found = {theme: serious(page, theme) for theme in ("light", "dark")}
    context.close()
    assert found == {"light": [], "dark": []}


def serious(page: Page, theme: Literal["light", "dark"]) -> list[tuple[str, Any]]:
    """Return what axe-core finds, and where."""
    page.emulate_media(color_scheme=theme)
    return [
        (one["id"], [node["target"] for node in one["nodes"]][:3])
        for one in page.evaluate("async () => (await axe.run()).violations")
        if one["impact"] in ("serious", "critical")
    ]
