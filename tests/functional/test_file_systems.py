"""The store on file systems that keep little, and much, of an object's metadata."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.cluster import ServeProcess
from tests.functional.mounts import mounted

SIZE = 512 * 1024**2  # bytes of an image; the least that XFS takes is 300 MB
# What 90 items of metadata may come to by Swift's constraints.
MUCH = {f"X-Object-Meta-{number:020d}": "x" * 25 for number in range(90)}
# Whoever is not root, or has no mkfs.xfs, can try them on what there is only.
MOUNTABLE = {
    "ext4": ("ext4", 507),
    "ext4 with ea_inode": ("ext4 -O ea_inode", 201),
    "xfs": ("xfs", 201),
} if os.geteuid() == 0 and shutil.which("mkfs.xfs") else {}  # fmt: skip


@contextlib.contextmanager
def served(root: Path) -> Iterator[tuple[ServeProcess, Client]]:
    with ServeProcess(root) as process, Client.login(process.auth) as client:
        assert client.put("/c").status == 201
        yield process, client


@pytest.mark.parametrize(("kind", "status"), MOUNTABLE.values(), ids=MOUNTABLE)
def test_metadata_up_to_the_constraints(kind: str, status: int) -> None:
    with mounted(*kind.split(), size=SIZE) as folder, served(folder / "data") as (process, client):
        answer = client.put("/c/much", b"body", MUCH)
        assert answer.status == status, answer.text
        assert client.put("/c/little", b"body", {"X-Object-Meta-A": "1"}).status == 201
        listed = [row["name"] for row in client.listing("/c")]
        banner = process.printed()
        if status == 201:
            assert client.head("/c/much").headers[next(iter(MUCH))] == "x" * 25
            assert listed == ["little", "much"]
            assert "which takes all the metadata" in banner
        else:
            assert "do not fit" in answer.text
            assert client.head("/c/much").status == 404
            assert listed == ["little"]
            assert "ea_inode" in banner


def test_metadata_on_the_file_system_at_hand_are_kept_or_refused(tmp_path: Path) -> None:
    with served(tmp_path / "data") as (process, client):
        answer = client.put("/c/much", b"body", MUCH)
        takes_all = "which takes all the metadata" in process.printed()
        assert answer.status == (201 if takes_all else 507), answer.text
