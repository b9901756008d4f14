"""One attempt: a notification is posted to its destination, once.

What a reader may rely on:

- The answer's status says whether it arrived: any 2xx. Redirects are not followed. An attempt has
  either a status or an error, never both: whatever becomes of the answer's body changes nothing.
- From the look-up of the name to the answer's status and headers it takes at most
  `DELIVERY_ATTEMPT_SECONDS_MAX` (https://docs.stripe.com/webhooks), which is what is measured. How
  the body begins is waited for `DELIVERY_RESPONSE_SECONDS_MAX` more; the rest is left unread.
- A connection is used once and cookies are not kept, so destinations that have an address in common
  share neither.
"""

import asyncio
import os
import ssl
import time
import zlib
from collections.abc import Iterator
from contextlib import aclosing, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.config import Config
from meterhouse.delivery.address import ForbiddenError, check_url, resolve
from meterhouse.ledger.deliveries import Attempt, Owed
from meterhouse.wire.body import to_json
from meterhouse.wire.notification import snapshot_event, thin_event
from meterhouse.wire.signature import sign

HEADERS = {
    "Accept": "*/*; q=0.5, application/xml",
    "Accept-Encoding": "gzip",
    "Cache-Control": "no-cache",
    "Content-Type": "application/json; charset=utf-8",
    "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
}
_PORTS = {"http": 80, "https": 443}
_GZIP = 31  # what zlib calls the format


class Sender:
    """Makes attempts between `open()` and `close()`."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._client: httpx.AsyncClient | None = None

    def open(self) -> None:
        """Make the client. It reads the certificates that it trusts, which takes a moment."""
        self._client = httpx.AsyncClient(
            verify=httpx.create_ssl_context(),  # which heeds SSL_CERT_FILE and SSL_CERT_DIR
            timeout=None,  # noqa: S113 - the attempt as a whole is bounded
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def attempt(self, owed: Owed) -> Attempt:
        """Post what is owed; return what came of it."""
        at = self._clock.now()
        started = time.perf_counter()
        answer, error = None, None
        try:
            async with asyncio.timeout(limits.DELIVERY_ATTEMPT_SECONDS_MAX):
                answer = await self._post(owed, at)
        except TimeoutError:
            error = f"no answer within {limits.DELIVERY_ATTEMPT_SECONDS_MAX} seconds"
        except (ForbiddenError, httpx.HTTPError, OSError) as failure:
            error = _reason(failure)[: limits.DELIVERY_ERROR_CHARS_MAX]
        duration = time.perf_counter() - started
        return Attempt(
            at=at,
            status=None if answer is None else answer.status_code,
            duration_ms=round(duration * 1000),
            error=error,
            response="" if answer is None else await _response(answer),
        )

    async def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            await self._client.aclose()

    async def _post(self, owed: Owed, at: int) -> httpx.Response:
        livemode = owed.origin.livemode
        local = owed.destination.local
        private = self._config.private_destinations_open(livemode=livemode, local=local)
        url = check_url(owed.destination.url, livemode=livemode, private=private)
        host = url.raw_host.decode("ascii")
        addresses = await resolve(host, url.port or _PORTS[url.scheme], private=private)
        body = to_json(document(owed))
        secrets = [one.secret for one in owed.destination.valid_secrets(at)]
        headers = HEADERS | {
            "Host": url.netloc.decode("ascii"),
            "Stripe-Signature": sign(secrets, body, at),
        }
        return await self._send(url, host, addresses, headers, body)

    async def _send(
        self, url: httpx.URL, host: str, addresses: list[str], headers: dict[str, str], body: bytes
    ) -> httpx.Response:
        """Post to the first of the addresses that takes the connection."""
        if self._client is None:
            raise AssertionError("a sender is opened before it sends")
        for address in addresses:
            request = self._client.build_request(
                "POST",
                url.copy_with(host=address),
                content=body,
                headers=headers,
                extensions={"sni_hostname": host},
            )
            try:
                return await self._client.send(request, stream=True)
            except httpx.ConnectError:
                if address == addresses[-1]:
                    raise
        raise AssertionError("a name that was resolved has an address")


async def _response(answer: httpx.Response) -> str:
    """Return how the body of an answer begins, as text."""
    body = await _beginning(answer)
    if answer.headers.get("content-encoding") == "gzip":
        try:
            body = zlib.decompressobj(_GZIP).decompress(body, limits.DELIVERY_RESPONSE_BYTES_MAX)
        except zlib.error:
            body = b""
    text = body[: limits.DELIVERY_RESPONSE_BYTES_MAX].decode("utf-8", "replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL keeps none


async def _beginning(answer: httpx.Response) -> bytes:
    """Return what comes of a body soon, and before anything breaks; close the connection."""
    body = b""
    with suppress(TimeoutError, httpx.HTTPError, OSError):
        async with asyncio.timeout(limits.DELIVERY_RESPONSE_SECONDS_MAX), aclosing(answer):
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) >= limits.DELIVERY_RESPONSE_BYTES_MAX:
                    break
    return body


def document(owed: Owed) -> dict[str, object]:
    """Return the event as the destination sees it."""
    event, origin, destination = owed.notification, owed.origin, owed.destination
    account = origin.account if origin.id != destination.scope else None
    if event.payload == "thin":
        return thin_event(event, livemode=origin.livemode, account=account, fetched=False)
    shown = snapshot_event(
        event, livemode=origin.livemode, account=account, pending_webhooks=owed.undelivered
    )
    return shown | ({"api_version": destination.api_version} if destination.api_version else {})


def _reason(error: BaseException) -> str:
    """Say why there was no answer; libraries hide it below errors of their own."""
    deepest = [*_causes(error)][-1]
    if isinstance(deepest, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {deepest.verify_message}"
    if isinstance(deepest, ConnectionError) and deepest.errno:
        return os.strerror(deepest.errno).lower()
    return str(deepest) or str(error) or type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
