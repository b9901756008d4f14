"""Parameters as typed structs: a class says what an endpoint takes, `read_params` reads it.

```python
class MeterCreate(RequestParams):
    display_name: Annotated[str, Length(250)]                  # required
    default_aggregation: DefaultAggregation                    # a hash: another Params class
    event_time_window: Literal["day", "hour"] | None = None    # absent gives None
    metadata: Metadata | UnsetType | None = UNSET              # absent: UNSET; empty: None
```

What a reader may rely on:

- A field without a default is required.
- An empty string unsets a parameter whose type has both `None` and `UnsetType`: it reads as None.
  For every other parameter an empty string is refused, so no string that was read is empty. Only
  the values of a map may be.
- Types are str, int, bool, Literal of strings, lists, `dict[str, str]`, `dict[str, list[str]]`
  (each value of which may be sent as a list or as a string), `dict[str, …]` of a `Params` class,
  `TimeRange`, `Unsupported`, `Forgotten` and other `Params` classes; the markers below bound them.
- Whatever does not fit is refused in Stripe's words (`wire.param_errors`), naming the parameter
  as the sender spells it; nothing raises but a `Refusal`.
"""

import re
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache, partial
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import UnsetType

from meterhouse.errors import Refusal
from meterhouse.limits import (
    METADATA_KEY_CHARS_MAX,
    METADATA_KEYS_MAX,
    METADATA_VALUE_CHARS_MAX,
    REQUEST_KEY_CHARS_MAX,
    REQUEST_LIST_ITEMS_MAX,
    REQUEST_STRING_CHARS_MAX,
    REQUEST_TIMESTAMP_SECONDS_MAX,
)
from meterhouse.wire import param_errors
from meterhouse.wire.form import Form, FormValue


class Length(NamedTuple):
    """Marks a string of at most `chars_max` characters."""

    chars_max: int


class Between(NamedTuple):
    """Marks a whole number from `least` to `most`."""

    least: int
    most: int


class Items(NamedTuple):
    """Marks a list of at most `items_max`; strings in it have at most `chars_max` characters."""

    items_max: int
    chars_max: int = REQUEST_STRING_CHARS_MAX


class Keys(NamedTuple):
    """Marks a map and bounds its keys and values. `metadata` chooses the words of its errors."""

    keys_max: int
    key_chars_max: int
    value_chars_max: int
    metadata: bool = False


_WHOLE = re.compile(r"-?[0-9]{1,19}")
_INDEX = re.compile(r"[0-9]{1,9}")

Timestamp = Annotated[int, Between(0, REQUEST_TIMESTAMP_SECONDS_MAX)]  # unix seconds
Metadata = Annotated[
    dict[str, str],
    Keys(METADATA_KEYS_MAX, METADATA_KEY_CHARS_MAX, METADATA_VALUE_CHARS_MAX, metadata=True),
]


class Params(msgspec.Struct, kw_only=True):
    """The base of every hash of parameters."""


class RequestParams(Params, kw_only=True):
    """The base of the parameters of a request: each may ask to expand parts of its answer."""

    expand: list[str] = []


class Typed(Params, kw_only=True):
    """The base of a hash that may be sent as the text of its member `type`, as it once was."""


class Unsupported:
    """What Stripe takes and this server does not: refused, wherever it is sent."""


class Forgotten:
    """What is taken in whatever shape it is sent, and reads as None."""


class TimeRange(Params, kw_only=True):
    """A filter of instants in unix seconds, sent as one instant or as a hash of bounds."""

    gt: Timestamp | None = None
    gte: Timestamp | None = None
    lt: Timestamp | None = None
    lte: Timestamp | None = None

    def window(self) -> tuple[int | None, int | None]:
        """Return the half-open window of milliseconds that the range stands for.

        A bound of None is open. Every millisecond belongs to its second: `lte=7` includes 7,999 ms.
        """
        starts = [self.gte, None if self.gt is None else self.gt + 1]
        ends = [self.lt, None if self.lte is None else self.lte + 1]
        start = max((second * 1000 for second in starts if second is not None), default=None)
        end = min((second * 1000 for second in ends if second is not None), default=None)
        return start, end


ParamsT = TypeVar("ParamsT", bound=Params)
Reader = Callable[[str, FormValue], Any]


def read_params(cls: type[ParamsT], tree: Form) -> ParamsT:
    """Return the parameters of `tree` as a `cls`; refuse what does not fit its fields."""
    params: ParamsT = _compiled(cls).read("", tree)
    return params


def read_timestamp(name: str, text: str) -> int:
    """Return the unix seconds that a parameter tells which may also be a word."""
    seconds: int = _read_instant(name, text)
    return seconds


