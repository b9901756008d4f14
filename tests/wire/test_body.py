from decimal import Decimal

import pytest

from meterhouse.wire.body import number, to_json


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"a": 1, "b": None, "c": True, "d": ["x"]}, '{"a":1,"b":null,"c":true,"d":["x"]}'),
        ({"value": number("0.1")}, '{"value":0.1}'),
        ({"value": number("-123456789012345678901234567890.000000000000001")},
         '{"value":-123456789012345678901234567890.000000000000001}'),
        ({"value": Decimal("0.100")}, '{"value":"0.100"}'),
        ("\u00fc\U0001f600\n", '"\u00fc\U0001f600\\n"'),
    ],
)  # fmt: skip
def test_json(document: object, text: str) -> None:
    assert to_json(document) == text.encode()
