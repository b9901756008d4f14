"""Refusals about invoices and invoice items, in Stripe's words where they are known.

https://docs.stripe.com/api/invoices. Where they are not, a plain sentence says what is the matter.
"""

from meterhouse.errors import Refusal
from meterhouse.wire.envelope import quote


def no_such_invoice(invoice: str, param: str = "id") -> Refusal:
    """Refuse an id in the path that no invoice has; Stripe calls the parameter in two ways."""
    return Refusal(
        f"No such invoice: '{quote(invoice)}'", status=404, code="resource_missing", param=param
    )


def no_such_item(item: str) -> Refusal:
    """Refuse an id in the path that no invoice item has."""
    return Refusal(
        f"No such invoiceitem: '{quote(item)}'", status=404, code="resource_missing", param="id"
    )


# ---- Statuses ----


def already_finalized() -> Refusal:
    """Refuse to finalize what is no draft."""
    return Refusal("This invoice is already finalized, you can't re-finalize a non-draft invoice.")


def not_open() -> Refusal:
    """Refuse what is done to open invoices alone."""
    return Refusal("You can only pass in open invoices. This invoice isn't open.")


def already_paid() -> Refusal:
    """Refuse to pay again."""
    return Refusal("Invoice is already paid")


def paid_not_voidable() -> Refusal:
    """Refuse to void what was paid."""
    return Refusal("Invoices with `paid` payments cannot be voided.")


def already_uncollectible() -> Refusal:
    """Refuse to write off again."""
    return Refusal("This invoice has already been marked uncollectible.")


def not_a_draft_to_delete() -> Refusal:
    """Refuse to delete what is finalized."""
    return Refusal("You can only delete draft invoices.")


def deleted_by_subscription() -> Refusal:
    """Refuse to delete what a subscription is billed with."""
    return Refusal("You can't delete invoices created by subscriptions.")


def not_updatable(param: str) -> Refusal:
    """Refuse a change of what a finalized invoice keeps."""
    return Refusal("Finalized invoices can't be updated in this way", param=param)


def not_sendable() -> Refusal:
    """Refuse to send what nobody has to pay any more."""
    return Refusal(
        "This invoice cannot be sent right now. Please contact us via "
        "https://support.stripe.com/contact with details, so we can help."
    )


def charged_not_sent() -> Refusal:
    """Refuse to send what is to be charged automatically."""
    return Refusal(
        "You can only manually send an invoice if its collection method is 'send_invoice'."
    )


def no_payment() -> Refusal:
    """Refuse to charge anybody."""
    return Refusal(
        "No money moves on this server, so nothing can be charged. If the invoice was paid "
        "elsewhere, pass `paid_out_of_band=true`.",
        param="paid_out_of_band",
    )


# ---- How it is collected ----


def no_due_date() -> Refusal:
    """Refuse an invoice that is sent and says nothing of when it is to be paid."""
    return Refusal(
        "If invoice collection method is 'send_invoice', you must specify 'days_until_due'."
    )


def due_date_of_charge(param: str) -> Refusal:
    """Refuse a day of payment of what is charged automatically."""
    return Refusal(
        f"You can only specify '{param}' if invoice collection method is 'send_invoice'.",
        param=param,
    )


def not_in_future(param: str) -> Refusal:
    """Refuse an instant that has gone by."""
    return Refusal(f"`{param}` must be in the future.", param=param)


def too_far_ahead(param: str) -> Refusal:
    """Refuse an instant that is too far ahead."""
    return Refusal(f"`{param}` must be within five years.", param=param)


def number_taken(number: str) -> Refusal:
    """Refuse a number that another invoice of the customer has."""
    return Refusal(
        f"An invoice of this customer already has the number '{quote(number)}'.", param="number"
    )


def no_customer() -> Refusal:
    """Refuse an invoice of nobody."""
    return Refusal("You must specify a `customer`.", code="parameter_missing", param="customer")


def not_of_customer(subscription: str, customer: str) -> Refusal:
    """Refuse a subscription of somebody else."""
    return Refusal(
        f"The subscription '{quote(subscription)}' does not belong to the customer "
        f"'{quote(customer)}'.",
        param="subscription",
    )


# ---- Items and lines ----


def no_amount_of_item() -> Refusal:
    """Refuse an item that costs nothing that could be known."""
    return Refusal("You must specify an `amount`, a `pricing[price]` or `price_data`.")


def amount_too_large() -> Refusal:
    """Refuse an item that comes to more than can be billed."""
    return Refusal("The amount, which is the unit amount times the quantity, is too large.")


def too_many_lines(lines_max: int) -> Refusal:
    """Refuse a line more than an invoice may be given."""
    return Refusal(f"An invoice can have up to {lines_max} lines.")


def too_many_pending(items_max: int) -> Refusal:
    """Refuse an item more than may wait for a customer's next invoice."""
    return Refusal(f"A customer can have up to {items_max} pending invoice items.")


def line_too_large() -> Refusal:
    """Refuse an invoice that nobody could be meant to pay."""
    return Refusal(
        "The amount of a line is greater than the maximum amount allowed.", code="amount_too_large"
    )


def recurring_price(param: str) -> Refusal:
    """Refuse to bill once what is billed again and again."""
    return Refusal(
        "The price specified is set to `type=recurring` but this field only accepts prices with "
        "`type=one_time`.",
        param=param,
    )


def inactive_price(param: str) -> Refusal:
    """Refuse an archived price."""
    return Refusal(
        "The price specified is inactive. This field only accepts active prices.", param=param
    )


def other_currency(currency: str, wanted: str, param: str = "currency") -> Refusal:
    """Refuse to put an amount on an invoice in another currency."""
    return Refusal(
        f"The currency of the invoice is `{quote(wanted)}`, and not `{quote(currency)}`.",
        param=param,
    )


def period_backwards() -> Refusal:
    """Refuse a period that ends before it begins."""
    return Refusal("The period must not end before it begins.", param="period[end]")


def item_on_finalized() -> Refusal:
    """Refuse to change an item whose invoice is finalized."""
    return Refusal("The invoice item is on an invoice that is not a draft any more.")


def invoice_not_draft(param: str) -> Refusal:
    """Refuse to put something onto an invoice that is finalized, or to take something from it."""
    return Refusal("The invoice is not a draft any more.", param=param)


def invoice_of_other(param: str) -> Refusal:
    """Refuse to put an item onto somebody else's invoice."""
    return Refusal("The invoice belongs to another customer.", param=param)


def counted_from_usage(param: str) -> Refusal:
    """Refuse to write an amount where it is counted from usage."""
    return Refusal(
        f"`{quote(param)}` cannot be set where the amount is counted from usage.", param=param
    )


def no_such_line(line: str, param: str) -> Refusal:
    """Refuse an id that no line of the invoice has."""
    return Refusal(
        f"No such invoice line item: '{quote(line)}'",
        status=404 if param == "line_item_id" else 400,
        code="resource_missing",
        param=param,
    )


def line_of_subscription(param: str) -> Refusal:
    """Refuse to take away what a subscription owes, or to write another amount for it."""
    return Refusal(
        "The line is owed by a subscription, so only its text can be changed.", param=param
    )
