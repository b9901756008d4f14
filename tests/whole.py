"""A whole Meterhouse within a test's process, whose parts a test can take hold of."""

import asyncio

from meterhouse.api.services import Services
from meterhouse.app import Meterhouse
from meterhouse.dashboard.site import Dashboard
from meterhouse.jobs.key_uses import KeyUses
from meterhouse.jobs.owned import Jobs
from meterhouse.jobs.request_logs import RequestLogs
from meterhouse.processing.partitions import Partitions
from meterhouse.roles.answering import Answering
from meterhouse.roles.working import Working
from meterhouse.stores import Stores


class Whole(Meterhouse):
    """One that answers and works."""

    @property
    def _answers(self) -> Answering:
        assert self.answering is not None
        return self.answering

    @property
    def _works(self) -> Working:
        assert self.working is not None
        return self.working

    @property
    def services(self) -> Services:
        return self._answers.services

    @property
    def dashboard(self) -> Dashboard:
        return self._answers.dashboard

    @property
    def _key_uses(self) -> KeyUses:
        return self._answers.key_uses

    @property
    def _request_logs(self) -> RequestLogs:
        return self._answers.request_logs

    @property
    def jobs(self) -> Jobs:
        return self._works.jobs

    @property
    def _processor(self) -> Partitions:
        return self._works.partitions

    @property
    def _writing_months(self) -> asyncio.Lock:
        return self._works.writing_months

    @property
    def _stores(self) -> Stores:
        return self.common.stores
