from collections.abc import Callable
from typing import Any

import httpx
import pytest
import stripe

from tests.api.local import LocalServer
from tests.api.samples import error_of


def metadata_of(customer: stripe.Customer) -> Any:
    return customer.to_dict()["metadata"]


def test_create_and_retrieve(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create(
        {
            "email": "ada@example.com",
            "name": "Ada Lovelace",
            "description": "First",
            "phone": "+44 1",
            "balance": -300,
            "preferred_locales": ["en", "fr"],
            "tax_exempt": "exempt",
            "address": {"city": "London", "country": "GB", "line2": ""},
            "shipping": {"name": "Ada", "address": {"line1": "St James's Square 12"}},
            "metadata": {"plan": "gold", "émoji": "🎩"},
        }
    )
    assert made.id.startswith("cus_")
    assert made.object == "customer"
    assert made.livemode is False
    assert made.test_clock is None
    assert made.balance == -300
    assert metadata_of(made) == {"plan": "gold", "émoji": "🎩"}
    assert made.preferred_locales == ["en", "fr"]
    assert made.address is not None
    assert (made.address.city, made.address.line2) == ("London", None)
    assert made.shipping is not None
    assert made.shipping["phone"] is None
    assert client.v1.customers.retrieve(made.id).to_dict() == made.to_dict()


def test_a_customer_without_anything(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create()
    assert (made.email, made.name, metadata_of(made)) == (None, None, {})


@pytest.mark.parametrize(
    ("change", "metadata"),
    [
        ({}, {"a": "1", "b": "2"}),
        ({"metadata": {"c": "3"}}, {"a": "1", "b": "2", "c": "3"}),
        ({"metadata": {"a": "9"}}, {"a": "9", "b": "2"}),
        ({"metadata": {"a": ""}}, {"b": "2"}),
        ({"metadata": ""}, {}),
    ],
)
def test_metadata_is_merged(
    client: stripe.StripeClient, change: Any, metadata: dict[str, str]
) -> None:
    made = client.v1.customers.create({"metadata": {"a": "1", "b": "2"}})
    assert metadata_of(client.v1.customers.update(made.id, change)) == metadata
    assert metadata_of(client.v1.customers.retrieve(made.id)) == metadata


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (
            {"k" * 41: "v"},
            (
                "Metadata keys can have up to 40 characters, but you passed in a key that is 41 "
                f"characters. Invalid key: {'k' * 41}"
            ),
        ),
        (
            {"k": "v" * 501},
            (
                "Metadata values can have up to 500 characters, but you passed in a value that is "
                f"501 characters. Invalid value: {'v' * 100}…{'v' * 100}"
            ),
        ),
        (
            {str(number): "v" for number in range(51)},
            "Metadata can have up to 50 keys, but you've set 51.",
        ),
    ],
)
def test_too_much_metadata(
    client: stripe.StripeClient, metadata: dict[str, str], message: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.customers.create({"metadata": metadata})
    assert (caught.value.user_message, caught.value.param) == (message, "metadata")


def test_metadata_of_two_requests_is_bounded_together(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create({"metadata": {str(n): "v" for n in range(50)}})
    with pytest.raises(stripe.InvalidRequestError, match="you've set 51"):
        client.v1.customers.update(made.id, {"metadata": {"one more": "v"}})


def test_an_empty_string_unsets(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create(
        {"email": "a@example.com", "name": "A", "description": "D", "address": {"city": "X"}}
    )
    bare = client.v1.customers.update(
        made.id, {"email": "", "name": "", "description": "", "address": ""}
    )
    assert (bare.email, bare.name, bare.description, bare.address) == (None, None, None, None)


def test_what_nothing_here_depends_on_goes_through(client: stripe.StripeClient) -> None:
    """What the object shows is given back; the rest is taken, and kept nowhere."""
    made = client.v1.customers.create(
        {
            "cash_balance": {"settings": {"reconciliation_mode": "manual"}},
            "invoice_settings": {
                "custom_fields": [{"name": "PO", "value": "4711"}],
                "default_payment_method": "pm_1",
                "rendering_options": {"amount_tax_display": "exclude_tax"},
            },
            "next_invoice_sequence": 7,
            "payment_method": "pm_card_visa",
            "source": "tok_visa",
            "tax": {"ip_address": "203.0.113.9", "validate_location": "deferred"},
            "tax_id_data": [{"type": "eu_vat", "value": "DE123456789"}],
            "validate": True,
            "expand": ["invoice_settings.default_payment_method"],
        }
    ).to_dict()
    assert made["next_invoice_sequence"] == 7
    assert made["invoice_settings"] == {
        "custom_fields": [{"name": "PO", "value": "4711"}],
        "default_payment_method": "pm_1",
        "footer": None,
        "rendering_options": {"amount_tax_display": "exclude_tax", "template": None},
    }
    assert (made["default_source"], made["discount"]) == (None, None)
    assert not {"payment_method", "source", "tax", "validate"} & made.keys()
    changed = client.v1.customers.update(
        made["id"],
        {
            "default_source": "card_1",
            "invoice_settings": {"default_payment_method": "pm_2", "custom_fields": ""},
        },
    ).to_dict()
    assert changed["default_source"] == "card_1"
    assert changed["invoice_settings"] == made["invoice_settings"] | {
        "default_payment_method": "pm_2",
        "custom_fields": None,
    }


def test_older_clients_name_a_coupon(http: httpx.Client) -> None:
    data = {"coupon": "SPRING", "promotion_code": "promo_1"}
    made = http.post("/v1/customers", data=data).raise_for_status().json()
    assert made["discount"] is None
    path = f"/v1/customers/{made['id']}"
    assert http.post(path, data={"coupon": ""}).raise_for_status().json() == made
    error = error_of(http.post(path, data={"payment_method": "pm_1"}), 400)
    assert error["code"] == "parameter_unknown"  # as at Stripe: it is for new customers


def test_the_list_is_filtered_by_email(client: stripe.StripeClient) -> None:
    wanted = [client.v1.customers.create({"email": "x@example.com"}).id for _ in range(2)]
    client.v1.customers.create({"email": "X@example.com"})
    found = client.v1.customers.list({"email": "x@example.com"})
    assert [one.id for one in found.data] == wanted[::-1]
    assert found.url == "/v1/customers"


def test_the_list_pages_both_ways(client: stripe.StripeClient) -> None:
    ids = [client.v1.customers.create().id for _ in range(7)][::-1]
    page = client.v1.customers.list({"limit": 3})
    assert page.has_more
    assert [one.id for one in page.auto_paging_iter()] == ids
    last = client.v1.customers.list({"limit": 3, "starting_after": ids[3]})
    assert ([one.id for one in last.data], last.has_more) == (ids[4:], False)
    before = client.v1.customers.list({"limit": 3, "ending_before": ids[6]})
    assert ([one.id for one in before.data], before.has_more) == (ids[3:6], True)
    backwards = client.v1.customers.list({"limit": 3, "ending_before": ids[6]})
    assert [one.id for one in backwards.auto_paging_iter()] == ids[5::-1]


def test_a_customer_that_is_deleted(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create()
    gone = client.v1.customers.delete(made.id)
    assert gone.to_dict() == {"id": made.id, "object": "customer", "deleted": True}
    assert client.v1.customers.retrieve(made.id).to_dict() == gone.to_dict()
    assert client.v1.customers.list().data == []
    attempts: list[Callable[[], stripe.Customer]] = [
        lambda: client.v1.customers.delete(made.id),
        lambda: client.v1.customers.update(made.id, {"name": "A"}),
    ]
    for again in attempts:
        with pytest.raises(stripe.InvalidRequestError) as caught:
            again()
        assert caught.value.http_status == 404
        assert caught.value.code == "resource_missing"
        assert caught.value.param == "id"
        assert caught.value.user_message == f"No such customer: '{made.id}'"


@pytest.mark.parametrize(
    ("data", "message", "code", "param"),
    [
        ({"foo": "1"}, "Received unknown parameter: foo", "parameter_unknown", "foo"),
        (
            {"emal": "1"},
            "Received unknown parameter: emal. Did you mean email?",
            "parameter_unknown",
            "emal",
        ),
        (
            {"test_clock": "clock_1"},
            "No such billingclock: 'clock_1'",
            "resource_missing",
            "test_clock",
        ),
        (
            {"invoice_settings[default_payment_metod]": "pm_1"},
            (
                "Received unknown parameter: invoice_settings[default_payment_metod]. Did you mean "
                "invoice_settings[default_payment_method]?"
            ),
            "parameter_unknown",
            "invoice_settings[default_payment_metod]",
        ),
        (
            {"invoice_prefix": "ab"},
            "The invoice prefix must be 1 to 12 uppercase letters or numbers.",
            None,
            "invoice_prefix",
        ),
        ({"balance": "1.5"}, "Invalid integer: 1.5", "parameter_invalid_integer", "balance"),
        (
            {"tax_exempt": "maybe"},
            "Invalid tax_exempt: must be one of exempt, none, or reverse",
            None,
            "tax_exempt",
        ),
        (
            {"shipping[name]": "A"},
            "Missing required param: shipping[address].",
            "parameter_missing",
            "shipping[address]",
        ),
        ({"metadata": "x"}, "Invalid object", None, "metadata"),
        (
            {"expand[]": "nothing"},
            "This property cannot be expanded (nothing).",
            None,
            None,
        ),
        (
            {"expand[]": "a.b.c.d.e"},
            "You cannot expand more than 4 levels of a property (property: a.b.c.d.e).",
            None,
            None,
        ),
        (
            {"name": "n" * 257},
            f"Invalid string: {'n' * 100}…{'n' * 100}; must be at most 256 characters",
            "parameter_invalid_string_too_long",
            "name",
        ),
        (
            {"balance": ""},
            (
                "You passed an empty string for 'balance'. We assume empty values are an attempt "
                "to unset a parameter; however 'balance' cannot be unset. You should remove "
                "'balance' from your request or supply a non-empty value."
            ),
            "parameter_invalid_empty",
            "balance",
        ),
    ],
)
def test_what_is_refused(
    http: httpx.Client, data: dict[str, str], message: str, code: str | None, param: str | None
) -> None:
    error = error_of(http.post("/v1/customers", data=data), 400)
    assert error["type"] == "invalid_request_error"
    assert (error["message"], error.get("code"), error.get("param")) == (message, code, param)
    if code:
        assert error["doc_url"].endswith(code.replace("_", "-"))


def test_what_has_nothing_to_show_may_be_expanded(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create({"expand": ["test_clock", "tax"]})
    page = client.v1.customers.list({"expand": ["data.default_source"]})
    assert page.data[0].id == made.id


def test_the_list_is_filtered_by_creation(local: LocalServer) -> None:
    ids, instants = [], []
    for _ in range(3):
        local.clock.advance(1_500)
        made = local.create("/v1/customers")
        ids.append(made["id"])
        instants.append(made["created"])

    def found(**params: int) -> list[str]:
        answer = local.request(
            "GET",
            "/v1/customers",
            params={
                name.replace("_", "[") + "]" * ("_" in name): at for name, at in params.items()
            },
        )
        return [row["id"] for row in answer.json()["data"]][::-1]

    assert found(created=instants[1]) == ids[1:2]
    assert found(created_gte=instants[1]) == ids[1:]
    assert found(created_gt=instants[1]) == ids[2:]
    assert found(created_lte=instants[1]) == ids[:2]
    assert found(created_lt=instants[1]) == ids[:1]
    assert found(created_gt=instants[0], created_lt=instants[2]) == ids[1:2]


@pytest.mark.parametrize(
    ("params", "message", "param"),
    [
        (
            {"limit": "0"},
            "Invalid integer: this value must be greater than or equal to 1.",
            "limit",
        ),
        (
            {"limit": "101"},
            "Invalid integer: this value must be less than or equal to 100.",
            "limit",
        ),
        ({"starting_after": "cus_no"}, "No such customer: 'cus_no'", "starting_after"),
        ({"ending_before": "cus_no"}, "No such customer: 'cus_no'", "ending_before"),
        (
            {"starting_after": "a", "ending_before": "b"},
            "You may only specify one of these parameters: starting_after, ending_before.",
            "starting_after",
        ),
        ({"created[gt]": "x"}, "Invalid integer: x", "created[gt]"),
        ({"created[foo]": "1"}, "Received unknown parameter: created[foo]", "created[foo]"),
    ],
)
def test_lists_that_are_refused(
    http: httpx.Client, params: dict[str, str], message: str, param: str
) -> None:
    error = error_of(http.get("/v1/customers", params=params), 400)
    assert (error["message"], error["param"]) == (message, param)
