"""Replication of containers: what a peer's replicator asks beyond any database's (REPLICATE).

Replicas of one container may have been made with different policies while they could not talk. Of two
the better one is taken over: a living one before a deleted; of recreated ones the newest; else the
oldest.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, ClassVar

from miniswift.responses import Headers, Response
from miniswift.storage.broker import Info, number_of
from miniswift.storage.container_broker import ContainerBroker
from miniswift.storage.database_cache import DatabaseCache
from miniswift.storage.database_replication import DatabaseReplication, max_row
from miniswift.storage.object_rows import whole_number
from miniswift.timestamp import ZERO, Timestamp


class ContainerReplication(DatabaseReplication[ContainerBroker]):
    """The replication calls on a container's database."""

    broker_class: ClassVar[type[ContainerBroker]] = ContainerBroker

    def __init__(self, device: str, db_file: str, databases: DatabaseCache) -> None:
        super().__init__(device, db_file, databases)
        self._calls |= {
            "merge_shard_ranges": self.merge_shard_ranges,
            "get_shard_ranges": self.get_shard_ranges,
        }

    def take_over(self, remote: Info, *of_container: Any) -> None:
        if len(of_container) < 3:
            return
        status_changed_at, count, policy_index = of_container[:3]
        theirs = {**remote, "status_changed_at": str(status_changed_at), "object_count": whole_number(count)}
        ours = self.broker.get_info()
        if whole_number(policy_index) != ours["storage_policy_index"] and is_better(theirs, ours):
            self.broker.set_policy(whole_number(policy_index), Timestamp.now())

    def replication_info(self) -> Info:
        info = super().replication_info()
        info["shard_max_row"] = self.broker.read_merged(lambda connection: max_row(connection, "shard_range"))
        return info

    def forget_reports(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE container_info SET reported_put_timestamp = '0', reported_delete_timestamp = '0',"
            " reported_object_count = 0, reported_bytes_used = 0"
        )

    def merge_shard_ranges(self, ranges: list[Any]) -> Response:
        if ranges:
            raise ValueError("shard ranges are not kept here")
        return Response(202)

    def get_shard_ranges(self) -> Response:
        return Response(200, Headers([("Content-Type", "application/json")]), b"[]")


def is_better(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether a replica's policy is to be taken instead of ours."""
    we_are_deleted = ContainerBroker.is_deleted_info(ours)
    they_are_deleted = ContainerBroker.is_deleted_info(theirs)
    if we_are_deleted != they_are_deleted:
        return we_are_deleted
    our_change, their_change = (number_of(info["status_changed_at"]) for info in (ours, theirs))
    if we_are_deleted:
        return their_change > our_change
    if _is_recreated(ours) != _is_recreated(theirs):
        return _is_recreated(theirs)
    if _is_recreated(ours):
        # Who was not put again after the last deletion is behind.
        last_deletion = max(number_of(info["delete_timestamp"]) for info in (ours, theirs))
        if number_of(ours["put_timestamp"]) < last_deletion:
            return True
        if number_of(theirs["put_timestamp"]) < last_deletion:
            return False
    return their_change < our_change


def _is_recreated(info: Mapping[str, Any]) -> bool:
    return number_of(info["put_timestamp"]) > number_of(info["delete_timestamp"]) > ZERO
