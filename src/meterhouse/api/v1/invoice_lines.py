"""The lines of an invoice: listed, and those of a draft added, changed and removed.

https://docs.stripe.com/api/invoice-line-item. A line that is added is an invoice item, too. What a
subscription owes stays as it is counted, but for what is written onto it.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, UnsetType

from meterhouse import limits
from meterhouse.api import invoice as common
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.invoice_item import ItemWrite, blank_item, check_item, line_of, tells_cost, told
from meterhouse.billing.invoice import Invoice, InvoiceItem, Line
from meterhouse.invoicing.bill import Stored
from meterhouse.ledger import invoice_items
from meterhouse.render.invoice import render_line
from meterhouse.wire import envelope, invoice_errors
from meterhouse.wire.expand import check_expand, expanded
from meterhouse.wire.ids import new_id
from meterhouse.wire.metadata import merge_metadata
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import Items, Metadata, Params, RequestParams

_EXPANDABLE = frozenset({"discounts", common.PRICE, "pretax_credit_amounts", "subscription"})
_EXPANDABLE_IN_LIST = frozenset(f"data.{name}" for name in _EXPANDABLE)


class AddedLine(ItemWrite):
    """A line to add: an item that waits, or a new one."""

    invoice_item: str | None = None


class ChangedLine(ItemWrite, kw_only=True):
    """A line to change."""

    id: str


class RemovedLine(Params):
    """A line to take off; its item goes, or waits again."""

    behavior: Literal["delete", "unassign"]
    id: str


class AddLines(RequestParams):
    """The parameters that add lines."""

    lines: Annotated[list[AddedLine], Items(limits.INVOICE_LINES_ITEMS_MAX)]
    invoice_metadata: Metadata | UnsetType | None = UNSET


class UpdateLines(RequestParams):
    """The parameters that change lines."""

    lines: Annotated[list[ChangedLine], Items(limits.INVOICE_LINES_ITEMS_MAX)]
    invoice_metadata: Metadata | UnsetType | None = UNSET


class RemoveLines(RequestParams):
    """The parameters that remove lines."""

    lines: Annotated[list[RemovedLine], Items(limits.INVOICE_LINES_ITEMS_MAX)]
    invoice_metadata: Metadata | UnsetType | None = UNSET


async def list_(call: Call) -> Answer:
    """List the lines of an invoice, in their order."""
    params = call.params(PageParams)
    check_expand(params.expand, _EXPANDABLE_IN_LIST)
    found = await common.find(call, "invoice")
    lines, has_more = _page(found.lines, params)

    def work(connection: sa.Connection) -> Answer:
        shown = _documents(connection, call, found.invoice, lines, params.expand)
        return ok(list_object(call.path, shown, has_more))

    return await call.read(work)


async def add(call: Call) -> Answer:
    """Add lines to a draft, behind those that it has."""
    params = call.params(AddLines)
    check_expand(params.expand, common.EXPANDABLE)
    for one in params.lines:
        check_item(one)

    def work(connection: sa.Connection, before: Stored, now: int) -> Stored:
        metadata = _writable(before, params.invoice_metadata)
        added = [
            _added(connection, call, before.invoice, one, number, now)
            for number, one in enumerate(params.lines)
        ]
        lines = [*before.lines, *added]
        return common.relined(connection, call, before, lines, before.segments, metadata)

    return await common.change(call, work, params.expand, param="invoice")


async def update(call: Call) -> Answer:
    """Change lines of a draft."""
    params = call.params(UpdateLines)
    check_expand(params.expand, common.EXPANDABLE)
    for one in params.lines:
        check_item(one)

    def work(connection: sa.Connection, before: Stored, _: int) -> Stored:
        metadata = _writable(before, params.invoice_metadata)
        lines = list(before.lines)
        for number, one in enumerate(params.lines):
            place = _place(lines, one.id, f"lines[{number}][id]")
            lines[place] = _changed(connection, call, lines[place], one)
        return common.relined(connection, call, before, lines, before.segments, metadata)

    return await common.change(call, work, params.expand)


async def remove(call: Call) -> Answer:
    """Take lines off a draft."""
    params = call.params(RemoveLines)
    check_expand(params.expand, common.EXPANDABLE)

    def work(connection: sa.Connection, before: Stored, _: int) -> Stored:
        metadata = _writable(before, params.invoice_metadata)
        lines, segments = list(before.lines), list(before.segments)
        for number, one in enumerate(params.lines):
            line = lines[_place(lines, one.id, f"lines[{number}][id]")]
            item = _item(connection, call, line)
            if item is None:
                raise invoice_errors.line_of_subscription(f"lines[{number}][id]")
            lines = [other for other in lines if other.invoice_item != item.id]
            segments = [other for other in segments if other.invoice_item != item.id]
            if one.behavior == "delete":
                invoice_items.delete_item(connection, item.id)
            else:
                waiting = msgspec.structs.replace(item, invoice=None)
                invoice_items.update_item(connection, waiting)
        return common.relined(connection, call, before, lines, segments, metadata)

    return await common.change(call, work, params.expand)


async def update_one(call: Call) -> Answer:
    """Change a line of a draft, and show it."""
    params = call.params(ItemWrite)
    check_expand(params.expand, _EXPANDABLE)
    check_item(params)

    def work(connection: sa.Connection, before: Stored, _: int) -> Answer:
        _writable(before, UNSET)
        lines = list(before.lines)
        place = _place(lines, call.ids[1], "line_item_id")
        lines[place] = _changed(connection, call, lines[place], params)
        after = common.relined(connection, call, before, lines, before.segments)
        changed = [lines[place]]
        return ok(_documents(connection, call, after.invoice, changed, params.expand)[0])

    return await common.locked(call, work)


def _writable(before: Stored, metadata: dict[str, str] | UnsetType | None) -> dict[str, str]:
    """Return what is written onto a draft whose lines change; refuse any other invoice."""
    if before.invoice.status != "draft":
        raise invoice_errors.not_updatable("lines")
    return merge_metadata(before.invoice.metadata, metadata)


def _added(
    connection: sa.Connection,
    call: Call,
    invoice: Invoice,
    params: AddedLine,
    number: int,
    now: int,
) -> Line:
    if params.invoice_item is not None:
        item = _waiting(connection, call, invoice, params.invoice_item, number)
        item = told(connection, call, item, params)
        invoice_items.update_item(connection, item)
    else:
        if not tells_cost(params):
            raise invoice_errors.no_amount_of_item()
        item = told(connection, call, _new_item(invoice, now), params)
        invoice_items.create_item(connection, item)
    return line_of(connection, item, new_id("il"))


def _waiting(
    connection: sa.Connection, call: Call, invoice: Invoice, item_id: str, number: int
) -> InvoiceItem:
    """Return a pending item that becomes the invoice's own."""
    param = f"lines[{number}][invoice_item]"
    item = invoice_items.find_item(connection, call.scope.id, item_id, lock=True)
    if item is None or item.invoice is not None:
        raise envelope.no_such("invoiceitem", item_id, param)
    if item.customer != invoice.customer:
        raise invoice_errors.invoice_of_other(param)
    if item.currency != invoice.currency:
        raise invoice_errors.other_currency(item.currency, invoice.currency, param)
    if item.usage_in is not None:
        raise invoice_errors.counted_from_usage(param)
    return msgspec.structs.replace(item, invoice=invoice.id)


