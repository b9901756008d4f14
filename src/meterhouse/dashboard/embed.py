"""`/embed/usage`: the usage of one customer, for a page of another product to show in a frame.

It is opened with an embed token in its query, which says whose usage it is and what of it may be
told apart. It sets no cookie and reads none. Every number is asked from the API with the token
itself, so the page can show no more than the token permits.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from meterhouse.clock import Clock
from meterhouse.dashboard import chart
from meterhouse.dashboard.client import Api, ApiError, Space
from meterhouse.dashboard.question import (
    RANGES,
    Question,
    api_pairs,
    drawn_by,
    read_question,
    span,
    windows,
)
from meterhouse.signing import Signing
from meterhouse.wire import embed as tokens

_USAGE = "/v1/billing/analytics/meter_usage"
_WRONG = "This chart cannot be shown: its token is not valid, or it is over."


class Frame:
    """Shows embedded charts."""

    def __init__(self, api: Api, clock: Clock, templates: Environment, signing: Signing) -> None:
        self._api = api
        self._clock = clock
        self._templates = templates
        self._signing = signing

    async def show(self, request: Request) -> Response:
        """Show the usage that a token is bound to."""
        token = request.query_params.get("token", "")
        bound = tokens.unseal(token, (await self._signing.keys()).embed_tokens)
        theme = request.query_params.get("theme", "auto")
        if bound is None:
            return self._page(
                "embed_wrong.html", HTTPStatus.UNAUTHORIZED, theme=theme, wrong=_WRONG
            )
        asked = read_question(request.query_params.multi_items())
        by = [f"dimension:{key}" for key in bound.dimensions]
        question = Question(
            meter=asked.meter if asked.meter in bound.meters else bound.meters[0],
            group=asked.group if asked.group in by else "",
            window=asked.window,
            zone=asked.zone,
            range=asked.range,
            start=asked.start,
            end=asked.end,
        )
        try:
            drawn = await self._draw(token, question, bound)
        except ApiError as error:
            return self._page("embed_wrong.html", error.status, theme=theme, wrong=str(error))
        fragment = request.headers.get("x-fragment")
        return self._page(
            "_embed.html" if fragment else "embed.html",
            HTTPStatus.OK,
            theme=theme,
            token=token,
            question=question,
            bound=bound,
            ranges=[one for one in RANGES if one[0] != "custom"],
            **drawn,
        )

    async def _draw(self, token: str, question: Question, bound: tokens.Embed) -> dict[str, Any]:
        now = self._clock.now()
        whole = span(question, now)
        asked = question.change(customer=bound.customer)
        pairs = [pair for pair in api_pairs(asked, whole) if pair[0] != "top"]
        answer, names = await asyncio.gather(
            self._api.get_as(token, _USAGE, pairs), self._names(bound)
        )
        built = chart.build(
            question,
            windows(question, whole),
            drawn_by(question, whole),
            answer["data"],
            now=now,
            adds_up=names[question.meter]["default_aggregation"]["formula"] != "last",
        )
        return {
            "chart": built,
            "drawing": chart.drawing(built, [None] * len(built.series)),
            "names": names,
            "size": drawn_by(question, whole),
        }

    async def _names(self, bound: tokens.Embed) -> dict[str, Any]:
        """Return the meters of a token; what they are called is no secret to its holder."""
        space = Space(bound.account, bound.livemode)
        found = await asyncio.gather(
            *(self._api.get(space, f"/v1/billing/meters/{one}") for one in bound.meters)
        )
        return {one["id"]: one for one in found}

    def _page(self, template: str, status: int, **context: Any) -> Response:
        return HTMLResponse(self._templates.get_template(template).render(**context), status)
