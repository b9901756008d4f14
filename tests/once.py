"""What each server and client within the tests' process would do anew is done once.

What a test sees is the same: certificates that are trusted, statements that are compiled, templates
that are compiled. A server does each of this once in its life, and a test run has thousands.
"""

import os
import ssl
from functools import cache
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from httpx._transports import default as transports
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket
from sqlalchemy.engine.default import DefaultDialect

STATEMENTS_MAX = 5_000


def share(patch: pytest.MonkeyPatch) -> None:
    """Let them share it from now on."""
    _share_trust(patch)
    _share_statements(patch)
    _share_templates(patch)


def _share_trust(patch: pytest.MonkeyPatch) -> None:
    """Read the certificates that are trusted once: it takes a fiftieth of a second of a core."""
    make = httpx.create_ssl_context

    @cache
    def trusted(*_: str | None) -> ssl.SSLContext:
        return make()

    def trust(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
        if verify is True and cert is None and trust_env:
            return trusted(*map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR")))
        return make(verify, cert, trust_env)

    patch.setattr(httpx, "create_ssl_context", trust)
    patch.setattr(transports, "create_ssl_context", trust)


def _share_statements(patch: pytest.MonkeyPatch) -> None:
    """Compile a statement once for each kind of database."""
    make, compiled = sa.create_engine, sa.util.LRUCache[Any, Any](STATEMENTS_MAX)

    def create_engine(*args: Any, **kwargs: Any) -> sa.Engine:
        engine = make(*args, **kwargs)
        engine._compiled_cache = compiled
        return engine

    def alike(one: DefaultDialect, other: object) -> bool:
        return type(one) is type(other)

    patch.setattr(sa, "create_engine", create_engine)
    patch.setattr(DefaultDialect, "__eq__", alike)
    patch.setattr(DefaultDialect, "__hash__", lambda one: hash(type(one)))


class _Compiled(BytecodeCache):
    """Templates as Python has compiled them."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._kept:
            bucket.bytecode_from_string(self._kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()


def _share_templates(patch: pytest.MonkeyPatch) -> None:
    make, compiled = Environment.__init__, _Compiled()

    def initialize(environment: Environment, *args: Any, **kwargs: Any) -> None:
        make(environment, *args, **kwargs)
        environment.bytecode_cache = compiled

    patch.setattr(Environment, "__init__", initialize)
