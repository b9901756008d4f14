"""`python -m tests.dashboard.pictures <folder>`: a picture of every page, for docs/dashboard.md.

A server is filled with a month of the demo's usage. Each picture has the page four times: wide and
on a phone, light and dark.
"""

import re
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page
from rich.progress import track

from tests.dashboard.browser import PASSWORD, browsing, make_user, sign_in
from tests.server import TEST_KEY, Server, serving

EVENTS = 200_000
WIDE, PHONE = (1360, 900), (390, 900)
SCALE = 0.7
GAP = 12
COLORS = 240  # of a picture, which halves its size


def main(folder: Path) -> None:
    """Fill a server, look at every page, and write the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, browsing() as browser:
        data_dir = Path(temporary)
        make_user(data_dir)
        with serving(data_dir) as server:
            _fill(server)
            page = browser.new_page()
            state = _state(page, server)
            pages = _pages(page, server)
            for name, url in track(pages.items(), "Looking at the pages"):
                _picture(browser, state, url).save(folder / f"{name}.png", optimize=True)
            browser.close()


def _fill(server: Server) -> None:
    command = ["demo", "--url", server.url, "--api-key", TEST_KEY, "--events", str(EVENTS)]
    subprocess.run([sys.executable, "-m", "meterhouse", *command], check=True)


def _state(page: Page, server: Server) -> Any:
    page.goto(f"{server.url}/dashboard")
    sign_in(page, PASSWORD)
    page.wait_for_url(re.compile("/test$"))
    return page.context.storage_state()


def _pages(page: Page, server: Server) -> dict[str, str]:
    """Return the address of every page, from the overview on."""
    home = page.url

    def first(path: str, link: str) -> str:
        page.goto(f"{home}/{path}")
        found = page.locator(f"main a[href*='{link}']").first
        return str(found.evaluate("link => link.href"))

    page.goto(f"{home}/billing/prices")
    price = str(page.get_by_role("link", name="AI tokens").first.evaluate("link => link.href"))
    page.goto(f"{home}/billing/invoices")
    billed = page.get_by_role("row", name="Lumen & Vale").get_by_role("link").first
    invoice = str(billed.evaluate("link => link.href"))
    page.goto(f"{home}/billing/alerts")
    alert = str(page.get_by_role("link", name="Tokens of a month").evaluate("link => link.href"))
    page.goto(f"{home}/billing/credits")
    prepaid = page.get_by_role("row", name="Northgate").get_by_role("link").last
    credit = str(prepaid.evaluate("link => link.href"))
    page.goto(f"{home}/meters")
    meter = str(page.get_by_role("link", name="AI tokens").evaluate("link => link.href"))
    usage = f"{home}/usage?meter={meter.rsplit('/', 1)[1]}"
    customer = first("customers", "/customers/cus_")
    return {
        "overview": home,
        "usage": f"{usage}&group=dimension:model",
        "meters": f"{home}/meters",
        "meter": meter,
        "customers": f"{home}/customers",
        "customer": customer,
        "events": f"{home}/events",
        "event": first("events?outcome=rejected", "/event?"),
        "errors": f"{home}/errors",
        "resend": first("errors", "errors/resend"),
        "price": price,
        "invoice": invoice,
        "credits": credit,
        "alert": f"{alert}?{urlsplit(credit).query}",
        "logs": f"{home}/developers/logs",
        "destinations": f"{home}/developers/destinations",
        "keys": f"{home}/developers/keys",
        "embed": _embedded(server, customer.rsplit("/", 1)[1], meter.rsplit("/", 1)[1]),
    }


def _embedded(server: Server, customer: str, meter: str) -> str:
    """Return the address of a chart for a customer's eyes."""
    bound = {
        "customer": customer,
        "meters[0]": meter,
        "dimension_group_by_keys[0]": "model",
    }
    path = "/meterhouse/v1/embed_tokens"
    made = httpx.post(server.url + path, auth=(TEST_KEY, ""), data=bound, trust_env=False).json()
    return f"{server.url}/embed/usage?token={made['token']}&group=dimension:model"


def _picture(browser: Browser, state: Any, url: str) -> Image.Image:
    """Return one page in both widths and both themes, side by side."""
    shots = [
        _shot(browser, state, url, size, theme)
        for size in (WIDE, PHONE)
        for theme in ("light", "dark")
    ]
    width = sum(one.width for one in shots) + GAP * (len(shots) - 1)
    picture = Image.new("RGB", (width, shots[0].height), "white")
    left = 0
    for one in shots:
        picture.paste(one, (left, 0))
        left += one.width + GAP
    return picture.quantize(COLORS)


def _shot(browser: Browser, state: Any, url: str, size: tuple[int, int], theme: Any) -> Image.Image:
    width, height = size
    context = browser.new_context(
        storage_state=state,
        color_scheme=theme,
        viewport={"width": width, "height": height},
        device_scale_factor=SCALE,
    )
    page = context.new_page()
    page.goto(url)
    if page.locator(".plot").count():
        page.wait_for_selector(".plot[data-drawn]")
    if page.locator(".live").count():
        page.wait_for_selector(".live.on")
    image = Image.open(BytesIO(page.screenshot()))
    context.close()
    return image.convert("RGB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