class _Compiled:
    """A class of parameters, made ready to read: a reader for each name."""

    def __init__(self, cls: type[Params]) -> None:
        fields = msgspec.structs.fields(cls)
        self._cls = cls
        self._typed = issubclass(cls, Typed)
        self._readers = {field.name: _reader(field.type) for field in fields}
        self._unsettable = frozenset(field.name for field in fields if _is_unsettable(field.type))
        self._required = {field.name: None for field in fields if field.required}.keys()

    def read(self, parent: str, tree: FormValue) -> Any:
        """Return the hash `tree`, which the sender names `parent`, as a struct."""
        if self._typed and isinstance(tree, str):
            tree = {"type": tree}
        if not isinstance(tree, dict):
            raise param_errors.invalid_object(parent)
        values: dict[str, Any] = {}
        for key, value in tree.items():
            reader = self._readers.get(key)
            if reader is None:
                raise self._unknown(parent, tree)
            name = f"{parent}[{key}]" if parent else key
            if value:
                values[key] = reader(name, value)
            elif key in self._unsettable:
                values[key] = None
            else:
                raise param_errors.invalid_empty(name)
        if not self._required <= values.keys():
            missing = next(key for key in self._required if key not in values)
            raise param_errors.missing_param(_inside(parent, missing))
        return self._cls(**values)

    def _unknown(self, parent: str, tree: Form) -> Refusal:
        unknown = [key for key in tree if key not in self._readers]
        close = get_close_matches(unknown[0], self._readers, n=1)
        return param_errors.unknown_params(
            [_inside(parent, key) for key in unknown],
            _inside(parent, close[0]) if close else None,
        )


@cache
def _compiled(cls: type[Params]) -> _Compiled:
    return _Compiled(cls)


def _inside(parent: str, key: str) -> str:
    return f"{parent}[{key}]" if parent else key


def _is_unsettable(annotation: Any) -> bool:
    return {NoneType, UnsetType} <= set(get_args(annotation))


def _reader(annotation: Any, marker: Any = None) -> Reader:
    """Return the reader for values of `annotation`, bounded by the `marker` around it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _reader(arguments[0], arguments[1])
    if origin in (Union, UnionType):
        (only,) = (part for part in arguments if part not in (NoneType, UnsetType))
        return _reader(only)
    if origin is Literal:
        return _choice_reader(arguments)
    if origin is list and arguments != (str,):
        return _list_reader(marker or Items(REQUEST_LIST_ITEMS_MAX), _reader(arguments[0]))
    kind = _KINDS.get(annotation)
    if origin is dict and kind is None:
        kind = partial(_hashes_reader, _reader(arguments[1])), _KEYS
    if kind is None:
        return _READERS.get(annotation) or _compiled(annotation).read
    make, bounds = kind
    return make(marker or bounds)


def _refuse(name: str, value: FormValue) -> None:
    del value
    raise param_errors.not_supported(name)


def _forget(name: str, value: FormValue) -> None:
    del name, value


def _string_reader(length: Length) -> Reader:
    chars_max = length.chars_max

    def read(name: str, value: FormValue) -> str:
        if not isinstance(value, str):
            raise param_errors.invalid_string(name, value)
        if len(value) > chars_max:
            raise param_errors.string_too_long(name, value, chars_max)
        return value

    return read


def _whole_reader(bounds: Between) -> Reader:
    least, most = bounds

    def read(name: str, value: FormValue) -> int:
        if not isinstance(value, str) or not _WHOLE.fullmatch(value):
            raise param_errors.invalid_integer(name, value)
        number = int(value)
        if not least <= number <= most:
            raise param_errors.integer_out_of_range(name, least, most, number)
        return number

    return read


def _choice_reader(choices: tuple[str, ...]) -> Reader:
    def read(name: str, value: FormValue) -> str:
        if not isinstance(value, str) or value not in choices:
            raise param_errors.invalid_choice(name, choices)
        return value

    return read


def _boolean_reader(words: dict[str, bool]) -> Reader:
    def read(name: str, value: FormValue) -> bool:
        if not isinstance(value, str) or value not in words:
            raise param_errors.invalid_boolean(name, value)
        return words[value]

    return read


def _list_reader(bounds: Items, read_item: Reader | None = None) -> Reader:
    read_item = read_item or _string_reader(Length(bounds.chars_max))

    def read(name: str, value: FormValue) -> list[Any]:
        items = _items(name, value)
        if len(items) > bounds.items_max:
            raise param_errors.too_many_items(name, bounds.items_max)
        if "" in items:
            raise param_errors.invalid_empty(f"{name}[{items.index('')}]")
        return [read_item(f"{name}[{index}]", item) for index, item in enumerate(items)]

    return read


def _items(name: str, value: FormValue) -> list[Any]:
    """Return the items of a list, which is sent as `a[]=x` or with indexes as `a[0]=x`."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and all(_INDEX.fullmatch(index) for index in value):
        return [value[index] for index in sorted(value, key=int)]
    raise param_errors.invalid_array(name)


