"""The ring builder: gives every replica of every partition a device.

Each device gets slots in proportion to its weight, replicas times partitions in all. The slots are laid in a
line, neighbours by region, zone, address and device, and the line is cut into one piece a replica:

    |···A···|·····B·····|·C·|   |····D····|···E···|…      replicas pieces, each as long as the ring
       ^ one partition's place in the first piece ^ and the same place in the next

1. No device holds a partition twice, as its slots in a row are no more than a piece.
2. So it is at every level: a zone (region, address) that has the weight for 1.4 replicas holds one or two
   of any partition, never three. Replicas are as far apart as the weights allow.
3. The same devices make the same ring.

Not here: moving few partitions when devices change; a ring that must do that is swift-ring-builder's.
"""

from __future__ import annotations

from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any

from miniswift.errors import ConfigError
from miniswift.ring_file import RingData, write_ring_file

_MAX_DEVICES = 65535  # an id of 16 bits, of which the last means "none"
_MAX_PART_POWER = 24  # 16 million partitions: minutes of work, and more than 100 000 devices need
_GOLDEN_RATIO = 0.6180339887  # its multiples, wrapped, are far apart for neighbours


class RingBuilder:
    """A ring in the making: add devices, rebalance, save."""

    def __init__(self, part_power: int, replicas: int) -> None:
        """A ring of 2^part_power partitions. Raises ConfigError for numbers no ring can have."""
        if not 0 <= part_power <= _MAX_PART_POWER:
            raise ConfigError(f"the part power must be from 0 to {_MAX_PART_POWER}, not {part_power}")
        if replicas < 1:
            raise ConfigError(f"there must be at least one replica, not {replicas}")
        self.part_power = part_power
        self.replicas = replicas
        self._devices: list[dict[str, Any]] = []
        self._rows: list[array[int]] = []

    def add(
        self,
        ip: str,
        port: int,
        device: str,
        region: int = 1,
        zone: int = 1,
        weight: float = 1.0,
        *,
        replication_ip: str = "",
        replication_port: int = 0,
        meta: str = "",
    ) -> int:
        """Add a device and return its id. A weight of zero keeps it out of all partitions for now.

        Raises ConfigError for a device that is there already or cannot be in a ring.
        """
        self._check(ip, port, device, weight)
        device_id = len(self._devices)
        self._rows = []
        self._devices.append(
            {
                "id": device_id,
                "region": region,
                "zone": zone,
                "ip": ip,
                "port": port,
                "replication_ip": replication_ip or ip,
                "replication_port": replication_port or port,
                "device": device,
                "weight": float(weight),
                "meta": meta,
            }
        )
        return device_id

    def rebalance(self) -> None:
        """Assign all partitions. Raises ConfigError when there are fewer devices than replicas."""
        parts = 1 << self.part_power
        slots = array("H")
        for device_id, count in self._slot_counts(parts):
            slots.extend([device_id] * count)
        self._rows = [array("H", bytes(2 * parts)) for _ in range(self.replicas)]
        # An odd factor permutes the partitions. Neighbours must differ in their devices, because the
        # search for handoffs goes from neighbour to neighbour.
        scatter = int(parts * _GOLDEN_RATIO) | 1
        for part in range(parts):
            place = part * scatter % parts
            for replica in range(self.replicas):
                # Which replica is a partition's first goes round, so that no device is always first.
                row = self._rows[(replica + part) % self.replicas]
                row[part] = slots[replica * parts + place]

    def save(self, path: Path | str) -> None:
        """Write the ring file, rebalanced if devices came since."""
        if not self._rows:
            self.rebalance()
        devices: list[dict[str, Any] | None] = [*self._devices]
        write_ring_file(Path(path), RingData(devices, self._rows, 32 - self.part_power))

    def _slot_counts(self, parts: int) -> list[tuple[int, int]]:
        """(device id, slots) along the line: `replicas * parts` in all, no device more than `parts`."""
        line = sorted(
            (device for device in self._devices if device["weight"] > 0),
            key=lambda device: (device["region"], device["zone"], device["ip"], device["id"]),
        )
        shares = _shares([Fraction(device["weight"]) for device in line], self.replicas)
        counts = []
        end = Fraction(0)
        for device, share in zip(line, shares, strict=True):
            start, end = end, end + share
            # Rounding the ends, not the length, keeps the sum exact and no length above a piece.
            counts.append((device["id"], _ceiling(end * parts) - _ceiling(start * parts)))
        return counts

    def _check(self, ip: str, port: int, device: str, weight: float) -> None:
        problem = None
        if not 0 < port < 65536:
            problem = f"{port} is not a port"
        elif not ip or not device or "/" in device or device in (".", ".."):
            problem = f"{ip!r}, {device!r} do not name a device"
        elif not 0 <= weight < float("inf"):
            problem = f"{weight} is not a weight"
        elif len(self._devices) == _MAX_DEVICES:
            problem = f"a ring has at most {_MAX_DEVICES} devices"
        elif any((d["ip"], d["port"], d["device"]) == (ip, port, device) for d in self._devices):
            problem = f"{ip}:{port}/{device} is in the ring already"
        if problem:
            raise ConfigError(problem)


def _shares(weights: list[Fraction], replicas: int) -> list[Fraction]:
    """Each device's share of `replicas` whole rings, by weight but at most one; the excess is shared out."""
    if len(weights) < replicas:
        raise ConfigError(f"{replicas} replicas need as many devices with a weight, not {len(weights)}")
    full: set[int] = set()
    while True:
        rest = sum(weight for n, weight in enumerate(weights) if n not in full)
        rate = Fraction(replicas - len(full)) / rest if rest else Fraction(0)
        overfull = {n for n, weight in enumerate(weights) if n not in full and weight * rate > 1}
        if not overfull:
            return [Fraction(1) if n in full else weight * rate for n, weight in enumerate(weights)]
        full |= overfull


def _ceiling(number: Fraction) -> int:
    return -(-number.numerator // number.denominator)
