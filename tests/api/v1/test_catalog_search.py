import httpx
import pytest
import stripe


@pytest.fixture
def products(client: stripe.StripeClient) -> list[str]:
    tokens = client.v1.products.create({"name": "Fast Tokens", "metadata": {"Plan": "Gold"}}).id
    seats = client.v1.products.create({"name": "Seats", "description": "d", "active": False}).id
    return [tokens, seats]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('name:"fast tokens"', [0]),
        ('name~"tok"', [0]),
        ('-name~"tok"', [1]),
        ("active:'false'", [1]),
        ('metadata["Plan"]:"gold"', [0]),
        ('-metadata["Plan"]:null', [0]),
        ("description:null", [0]),
        ('active:"true" OR description:"d"', [1, 0]),
        ('active:"true" AND description:"d"', []),
    ],
)
def test_products(http: httpx.Client, products: list[str], query: str, found: list[int]) -> None:
    answer = http.get("/v1/products/search", params={"query": query}).json()
    assert [one["id"] for one in answer["data"]] == [products[number] for number in found]
    assert answer["object"] == "search_result"
    assert (answer["has_more"], answer["next_page"]) == (False, None)


def test_prices_page_by_page(client: stripe.StripeClient, products: list[str]) -> None:
    made = [
        client.v1.prices.create(
            {"currency": "usd", "product": products[0], "unit_amount": number, "lookup_key": key}
        ).id
        for number, key in enumerate(["a", "b", "other", "c"])
    ]
    query = f'product:"{products[0]}" AND type:"one_time" AND -lookup_key:"other"'
    first = client.v1.prices.search({"query": query, "limit": 2, "expand": ["total_count"]})
    assert [one.id for one in first.data] == [made[3], made[1]]
    assert (first.has_more, first.to_dict()["total_count"]) == (True, 3)
    assert first.next_page is not None
    second = client.v1.prices.search({"query": query, "limit": 2, "page": first.next_page})
    assert [one.id for one in second.data] == [made[0]]
    assert not second.has_more


def test_refusals(http: httpx.Client) -> None:
    for path, query in [
        ("products", 'email:"a"'),
        ("prices", 'nickname:"a"'),
        ("prices", 'active~"tru"'),
        ("prices", 'currency>"eur"'),
    ]:
        answer = http.get(f"/v1/{path}/search", params={"query": query})
        assert answer.status_code == 400
    page = http.get("/v1/prices/search", params={"query": 'currency:"usd"', "page": "x"})
    assert page.status_code == 400
