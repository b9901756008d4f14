"""Several Meterhouses on one ledger: processes with a folder and a Unix socket each."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.crash.server import Server, Stores


class Fleet:
    """Starts them one after the other, and is one server to whoever sends.

    `nodes` names each and its settings, such as `{"api-1": {"METERHOUSE_ROLE": "api"}}`. Those of
    `answering` are asked; what others answer is about themselves.
    """

    def __init__(
        self,
        folder: Path,
        stores: Stores,
        nodes: Mapping[str, Mapping[str, str]],
        answering: Sequence[str],
    ) -> None:
        self.nodes = {
            name: Server(folder / name, stores={**stores, **settings})
            for name, settings in nodes.items()
        }
        for name in nodes:
            (folder / name).mkdir()
        self.answering = [self.nodes[name] for name in answering]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.gather(*(node.__aexit__(*error) for node in self.nodes.values()))

    async def start(self) -> None:
        """Start all, and wait until they answer."""
        first, *others = self.nodes.values()
        await first.start()
        await asyncio.gather(*(node.start() for node in others))

    async def kill(self) -> None:
        """Kill all, as far as they were started."""
        await asyncio.gather(*(node.kill() for node in self.nodes.values()))

    @property
    def shares(self) -> bool:
        """Whether their ledger is one that several servers may share: they do."""
        return True

    @property
    def addresses(self) -> list[Path]:
        """Where they answer."""
        return [node.socket for node in self.answering]

    async def verify(self) -> tuple[int, str]:
        """Run `meterhouse verify` on the folder of one of those that answer."""
        return await self.answering[0].verify()

    async def stop(self) -> int:
        """Stop all in order: who acknowledges, then who processes what was acknowledged."""
        others = [node for node in self.nodes.values() if node not in self.answering]
        ends = [
            await asyncio.gather(*(node.stop() for node in of)) for of in (self.answering, others)
        ]
        return max((*ends[0], *ends[1]))

    def errors(self) -> list[str]:
        """Return the lines about errors of all logs."""
        return [
            f"{name}: {line}"
            for name, node in self.nodes.items()
            for line in node.log().splitlines()
            if "ERROR" in line or "CRITICAL" in line
        ]
