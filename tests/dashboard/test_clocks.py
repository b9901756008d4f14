import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from meterhouse.ledger.tables import test_clocks
from tests.api.local import NOW, LocalServer
from tests.dashboard.test_prices import send
from tests.dashboard.test_site import cookie, visit

CLOCKS = "/v1/test_helpers/test_clocks"


def clock(local: LocalServer, held: str, at: str = "2026-01-31T10:00", name: str = "June") -> str:
    made = send(local, held, "/billing/clocks", frozen_time=at, name=name)
    return made.rpartition("/")[2]


def frozen_time(local: LocalServer, id_: str) -> str:
    """Return the time of a clock as its page shows it, once it stands."""
    page = visit(local, f"/billing/clocks/{id_}", cookie(local)).text
    found = re.search(r'<div class="total"><time datetime="([^+"]+)', page)
    assert found is not None
    return found[1]


def stands(id_: str) -> Callable[[sa.Connection], bool]:
    """Tell whether a clock has arrived."""

    def done(connection: sa.Connection) -> bool:
        query = sa.select(test_clocks.c.target).where(test_clocks.c.id == id_)
        return connection.execute(query).scalar_one() is None

    return done


@pytest.mark.parametrize(
    ("form", "time"),
    [
        ({"step": "hour"}, "2026-01-31T11:00:00"),
        ({"step": "day"}, "2026-02-01T10:00:00"),
        ({"step": "week"}, "2026-02-07T10:00:00"),
        ({"step": "month"}, "2026-02-28T10:00:00"),
        ({"step": "", "frozen_time": "2026-06-01T00:00"}, "2026-06-01T00:00:00"),
    ],
)
def test_a_clock_is_made_and_advanced(local: LocalServer, form: dict[str, str], time: str) -> None:
    held = cookie(local)
    id_ = clock(local, held)
    assert frozen_time(local, id_) == "2026-01-31T10:00:00"
    send(local, held, f"/billing/clocks/{id_}/advance", **form)
    local.until(stands(id_))
    assert frozen_time(local, id_) == time


@pytest.mark.parametrize("wrong", ["2025-01-01T00:00", "soon", "9999999-01-01T00:00", ""])
def test_a_clock_does_not_go_back_and_says_so(local: LocalServer, wrong: str) -> None:
    held = cookie(local)
    id_ = clock(local, held)
    page = send(local, held, f"/billing/clocks/{id_}/advance", frozen_time=wrong)
    assert 'role="alert"' in page
    assert frozen_time(local, id_) == "2026-01-31T10:00:00"


def test_a_clock_without_a_time_begins_now(local: LocalServer) -> None:
    held = cookie(local)
    id_ = clock(local, held, at="", name="<b>x</b>")
    assert local.request("GET", f"{CLOCKS}/{id_}").json()["frozen_time"] == NOW
    page = visit(local, "/billing/clocks", held).text
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    part = visit(local, f"/billing/clocks/{id_}", held, more={"x-fragment": "1"}).text
    assert "<html" not in part
    assert "Nobody lives by this clock yet" in part


def test_a_clock_is_deleted(local: LocalServer) -> None:
    held = cookie(local)
    id_ = clock(local, held)
    assert send(local, held, f"/billing/clocks/{id_}/delete").endswith("/billing/clocks")
    assert visit(local, f"/billing/clocks/{id_}", held).status_code == 404
    assert "No test clocks yet" in visit(local, "/billing/clocks", held).text
