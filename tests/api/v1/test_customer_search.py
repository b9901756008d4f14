from typing import Any

import httpx
import pytest
import stripe

from tests.api.samples import error_of, new_account


def make(client: stripe.StripeClient, **params: Any) -> str:
    given: Any = params
    return client.v1.customers.create(given).id


def found(client: stripe.StripeClient, query: str) -> list[str]:
    return [one.id for one in client.v1.customers.search({"query": query}).data]


def test_customers_are_found_as_soon_as_they_are_made(client: stripe.StripeClient) -> None:
    ada = make(client, email="Ada@example.com", name="Ada Lovelace", metadata={"userId": "u_1"})
    gone = make(client, email="ada@example.com")
    assert found(client, 'email:"ada@example.com"') == [gone, ada]
    client.v1.customers.delete(gone)
    assert found(client, 'email:"ada@example.com"') == [ada]
    assert found(client, "metadata['userId']:'u_1'") == [ada]
    client.v1.customers.update(ada, {"metadata": {"userId": "u_2"}, "name": ""})
    assert found(client, "metadata['userId']:'u_1' OR name~'love'") == []


def test_what_a_search_answers(client: stripe.StripeClient, http: httpx.Client) -> None:
    ada = make(client, name="Ada")
    params = {"query": 'name:"ada"', "expand[]": "total_count"}
    answer = http.get("/v1/customers/search", params=params).raise_for_status().json()
    assert answer == {
        "object": "search_result",
        "url": "/v1/customers/search",
        "has_more": False,
        "next_page": None,
        "total_count": 1,
        "data": [client.v1.customers.retrieve(ada).to_dict()],
    }
    answer = http.get("/v1/customers/search", params={"query": 'name:"ada"'}).json()
    assert "total_count" not in answer


def test_pages_are_followed(client: stripe.StripeClient) -> None:
    ids = [make(client, name=f"Ada {number}") for number in range(5)][::-1]
    page = client.v1.customers.search({"query": 'name~"ada"', "limit": 2})
    assert (len(page.data), page.has_more) == (2, True)
    assert [one.id for one in page.auto_paging_iter()] == ids


def test_lists_are_expanded(client: stripe.StripeClient) -> None:
    ada = make(client, name="Ada")
    (one,) = client.v1.customers.search(
        {"query": 'name:"ada"', "expand": ["data.subscriptions"]}
    ).data
    assert one.to_dict()["subscriptions"]["url"] == f"/v1/customers/{ada}/subscriptions"


def test_accounts_do_not_find_each_others_customers(server: Any, client: Any) -> None:
    make(client, name="Ada")
    other = {"stripe_account": new_account(server)}
    assert client.v1.customers.search({"query": 'name:"ada"'}, other).data == []


def test_what_a_sign_up_asks(client: stripe.StripeClient) -> None:
    """The Stripe plugin of better-auth looks for a person, whatever the address has in it."""
    email = 'o"neil\\@example.com'
    person = make(client, email=email.upper(), metadata={"customerType": "user"})
    make(client, email=email, metadata={"customerType": "organization", "organizationId": "org_1"})
    escaped = email.replace("\\", "\\\\").replace('"', '\\"')
    query = f'email:"{escaped}" AND -metadata["customerType"]:"organization"'
    assert found(client, query) == [person]
    query = 'metadata["organizationId"]:"org_1" AND metadata["customerType"]:"organization"'
    assert len(found(client, query)) == 1


@pytest.mark.parametrize(
    ("params", "message", "param"),
    [
        ({}, "Missing required param: query.", "query"),
        (
            {"query": "asdf"},
            (
                "We were unable to parse your search query. Try using the format "
                '`metadata["key"]:"value"` to query for metadata or key:"value" to query for '
                "other fields."
            ),
            "query",
        ),
        (
            {"query": 'foo:"bar"'},
            (
                "Field `foo` is an unsupported search field for resource `customers`. See "
                "http://stripe.com/docs/search#query-fields-for-customers for a list of supported "
                "fields."
            ),
            "query",
        ),
        ({"query": "name:1", "limit": "101"}, "Invalid integer: this value must be less", "limit"),
        ({"query": "name:1", "page": "é"}, "Invalid page: é; must be the next_page of", "page"),
        ({"query": "name:1", "page": "AA=="}, "Invalid page: AA==; must be the next_page", "page"),
        ({"query": "name:1", "page": "eA=="}, "Invalid page: eA==; must be the next_page", "page"),
        ({"query": "name:1", "expand[]": "data.x"}, "This property cannot be expanded", None),
    ],
)
def test_what_is_refused(
    http: httpx.Client, params: dict[str, str], message: str, param: str | None
) -> None:
    error = error_of(http.get("/v1/customers/search", params=params), 400)
    assert error["message"].startswith(message)
    assert error.get("param") == param
