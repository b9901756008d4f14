"""Sessions of the meter event stream: made for one account and mode, checked without a look-up."""

from meterhouse import limits
from meterhouse.api.authentication import Credential
from meterhouse.metering.model import Scope
from meterhouse.signing import Signing
from meterhouse.wire import envelope
from meterhouse.wire.credentials import Permissions, mask
from meterhouse.wire.envelope_v2 import session_expired
from meterhouse.wire.ids import new_id
from meterhouse.wire.session import Session, seal, unseal

_APART = limits.CLOCK_APART_MINUTES_MAX * 60_000
_LASTS = limits.SESSION_MINUTES * 60_000


class Sessions:
    """Makes and checks tokens; every node takes every node's, as long as they share a secret.

    Tokens that were found genuine are remembered, so that a busy sender costs one look-up in
    memory. That a session is over is found out each time; whether its key is good, the gate asks.
    """

    def __init__(self, signing: Signing) -> None:
        self._signing = signing
        self._key = b""  # by which the tokens below are genuine
        self._genuine: dict[str, tuple[int, Credential]] = {}

    def begin(self, scope: Scope, key: str | None, now: int) -> Session:
        """Return a new session of a key that sends events to `scope`."""
        return Session(
            new_id("mes", scope.livemode),
            scope.id,
            scope.account,
            scope.livemode,
            now + _LASTS,
            key,
        )

    async def seal(self, session: Session) -> str:
        """Return the token of a session."""
        return seal(session, (await self._signing.keys()).stream_sessions)

    async def credential(self, token: str, account: str, now: int) -> Credential:
        """Return what a token opens: sending events, to the scope that it was made for.

        Refuses with 401 a token that is not ours, with 400 one that is over, with 403 one that was
        made for another account than the `account` that is named.
        """
        key = (await self._signing.keys()).stream_sessions
        if key is not self._key:
            self._genuine.clear()
            self._key = key
        expires_at, credential = self._genuine.get(token) or self._unseal(token)
        if not now < expires_at <= now + _LASTS + _APART:  # nor was it made by a clock ahead
            raise session_expired()
        if account and account != credential.scope.account:
            raise envelope.account_denied(credential.hint, account)
        return credential

    def _unseal(self, token: str) -> tuple[int, Credential]:
        session = unseal(token, self._key)
        if session is None:
            raise envelope.invalid_api_key(mask(token))
        scope = Scope(session.scope, session.account, session.livemode)
        permitted: Permissions = {"billing_meter_events": "write"}
        credential = Credential(scope, permitted, mask(token), key=session.key)
        if len(self._genuine) >= limits.SESSIONS_CACHED_MAX:
            self._genuine.clear()
        self._genuine[token] = (session.expires_at, credential)
        return session.expires_at, credential