def _map_reader(bounds: Keys) -> Reader:
    if bounds.metadata:
        return _metadata_reader(bounds)
    keys_max, key_chars_max, value_chars_max, _ = bounds

    def read(name: str, value: FormValue) -> dict[str, str]:
        if not isinstance(value, dict):
            raise param_errors.invalid_object(name)
        if len(value) > keys_max:
            raise param_errors.too_many_items(name, keys_max)
        for key, text in value.items():
            if len(key) > key_chars_max:
                raise param_errors.string_too_long(name, key, key_chars_max)
            if not isinstance(text, str):
                raise param_errors.invalid_string(f"{name}[{key}]", text)
            if len(text) > value_chars_max:
                raise param_errors.string_too_long(f"{name}[{key}]", text, value_chars_max)
        return value  # type: ignore[return-value]  # each value was seen to be a string

    return read


def _hashes_reader(read_value: Reader, bounds: Keys) -> Reader:
    def read(name: str, value: FormValue) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise param_errors.invalid_object(name)
        if len(value) > bounds.keys_max:
            raise param_errors.too_many_items(name, bounds.keys_max)
        for key in value:
            if len(key) > bounds.key_chars_max:
                raise param_errors.string_too_long(name, key, bounds.key_chars_max)
        return {key: read_value(f"{name}[{key}]", one) for key, one in value.items()}

    return read


def _lists_reader(bounds: Keys) -> Reader:
    read_list = _list_reader(Items(REQUEST_LIST_ITEMS_MAX, bounds.value_chars_max))

    def read(name: str, value: FormValue) -> dict[str, list[str]]:
        if not isinstance(value, dict):
            raise param_errors.invalid_object(name)
        if len(value) > bounds.keys_max:
            raise param_errors.too_many_items(name, bounds.keys_max)
        lists: dict[str, list[str]] = {}
        for key, some in value.items():
            if len(key) > bounds.key_chars_max:
                raise param_errors.string_too_long(name, key, bounds.key_chars_max)
            lists[key] = read_list(f"{name}[{key}]", [some] if isinstance(some, str) else some)
        return lists

    return read


def _metadata_reader(bounds: Keys) -> Reader:
    def read(name: str, value: FormValue) -> dict[str, str]:
        if not isinstance(value, dict):
            raise param_errors.invalid_object(name)
        metadata = {key: _metadata_value(name, key, text, bounds) for key, text in value.items()}
        kept = sum(1 for text in metadata.values() if text)
        if kept > bounds.keys_max:
            raise param_errors.too_many_metadata_keys(name, kept, bounds.keys_max)
        return metadata

    return read


def _metadata_value(name: str, key: str, text: FormValue, bounds: Keys) -> str:
    if len(key) > bounds.key_chars_max:
        raise param_errors.metadata_key_too_long(name, key, bounds.key_chars_max)
    if not isinstance(text, str):
        raise param_errors.invalid_string(f"{name}[{key}]", text)
    if len(text) > bounds.value_chars_max:
        raise param_errors.metadata_value_too_long(name, text, bounds.value_chars_max)
    return text


def _read_time_range(name: str, value: FormValue) -> TimeRange:
    if isinstance(value, str):
        instant = _read_instant(name, value)
        return TimeRange(gte=instant, lte=instant)
    bounds: TimeRange = _compiled(TimeRange).read(name, value)
    return bounds


_KEYS = Keys(REQUEST_LIST_ITEMS_MAX, REQUEST_KEY_CHARS_MAX, REQUEST_STRING_CHARS_MAX)

# Python's SDK spelled them in capitals until 12.
_BOOLEANS = {"true": True, "false": False, "True": True, "False": False}

# What reads each kind of type, and the bounds of a field that has no marker of its own.
_KINDS: dict[Any, tuple[Callable[[Any], Reader], Any]] = {
    str: (_string_reader, Length(REQUEST_STRING_CHARS_MAX)),
    int: (_whole_reader, Between(-(2**63), 2**63 - 1)),
    bool: (_boolean_reader, _BOOLEANS),
    list[str]: (_list_reader, Items(REQUEST_LIST_ITEMS_MAX)),
    dict[str, str]: (_map_reader, _KEYS),
    dict[str, list[str]]: (_lists_reader, _KEYS),
}
_READERS: dict[Any, Reader] = {
    Forgotten: _forget,
    TimeRange: _read_time_range,
    Unsupported: _refuse,
}
_read_instant = _reader(Timestamp)
