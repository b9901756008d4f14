"""Every error that Meterhouse raises on purpose, in one tree.

```
MeterhouseError
├── ConfigError      a setting is wrong; the program does not start
├── ApiError         the dashboard's question to the API was refused
├── DisturbedError   what has to stand still does not, or not to the end
├── CrowdedError     somebody waits for more than one may
├── ExportError      an answer cannot be written as it is asked for
├── OutdatedError    what somebody has decided on is not so any more
├── StoreError       a store cannot be opened or does not answer
│   ├── InUseError   another Meterhouse has the data folder or the ledger
│   ├── OvertakenError  another Meterhouse has taken the ledger over
│   ├── SlowError    a question was given up on, because it took longer than it may
│   └── UnwrittenError  the usage store did not write all that it took
└── Refusal          a request is refused; `wire.envelope` spells it for the client
```

A refusal of *data* after it was acknowledged is not an error but a value: see
`metering.validation`.
"""

from collections.abc import Mapping
from types import MappingProxyType

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class MeterhouseError(Exception):
    """The root of the tree; its text tells what was wrong, where, and what to do."""


class ConfigError(MeterhouseError):
    """A setting has a value that cannot work."""


class DisturbedError(MeterhouseError):
    """Processing did not stand still, or went on before what needs it was finished."""


class CrowdedError(MeterhouseError):
    """Somebody waits for more of what all share than one may; later there may be room."""


class ExportError(MeterhouseError):
    """An answer has too many rows, or a value too many digits, for the file it is to be."""


class OutdatedError(MeterhouseError):
    """What somebody has decided on has changed meanwhile; they look, and decide, once more."""


class StoreError(MeterhouseError):
    """A store cannot be opened, is held by another process, or does not answer."""


class InUseError(StoreError):
    """Another Meterhouse has the data folder or the ledger, and one alone may."""


class OvertakenError(StoreError):
    """Another process has taken over the ledger, or a part of the work; nothing is written."""


class SlowError(StoreError):
    """A question took longer than whoever asked would wait; a narrower one may be answered."""


class UnwrittenError(StoreError):
    """The usage store did not write all that it took; what it has shows when it is opened anew."""


class Refusal(MeterhouseError):  # noqa: N818 - the design's word for a request that is turned down
    """A request is refused.

    `status` is the HTTP status, `type`, `code`, `message` and `param` are the members of Stripe's
    error object (https://docs.stripe.com/api/errors), `headers` are added to the answer. `v2_code`
    is the code in API v2 where v2 has one of its own.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",  # noqa: A002 - the wire's name
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
        v2_code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.headers = headers
        self.v2_code = v2_code
