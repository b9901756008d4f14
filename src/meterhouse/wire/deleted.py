"""What is shown, and kept, of an object that was deleted."""

from typing import Any


def deleted(id_: str, type_: str) -> dict[str, Any]:
    """Return a deleted object as API v1 shows it, such as `deleted("cus_1", "customer")`."""
    return {"id": id_, "object": type_, "deleted": True}
