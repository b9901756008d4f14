"""Segments are counted as the usage store has them, each where it stood."""

from decimal import Decimal

from meterhouse.billing.invoice import Segment
from meterhouse.billing.period import Period
from meterhouse.invoicing.count import count
from meterhouse.ledger import customers
from tests.metering.samples import DAY, NOW, event
from tests.pipeline import CUSTOMER, Pipeline, create_meter, customer, stream

OTHER = "cus_2"


def segment(place: int, customer_: str, meter: str, usage_in: Period) -> Segment:
    return Segment(
        place=place,
        customer=customer_,
        meter=meter,
        price="price_1",
        subscription_item="si_1",
        invoice_item=None,
        usage_in=usage_in,
        period=usage_in,
    )


def test_segments_are_counted_in_their_order(pipeline: Pipeline) -> None:
    """Of several customers, meters and ranges; an event at the end of one is in the next."""
    with pipeline.stores._ledger.write() as connection:
        customers.create_customer(connection, customer(pipeline.scope, id=OTHER))
        last = create_meter(
            connection, pipeline.scope, id="mtr_2", event_name="seats", formula="last"
        )
    before, after = Period(NOW - DAY, NOW - 60_000), Period(NOW - 60_000, NOW)

    async def body() -> list[Segment]:
        await stream(
            pipeline,
            *(
                event(
                    scope=pipeline.scope.id,
                    identifier=f"{name} {who} {at}",
                    event_name=name,
                    timestamp=at,
                    payload={"stripe_customer_id": who, "value": value},
                )
                for name in ("calls", "seats")
                for who, at, value in (
                    (CUSTOMER, NOW - DAY + 1, "2.5"),
                    (CUSTOMER, NOW - 60_001, "0.25"),
                    (CUSTOMER, NOW - 60_000, "7"),
                    (OTHER, NOW - 1, "-3"),
                )
            ),
        )
        await pipeline.processor.settle(5)
        asked = [
            segment(0, OTHER, "mtr_1", after),
            segment(1, CUSTOMER, "mtr_1", before),
            segment(2, CUSTOMER, last.id, before),
            segment(3, CUSTOMER, "mtr_1", after),
            segment(4, OTHER, last.id, before),
        ]
        return await count(pipeline.stores, pipeline.scope, asked, NOW + 5)

    counted = pipeline.run(body)
    assert [one.place for one in counted] == [0, 1, 2, 3, 4]
    assert [(one.usage, one.events) for one in counted] == [
        (Decimal(-3), 1),
        (Decimal("2.75"), 2),
        (Decimal("0.25"), 2),
        (Decimal(7), 1),
        (Decimal(0), 0),
    ]
    assert {one.counted_at for one in counted} == {NOW + 5}


def test_nothing_is_asked_about_no_segments(pipeline: Pipeline) -> None:
    async def body() -> list[Segment]:
        return await count(pipeline.stores, pipeline.scope, [], NOW)

    assert pipeline.run(body) == []
