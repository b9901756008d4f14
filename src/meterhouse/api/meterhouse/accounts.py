"""`/meterhouse/v1/accounts`: the accounts of this installation, for its operator alone."""

from typing import Any

from meterhouse.api.call import Answer, Call, ok
from meterhouse.ledger import accounts
from meterhouse.ledger.accounts import Account
from meterhouse.render.instant import seconds
from meterhouse.wire import envelope
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import RequestParams


async def list_(call: Call) -> Answer:
    """List accounts, newest first; the one without a platform is the default account."""
    params = call.params(PageParams)
    check_expand(params.expand)
    page = await call.read(accounts.page_of_accounts, params)
    if page is None:
        raise envelope.no_such("account", params.cursor, params.cursor_param)
    found, has_more = page
    return ok(list_object(call.path, [_document(account) for account in found], has_more))


async def retrieve(call: Call) -> Answer:
    """Tell of an account."""
    check_expand(call.params(RequestParams).expand)
    account = await call.read(accounts.find_account, call.ids[0])
    if account is None:
        raise envelope.no_such("account", call.ids[0])
    return ok(_document(account))


def _document(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "object": "meterhouse.account",
        "created": seconds(account.created),
        "name": account.name,
        "platform": account.platform,
    }
