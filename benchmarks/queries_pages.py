"""The pages of the dashboard beside months of events, as a browser asks for them one by one."""

import secrets
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import httpx

from benchmarks.load import percentile
from benchmarks.result import Row

_TURNS = 10
_MILLISECONDS_MAX = 200.0
_DASHBOARD = "/dashboard"

PASSWORD = secrets.token_hex(16)


def make_viewer(folder: Path) -> str:
    """Make somebody who may look at the pages of a server that is to start; return the name."""
    name = f"bench-{secrets.token_hex(4)}"
    command = ["users", "create", name, "--role", "viewer", "--password-stdin"]
    subprocess.run(
        [sys.executable, "-m", "meterhouse", *command, "--data-dir", str(folder)],
        input=PASSWORD,
        text=True,
        check=True,
        capture_output=True,
    )
    return name


def measure(url: str, viewer: str, account: str, customer: str, meter: str) -> Iterator[Row]:
    """Sign in and ask for every page, with the answers of large questions in it.

    `customer` and `meter` are those of pages about one of them.
    """
    home = f"{_DASHBOARD}/{account}/live"
    with httpx.Client(base_url=url, trust_env=False) as browser:
        door = {"name": viewer, "password": PASSWORD}
        browser.post(f"{_DASHBOARD}/sign-in", data=door, follow_redirects=True).raise_for_status()
        for name, path in (
            ("overview", ""),
            ("usage: all customers, 30 days", f"/usage?meter={meter}"),
            ("usage by model", f"/usage?meter={meter}&group=dimension:model"),
            ("usage by customer", f"/usage?meter={meter}&group=customer"),
            ("meters", "/meters"),
            ("meter", f"/meters/{meter}"),
            ("customers", "/customers"),
            ("customers, a search", "/customers?q=99"),
            ("the largest customer", f"/customers/{customer}?meter={meter}"),
            ("events", "/events"),
            ("errors", "/errors"),
            ("request logs", "/developers/logs"),
            ("destinations", "/developers/destinations"),
            ("API keys", "/developers/keys"),
        ):
            yield _row(f"page: {name}", browser, home + path)


def _row(name: str, browser: httpx.Client, path: str) -> Row:
    took = array("d")
    size = 0
    for _ in range(_TURNS):
        begun = time.perf_counter()
        page = browser.get(path)
        took.append(time.perf_counter() - begun)
        page.raise_for_status()
        size = page.num_bytes_downloaded
    p50, p99 = (percentile(took, share) * 1000 for share in (0.5, 0.99))
    return Row(
        name=name,
        rate=_TURNS / sum(took),
        p50=p50,
        p99=p99,
        bar=f"p50 ≤ {_MILLISECONDS_MAX:.0f} ms",
        met=p50 <= _MILLISECONDS_MAX,
        note=f"{size / 1000:,.0f} kB",
    )
