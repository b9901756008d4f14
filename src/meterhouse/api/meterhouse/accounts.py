"""`/meterhouse/v1/accounts`: the accounts of this installation, for its operator alone."""

from typing import Any

from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.render import seconds
from meterhouse.ledger import accounts
from meterhouse.ledger.accounts import Account
from meterhouse.wire import envelope
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import PageParams, list_object


async def list_(call: Call) -> Answer:
    """List accounts, newest first; the one without a platform is the default account."""
    params = call.params(PageParams)
    check_expand(params.expand)
    page = await call.read(accounts.page_of_accounts, params)
    if page is None:
        raise envelope.no_such("account", params.cursor, params.cursor_param)
    found, has_more = page
    return ok(list_object(call.path, [_document(account) for account in found], has_more))


def _document(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "object": "meterhouse.account",
        "created": seconds(account.created),
        "name": account.name,
        "platform": account.platform,
    }
