"""`/v1/customers/search` (https://docs.stripe.com/api/customers/search)."""

from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.v1.customers import EXPANDABLE_IN_LIST, shown
from meterhouse.ledger.customer_search import FIELDS, search_customers
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import SearchParams, search_object
from meterhouse.wire.param_errors import bad_search_page
from meterhouse.wire.search import read_search

_TOTAL = "total_count"


async def search(call: Call) -> Answer:
    """Search customers, newest first; a deleted one is not found."""
    params = call.params(SearchParams)
    check_expand(params.expand, EXPANDABLE_IN_LIST | {_TOTAL})
    wanted = read_search(params.query, "customers", FIELDS)
    count = _TOTAL in params.expand
    found = await call.read(search_customers, call.scope.id, wanted, params.cut(), count=count)
    if found is None:
        raise bad_search_page(params.page or "")
    data = await call.read(shown, call, found.customers, params.expand)
    return ok(search_object(call.path, data, has_more=found.has_more, total=found.total))
