"""The auditors of accounts and containers: SQLite looks at each database as a whole.

1. A database that is damaged is quarantined, as when a request stumbles over it.
2. Rows of what was deleted go once their reclaim age is over, where no replicator comes by to do it.
"""

from __future__ import annotations

import dataclasses
import logging
import sqlite3
import time
from collections.abc import Callable

from miniswift.config import option, seconds
from miniswift.daemons import Daemon
from miniswift.daemons.devices import Devices, databases
from miniswift.errors import MiniswiftError
from miniswift.pace import Pace
from miniswift.pipeline import read_settings
from miniswift.storage import StorageSettings
from miniswift.storage.account_broker import AccountBroker
from miniswift.storage.broker import DatabaseMalformed
from miniswift.storage.container_broker import ContainerBroker
from miniswift.storage.database_cache import DatabaseCache, DatabaseMissing
from miniswift.timestamp import Timestamp

logger = logging.getLogger(__name__)

_RATE_HELP = "databases looked at a second at most; 0 is no limit"


@dataclasses.dataclass(frozen=True)
class DatabaseAuditorSettings(StorageSettings):
    """The options of both sections."""

    interval: float = option(seconds, "1800", "seconds between passes")
    reclaim_age: float = option(seconds, "604800", "seconds the row of something deleted is kept")


@dataclasses.dataclass(frozen=True)
class AccountAuditorSettings(DatabaseAuditorSettings):
    """The options of [account-auditor]."""

    accounts_per_second: float = option(seconds, "200", _RATE_HELP)


@dataclasses.dataclass(frozen=True)
class ContainerAuditorSettings(DatabaseAuditorSettings):
    """The options of [container-auditor]."""

    containers_per_second: float = option(seconds, "200", _RATE_HELP)


class DatabaseAuditor(Daemon):
    """Looks at every database of one kind on the devices of this machine."""

    name = "auditor"

    def __init__(
        self,
        settings: DatabaseAuditorSettings,
        broker: type[AccountBroker] | type[ContainerBroker],
        per_second: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(settings.interval, settings.recon_cache_path)
        self._broker = broker
        self._devices = Devices(settings)
        self._pace = Pace(per_second)
        self._reclaim_age_s = settings.reclaim_age
        self._clock = clock
        self._databases = DatabaseCache(max_idle=1)  # each is looked at once a pass
        self.passed = self.failed = 0  # in the last pass

    def close(self) -> None:
        """Close the databases."""
        self._databases.close()

    def run_once(self) -> str:
        self.passed = self.failed = 0
        kind = f"{self._broker.kind}s"
        for device in self._devices.mounted():
            for db_file in databases(device / kind):
                if self.is_stopping:
                    break
                self._pace.wait()
                self._audit(db_file)
                self.progress("%d %s are well, %d failed so far", self.passed, kind, self.failed)
        logger.debug("%d %s are well, %d failed", self.passed, kind, self.failed)
        return f"{self.passed} {kind} are well, {self.failed} failed" if self.failed else ""

    def stats(self, took_s: float) -> dict[str, dict[str, object]]:
        """See Daemon."""
        kind = self._broker.kind
        of_pass: dict[str, object] = {
            f"{kind}_audits_passed": self.passed, f"{kind}_audits_failed": self.failed,
            f"{kind}_audits_since": time.time() - took_s, f"{kind}_auditor_pass_completed": took_s,
        }  # fmt: skip
        return {kind: of_pass}

    def _audit(self, db_file: str) -> None:
        broker = self._broker(db_file, self._databases)
        try:
            broker.check()
            broker.reclaim(Timestamp.at(self._clock() - self._reclaim_age_s))
        except DatabaseMissing:
            return  # removed meanwhile
        except DatabaseMalformed:
            self.failed += 1  # quarantined, and logged
        except (MiniswiftError, sqlite3.DatabaseError, OSError) as error:
            self.failed += 1
            logger.error("%s cannot be audited: %s", db_file, error)
        else:
            self.passed += 1


def make_account_auditor(conf_file: str) -> DatabaseAuditor:
    """The auditor of [account-auditor]. Raises ConfigError."""
    settings = read_settings(AccountAuditorSettings, conf_file, "account-auditor")
    return DatabaseAuditor(settings, AccountBroker, settings.accounts_per_second)


def make_container_auditor(conf_file: str) -> DatabaseAuditor:
    """The auditor of [container-auditor]. Raises ConfigError."""
    settings = read_settings(ContainerAuditorSettings, conf_file, "container-auditor")
    return DatabaseAuditor(settings, ContainerBroker, settings.containers_per_second)