def _new_item(invoice: Invoice, now: int) -> InvoiceItem:
    item = blank_item(invoice.scope, invoice.customer, invoice.test_clock, invoice.currency, now)
    return msgspec.structs.replace(item, invoice=invoice.id)


def _changed(connection: sa.Connection, call: Call, line: Line, params: ItemWrite) -> Line:
    """Return what becomes of a line, and of the item that it is."""
    item = _item(connection, call, line)
    if item is not None and line.segment is None:
        item = told(connection, call, item, params)
        invoice_items.update_item(connection, item)
        return line_of(connection, item, line.id)
    for field in msgspec.structs.fields(ItemWrite):
        given = getattr(params, field.name)
        if field.name not in ("expand", "metadata") and given not in (None, UNSET):
            raise invoice_errors.line_of_subscription(field.name)
    return msgspec.structs.replace(line, metadata=merge_metadata(line.metadata, params.metadata))


def _item(connection: sa.Connection, call: Call, line: Line) -> InvoiceItem | None:
    if line.invoice_item is None:
        return None
    return invoice_items.find_item(connection, call.scope.id, line.invoice_item, lock=True)


def _place(lines: Sequence[Line], line_id: str, param: str) -> int:
    for place, line in enumerate(lines):
        if line.id == line_id:
            return place
    raise invoice_errors.no_such_line(line_id, param)


def _page(lines: Sequence[Line], params: PageParams) -> tuple[list[Line], bool]:
    """Cut a page out of lines that are all there; refuse a cursor that is none of them."""
    limit, cursor = params.limit, params.cursor
    if not cursor:
        return list(lines[:limit]), len(lines) > limit
    places = [place for place, line in enumerate(lines) if line.id == cursor]
    if not places:
        raise invoice_errors.no_such_line(cursor, params.cursor_param)
    (place,) = places
    if params.ending_before is not None:
        return list(lines[max(place - limit, 0) : place]), place > limit
    rest = lines[place + 1 :]
    return list(rest[:limit]), len(rest) > limit


def _documents(
    connection: sa.Connection,
    call: Call,
    invoice: Invoice,
    lines: Sequence[Line],
    expand: Iterable[str],
) -> list[dict[str, Any]]:
    known = common.prices_shown(connection, call, {line.price for line in lines if line.price})
    documents = [
        render_line(line, invoice, livemode=call.scope.livemode, version=call.version, prices=known)
        for line in lines
    ]
    paths = [path.removeprefix("data.") for path in expand]
    common.expand_members(connection, call, documents, expanded(paths))
    common.expand_credits(connection, call, documents, paths, "pretax_credit_amounts")
    common.expand_prices(connection, call, documents, paths)
    return documents
