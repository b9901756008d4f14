"""`/v1/account` and `/v1/accounts` (https://docs.stripe.com/api/accounts).

Accounts are made by the operator; here they are shown: the sender's own, and those connected to it.
"""

from meterhouse.api.call import Answer, Call, ok
from meterhouse.ledger import accounts
from meterhouse.render.account import render_account
from meterhouse.wire import envelope
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import RequestParams, TimeRange


class AccountList(PageParams):
    """The parameters of the list."""

    created: TimeRange | None = None


async def current(call: Call) -> Answer:
    """Show the account that the key, or the header `Stripe-Account`, stands for."""
    return await _show(call, call.scope.account)


async def retrieve(call: Call) -> Answer:
    """Show an account: the sender's own or one that is connected to it."""
    return await _show(call, call.ids[0])


async def list_(call: Call) -> Answer:
    """List the accounts that are connected to the sender's own, newest first."""
    params = call.params(AccountList)
    check_expand(params.expand)
    created = params.created.window() if params.created else (None, None)
    page = await call.read(accounts.connected_accounts, call.scope.account, params, created)
    if page is None:
        raise envelope.no_such("account", params.cursor, params.cursor_param)
    found, has_more = page
    return ok(list_object(call.path, [render_account(one) for one in found], has_more))


async def _show(call: Call, account_id: str) -> Answer:
    check_expand(call.params(RequestParams).expand)
    account = await call.read(accounts.find_account, account_id)
    if account is None or call.scope.account not in (account.id, account.platform):
        raise envelope.account_denied(call.credential.hint, account_id)
    return ok(render_account(account))
