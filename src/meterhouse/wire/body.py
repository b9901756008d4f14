"""JSON bodies of answers.

Numbers of usage never pass through a float: an exact decimal is either a string (v2, where Stripe
spells decimals as strings) or a number token made with `number` (v1, where Stripe spells them as
JSON numbers).
"""

from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder(decimal_format="string")


def to_json(document: Any) -> bytes:
    """Return `document` (dicts, lists, strings, integers, booleans, None, tokens) as JSON."""
    return _ENCODER.encode(document)


def number(text: str) -> msgspec.Raw:
    """Return a JSON number token that prints exactly as `text`, such as "25" or "0.1".

    `text` must be a number in JSON's notation; `metering.value.print_value` writes it so.
    """
    return msgspec.Raw(text.encode("ascii"))
