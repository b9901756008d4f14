import re

from meterhouse.api.routes import ROUTES, Routes
from meterhouse.wire.credentials import PERMISSION_RESOURCES

ROWS = Routes(ROUTES)
# What only asks, by POST because it has too many parameters for a query string.
_ONLY_ASKED = ("/v1/invoices/create_preview", "/meterhouse/v1/what_if")


def test_every_row_is_found_by_its_own_path() -> None:
    for row in ROUTES:
        path, variables = re.subn(r"\{\w+\}", "some_id", row.path)
        found, ids = ROWS.find(row.method, path)
        assert found is row
        assert ids == ("some_id",) * variables


def test_every_row_that_needs_a_key_names_a_resource_that_a_key_can_be_permitted() -> None:
    for row in ROUTES:
        keyless = row.open is not None or row.operator_only
        assert keyless == (row.resource not in PERMISSION_RESOURCES)
        only_reads = row.method == "GET" or row.open or row.path in _ONLY_ASKED
        assert row.access == ("read" if only_reads else "write")


def test_head_is_found_where_get_is_and_nowhere_else() -> None:
    for row in ROUTES:
        path = row.path.replace("{id}", "some_id")
        assert ROWS.find("HEAD", path) == ROWS.find("GET", path)


def test_a_slash_that_is_encoded_is_part_of_an_id() -> None:
    row, ids = ROWS.find("GET", "/v1/customers/a/b", "/v1/customers/a%2Fb")
    assert row is not None
    assert ids == ("a/b",)
    assert ROWS.find("GET", "/v1/customers/%", "/v1/customers/%25")[1] == ("%",)


def test_an_exact_path_is_no_id() -> None:
    row, ids = ROWS.find("GET", "/v1/customers/search")
    assert row is not None
    assert (row.path, ids) == ("/v1/customers/search", ())


def test_what_is_not_there() -> None:
    for method, path in (
        ("GET", ""),
        ("GET", "/v1/customers/"),
        ("GET", "//v1/customers"),
        ("GET", "/v1/customers/a/b"),
        ("get", "/v1/customers"),
        ("HEAD", "/v1/billing/meter_events"),
        ("head", "/v1/customers"),
        ("GET", "/v1/billing/meters//event_summaries"),
        ("POST", "/v1/billing/meters/a/delete"),
    ):
        assert ROWS.find(method, path) == (None, ())
