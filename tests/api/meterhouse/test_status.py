import pytest

from meterhouse import zones
from meterhouse.limits import FRESHNESS_LOOK_MILLISECONDS
from tests.api.local import HOUR, NOW, LocalServer
from tests.api.meterhouse.samples import stream, wrong
from tests.api.v2.samples import HERE, SESSION, STREAM, at, done, event
from tests.server import LIVE_KEY

STATUS = "/meterhouse/v1/status"


def test_the_books_of_an_account(local: LocalServer) -> None:
    local.meter()
    customer = local.customer()
    fine = event(customer, identifier="a", timestamp=at(-60))
    stream(local, fine, fine, wrong("b", customer), wrong("c", customer), wrong("d", customer))
    assert done(local.request("GET", STATUS)) == {
        "object": "meterhouse.status",
        "accepted": 1,
        "acknowledged": 5,
        "clock": "right",
        "complete_until": f"{NOW}.000",
        "created": NOW,
        "duplicate": 1,
        "held_up": 0,
        "livemode": False,
        "pending": 0,
        "rejected": 3,
        "timezone_rules": zones.rules().version,
    }
    other = done(local.request("GET", STATUS, key=LIVE_KEY))
    assert (other["acknowledged"], other["livemode"]) == (0, True)


def test_it_tells_how_fresh_answers_are(local: LocalServer) -> None:
    local.clock.advance(HOUR * 1000 + FRESHNESS_LOOK_MILLISECONDS + 7)
    told = done(local.request("GET", STATUS))
    assert told["complete_until"] == f"{NOW + HOUR}.{FRESHNESS_LOOK_MILLISECONDS + 7}"


@pytest.mark.parametrize(("jump", "told"), [(HOUR, "ahead"), (-HOUR, "behind")])
def test_it_tells_of_a_clock_that_is_doubted(local: LocalServer, jump: int, told: str) -> None:
    local.clock.advance(jump * 1000)
    local.run(local.meterhouse.services.timekeeper.look())
    assert done(local.request("GET", STATUS))["clock"] == told


def test_what_is_not_judged_yet_is_pending(local: LocalServer) -> None:
    inner = local.meterhouse

    async def ask() -> None:
        async with inner._processor.still():
            made = await local.ask("POST", SESSION, headers=HERE)
            sent = await local.ask(
                "POST",
                STREAM,
                key=made.json()["authentication_token"],
                json={"events": [wrong("a", "cus_1")]},
                headers=HERE,
            )
            assert sent.status_code == 200, sent.text
            told = (await local.ask("GET", STATUS)).json()
            assert (told["acknowledged"], told["rejected"], told["pending"]) == (1, 0, 1)

    local.run(ask())
