"""Secrets in a text, as a log may show them: masked, whatever stands around them.

Every secret that this program makes or takes begins with one of the prefixes below, by which it is
found in any text. What people may have chosen is masked whatever its length; what only we make,
where enough letters follow that it cannot be an ordinary name.
"""

import re

API_KEYS = ("sk_test_", "sk_live_", "rk_test_", "rk_live_")
SIGNING_SECRET = "whsec_"  # noqa: S105 - a prefix
LISTENER = "cliws_"  # the id of a session of the Stripe CLI lets whoever knows it listen
STREAM_SESSION = "token_"
EMBED_TOKEN = "embed_"  # noqa: S105 - a prefix
OPERATOR_TOKEN = "operator_"  # noqa: S105 - a prefix
DASHBOARD_SESSION = "signed_in_"
DASHBOARD_LINK = "link_"
KNOWN_BROWSER = "known_"
INVOICE_LINK = "view_"
FORM = "form_"  # what a change on the dashboard comes with

_OF_ANY_LENGTH = (*API_KEYS, SIGNING_SECRET, LISTENER)
_LONG = (
    STREAM_SESSION,
    EMBED_TOKEN,
    OPERATOR_TOKEN,
    DASHBOARD_SESSION,
    DASHBOARD_LINK,
    KNOWN_BROWSER,
    INVOICE_LINK,
    FORM,
)
_LONG_CHARS = 32
_HIDDEN = "****"
_SECRET = re.compile(
    rf"({'|'.join(_OF_ANY_LENGTH)})[\w-]+|({'|'.join(_LONG)})[\w-]{{{_LONG_CHARS},}}"
)


def masked(text: str) -> str:
    """Return `text` with nothing of its secrets but their prefixes."""
    return _SECRET.sub(lambda found: f"{found[1] or found[2]}{_HIDDEN}", text)
