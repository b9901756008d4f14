"""The official SDK and the Stripe CLI with two nodes: what one knows, the other knows."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import stripe

from tests import nginx
from tests.api.stripe_cli import BINARY, Sink, StripeCli, sinking
from tests.cluster.samples import Cluster, event, make_meter, sdk, total
from tests.receiver import receiving

EVENTS = 20


@pytest.fixture
def sink() -> Iterator[Sink]:
    with sinking() as opened:
        yield opened


def test_what_is_made_at_one_is_seen_at_the_other(cluster: Cluster) -> None:
    one, other = sdk(cluster.one.url), sdk(cluster.other.url)
    made = one.v1.customers.create({"name": "Ada"})
    assert other.v1.customers.retrieve(made.id).name == "Ada"
    other.v1.customers.update(made.id, {"name": "Ada L."})
    assert one.v1.customers.retrieve(made.id).name == "Ada L."
    meter = make_meter(one, "seen")
    other.v1.billing.meter_events.create(event("seen", made.id, "seen-1", "2"))
    one.v1.billing.meter_events.create(event("seen", made.id, "seen-2", "3"))
    assert [total(client, meter, made.id, 5) for client in (one, other)] == [5, 5]


def test_a_retry_at_the_other_replays(cluster: Cluster) -> None:
    one, other = sdk(cluster.one.url), sdk(cluster.other.url)
    key = stripe.RequestOptions(idempotency_key="a retry elsewhere")
    made = one.v1.customers.create({"name": "once"}, key)
    again = other.v1.customers.create({"name": "once"}, key)
    assert again.id == made.id
    assert again.last_response is not None
    assert again.last_response.headers["idempotent-replayed"] == "true"


def test_an_identifier_is_taken_at_both(cluster: Cluster) -> None:
    one, other = sdk(cluster.one.url), sdk(cluster.other.url)
    customer, meter = one.v1.customers.create().id, make_meter(one, "taken")
    one.v1.billing.meter_events.create(event("taken", customer, "taken-1"))
    with pytest.raises(stripe.InvalidRequestError, match="already exists with identifier taken-1"):
        other.v1.billing.meter_events.create(event("taken", customer, "taken-1"))
    assert total(other, meter, customer, 1) == 1


def test_a_session_of_one_is_known_to_the_other(cluster: Cluster) -> None:
    one = sdk(cluster.one.url)
    customer, meter = one.v1.customers.create().id, make_meter(one, "streamed")
    token = one.v2.billing.meter_event_session.create().authentication_token
    sent = [event("streamed", customer, f"streamed-{number}") for number in range(EVENTS)]
    for node in (cluster.other, cluster.one):  # the second time all are duplicates
        sdk(node.url, token).v2.billing.meter_event_stream.create({"events": sent})
    assert total(one, meter, customer, EVENTS) == EVENTS


@pytest.mark.skipif(BINARY is None, reason="no Stripe CLI: it comes from npm")
def test_a_cli_that_listens_at_one_hears_the_other(
    cluster: Cluster, sink: Sink, tmp_path: Path
) -> None:
    cli = StripeCli(tmp_path, cluster.one.url)
    with cli.listening("listen", "-s", "--all-snapshot", "--forward-to", f"{sink.url}/hook"):
        made = sdk(cluster.other.url).v1.customers.create({"name": "heard"})
        body, headers = sink.wait_for("/hook", "customer.created")
    secret = cli.run("listen", "--print-secret").stdout.strip()
    told = stripe.Webhook.construct_event(body, headers["Stripe-Signature"], secret)
    assert told.data.object["id"] == made.id


def test_a_report_of_wrong_events_arrives(cluster: Cluster) -> None:
    """Given wrong events sent to both nodes, then one report tells of all of them."""
    one, other = sdk(cluster.one.url), sdk(cluster.other.url)
    with receiving() as receiver:
        destination = one.v2.core.event_destinations.create(
            {
                "name": "reports",
                "type": "webhook_endpoint",
                "event_payload": "thin",
                "enabled_events": ["v1.billing.meter.no_meter_found"],
                "webhook_endpoint": {"url": receiver.url + "/"},
                "include": ["webhook_endpoint.signing_secret"],
            }
        )
        for client in (one, other):
            token = client.v2.billing.meter_event_session.create().authentication_token
            wrong = [event("nothing", "cus_1", f"wrong-{number}") for number in range(3)]
            url = cluster.one.url if client is other else cluster.other.url
            sdk(url, token).v2.billing.meter_event_stream.create({"events": wrong})
        count, told = 0, 0
        while count < 6:
            told += 1
            heard = receiver.wait(told)
            ids = {json.loads(one.body)["id"] for one in heard}
            reports = [other.v2.core.events.retrieve(id_).to_dict() for id_ in ids]
            count = sum(int(report["data"]["reason"]["error_count"]) for report in reports)
        assert destination.webhook_endpoint is not None
        secret = destination.webhook_endpoint.signing_secret
        for one_heard in heard:
            header = one_heard.headers["Stripe-Signature"]
            stripe.WebhookSignature.verify_header(one_heard.body, header, secret)
    assert count == 6


@pytest.mark.skipif(not nginx.PROGRAM.exists(), reason="no nginx: apt-get install nginx")
def test_the_sdk_behind_nginx_knows_one_server(cluster: Cluster, tmp_path: Path) -> None:
    """Given nginx that asks both nodes in turn, then nobody notices that there are two."""
    with nginx.deployed(tmp_path, cluster.one.url, cluster.other.url) as url:
        client = sdk(url)
        customer, meter = (
            client.v1.customers.create({"name": "Ada"}).id,
            make_meter(client, "front"),
        )
        for number in range(EVENTS):
            client.v1.billing.meter_events.create(event("front", customer, f"front-{number}"))
        assert total(client, meter, customer, EVENTS) == EVENTS
        key = stripe.RequestOptions(idempotency_key="behind nginx")
        made = [client.v1.customers.create({"name": "once"}, key).id for _ in range(4)]
        assert len(set(made)) == 1
        token = client.v2.billing.meter_event_session.create().authentication_token
        sent = [event("front", customer, f"front-s{number}") for number in range(EVENTS)]
        for _ in range(2):
            sdk(url, token).v2.billing.meter_event_stream.create({"events": sent})
        assert total(client, meter, customer, 2 * EVENTS) == 2 * EVENTS
    answered = [node.log().count("path=/v1/billing/meter_events ") for node in cluster[:2]]
    assert min(answered) > 0, "nginx asked one node only"
