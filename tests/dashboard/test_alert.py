import pytest

from meterhouse.dashboard.alert import outlook, steps_of
from tests.api.local import LocalServer
from tests.api.meterhouse.test_alerts import use
from tests.dashboard.test_credit import told
from tests.dashboard.test_prices import send
from tests.dashboard.test_site import cookie, visit

FORM = {"title": "<b>Budget</b>", "recurrence": "month", "steps": "50 100", "budget": "200"}


def make(local: LocalServer, held: str, **more: str) -> str:
    """Make an alert by the form; return its id."""
    made = send(local, held, "/billing/alerts", **(FORM | more))
    assert "/billing/alerts/alrt_" in made, made
    return made.rpartition("/")[2]


def test_who_has_reached_an_alert_is_told_with_the_event_that_crossed(local: LocalServer) -> None:
    held, meter, customer, idle = cookie(local), local.meter(), local.customer(), local.customer()
    id_ = make(local, held, meter=meter)
    path = f"/billing/alerts/{id_}"
    assert "Nobody yet." in visit(local, path, held).text
    use(local, customer, "90", identifier="first")
    use(local, customer, "70", identifier="<i>second</i>")
    page = visit(local, path, held).text
    assert "<b>Budget" not in page
    assert "50, 100 % of 200: 100, 200, every month" in told(page)
    assert "50 % 160 from 1 Nov 2026 &lt;i&gt;second&lt;/i&gt; brought 70 to 160" in told(page)
    mine = told(visit(local, path, held, params={"customer": customer}).text)
    assert "At this pace it reaches 100 % on 26 Nov 2026" in mine
    assert "160 of 100 (reached), 200" in mine
    other = told(visit(local, path, held, params={"customer": idle}).text)
    assert "At this pace it does not reach 50 %. 0 of 100, 200" in other
    assert "Nobody yet." in other
    shown = told(visit(local, f"/customers/{customer}", held).text)
    assert "160 of 100 (reached), 200" in shown
    nobody = visit(local, path, held, params={"customer": "cus_nobody"})
    assert (nobody.status_code, "No such customer" in nobody.text) == (200, True)


def test_an_alert_of_one_customer(local: LocalServer) -> None:
    held, meter, customer = cookie(local), local.meter(), local.customer()
    asked = {"steps": "10.5", "budget": "", "recurrence": "one_time", "hard_limit": "true"}
    id_ = make(local, held, meter=meter, customer=customer, dimensions="model=large\r\n", **asked)
    page = told(visit(local, f"/billing/alerts/{id_}", held).text)
    assert "model = large" in page
    assert "may use no more" in page
    assert "At this pace it does not reach 10.5. 0 of 10.5" in page
    listed = told(visit(local, "/billing/alerts", held).text)
    assert "model = large 10.5 a hard limit once" in listed
    for asked, found in (({"customer": customer}, True), ({"customer": local.customer()}, False)):
        shown = visit(local, "/billing/alerts", held, params=asked).text
        assert (f"/billing/alerts/{id_}" in shown) == found


def test_an_alert_is_deactivated_activated_and_archived(local: LocalServer) -> None:
    held = cookie(local)
    id_ = make(local, held, meter=local.meter())
    for change, status in (
        ("deactivate", "inactive"),
        ("activate", "active"),
        ("archive", "archived"),
    ):
        send(local, held, f"/billing/alerts/{id_}/{change}")
        page = visit(local, f"/billing/alerts/{id_}", held).text
        assert f'<span class="badge {status}">{status}</span>' in page
    assert "Deactivate" not in page
    assert "is archived" in send(local, held, f"/billing/alerts/{id_}/activate")
    assert "no such page" in send(local, held, f"/billing/alerts/{id_}/burn")
    assert id_ not in visit(local, "/billing/alerts", held).text
    assert visit(local, "/billing/alerts/nope", held).status_code == 404


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"steps": "many"}, "Invalid decimal: many"),
        ({"steps": "80 50"}, "Each step must be greater than the one before."),
        ({"steps": ""}, "steps"),
        ({"customer": "cus_nobody"}, "No such customer"),
        ({"recurrence": "hourly"}, "must be one of"),
        ({"dimensions": "=large"}, "dimensions"),
    ],
)
def test_what_is_wrong_with_an_alert_is_said_and_nothing_is_lost(
    local: LocalServer, more: dict[str, str], sentence: str
) -> None:
    form = FORM | {"meter": local.meter()} | more
    page = send(local, cookie(local), "/billing/alerts", **form)
    assert sentence in page
    assert 'value="&lt;b&gt;Budget&lt;/b&gt;"' in page


def test_what_is_said_in_short() -> None:
    steps = [{"gte": "1000.50", "percent": None, "reached_at": None}]
    assert steps_of({"budget": None, "steps": steps}) == "1,000.5"
    forecast = {"total": "1", "pace": None, "steps": steps}
    assert outlook(forecast) == ""
    assert outlook(forecast | {"total": "1000.5"}) == "Reached"
