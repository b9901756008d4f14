"""`/meterhouse/v1/audit_log`: who changed what, when, and from where."""

from typing import Annotated, Any

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.ledger import audit
from meterhouse.ledger.audit import Entry, Filter
from meterhouse.render.instant import seconds
from meterhouse.wire import envelope
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import Length, TimeRange

Text = Annotated[str, Length(limits.AUDIT_FILTER_CHARS_MAX)]


class AuditLogList(PageParams):
    """The parameters of the list; an `action` may end in `*`.

    `actor` is an id or a name. With `installation` the entries that belong to no account are among
    them, which only the operator may ask for.
    """

    action: Text | None = None
    actor: Text | None = None
    created: TimeRange | None = None
    installation: bool = False
    object_id: Text | None = None


async def list_(call: Call) -> Answer:
    """List entries, newest first."""
    params = call.params(AuditLogList)
    check_expand(params.expand)
    if params.installation and call.credential.key is not None:
        raise envelope.operator_only()
    wanted = Filter(
        action=params.action,
        actor=params.actor,
        object_id=params.object_id,
        created=params.created.window() if params.created else (None, None),
    )
    page = await call.read(
        audit.list_entries, call.scope.id, params, wanted, installation=params.installation
    )
    if page is None:
        raise envelope.no_such("audit entry", params.cursor, params.cursor_param)
    found, has_more = page
    return ok(list_object(call.path, [_shown(entry) for entry in found], has_more))


def _shown(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "object": "meterhouse.audit_entry",
        "account": entry.account,
        "action": entry.action,
        "actor": {"id": entry.actor_id, "name": entry.actor_name, "type": entry.actor_type},
        "changes": entry.changes,
        "created": seconds(entry.created),
        "ip_address": entry.address or None,
        "livemode": entry.livemode,
        "object_id": entry.object_id,
        "request": entry.request_id,
    }
