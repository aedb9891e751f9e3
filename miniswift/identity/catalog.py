"""The service catalogue: where a token's holder finds the object store, in v2.0 and v3 shape.

URLs are templates: `%(project_id)s` (also `%(tenant_id)s`, and `$(…)s` as Keystone allows) stands for
the id of the token's project, `%(host)s` for the host name by which the client reached this service,
so that one file serves clients on this machine and on others.

1. An endpoint that needs a project is left out of a catalogue made without one.
2. Ids follow from the content: the same file gives the same ids in every process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from miniswift.identity.directory import Directory, Project, Service, derived_id

_PLACEHOLDER = re.compile(r"[%$]\((\w*)\)s")
_PROJECT_WORDS = ("project_id", "tenant_id")
_WORDS = (*_PROJECT_WORDS, "host")

Entry = dict[str, Any]


def check_template(url: str) -> None:
    """Raise ValueError for a URL with a placeholder that means nothing, or that is no URL."""
    if not url.startswith(("http://", "https://")) or not url.isascii() or " " in url:
        raise ValueError("must be an http:// or https:// URL")
    for word in _PLACEHOLDER.findall(url):
        if word not in _WORDS:
            raise ValueError(f"%({word})s means nothing here; known are {', '.join(_WORDS)}")
    if "(" in _PLACEHOLDER.sub("", url):
        raise ValueError("a placeholder looks like %(project_id)s")


def object_store_template(proxy_url: str) -> str:
    """Where each project's account is, given the proxy's URL without a path."""
    return f"{proxy_url.rstrip('/')}/v1/AUTH_%(project_id)s"


@dataclass(frozen=True)
class Catalog:
    """A directory's services as one token's holder sees them from one host."""

    directory: Directory
    project: Project | None
    host: str

    def v3(self) -> list[Entry]:
        """One entry a service; one endpoint an interface."""
        region = self.directory.region
        return [
            {
                "type": service.type,
                "name": service.name,
                "id": derived_id("service", service.type, service.name),
                "endpoints": [
                    {
                        "id": derived_id("endpoint", service.type, service.name, interface),
                        "interface": interface,
                        "region": region,
                        "region_id": region,
                        "url": url,
                    }
                    for interface, url in urls.items()
                ],
            }
            for service, urls in self._services()
        ]

    def v2(self) -> list[Entry]:
        """One entry a service; one endpoint with all its URLs."""
        return [
            {
                "type": service.type,
                "name": service.name,
                "endpoints": [
                    {
                        "id": derived_id("endpoint", service.type, service.name),
                        "region": self.directory.region,
                        **{f"{interface}URL": url for interface, url in urls.items()},
                    }
                ],
                "endpoints_links": [],
            }
            for service, urls in self._services()
        ]

    def object_store_url(self) -> str | None:
        """The public URL of the project's account; None if the file names no object store."""
        found = (urls.get("public") for service, urls in self._services() if service.type == "object-store")
        return next(found, None)

    def _services(self) -> Iterator[tuple[Service, dict[str, str]]]:
        for service in self.directory.services:
            templates = {
                "public": service.public_url,
                "internal": service.internal_url,
                "admin": service.admin_url,
            }
            filled = {interface: self._fill(template) for interface, template in templates.items()}
            urls = {interface: url for interface, url in filled.items() if url is not None}
            if urls:
                yield service, urls

    def _fill(self, template: str) -> str | None:
        if self.project is None and any(f"({word})s" in template for word in _PROJECT_WORDS):
            return None
        project_id = self.project.id if self.project else ""
        values = {"project_id": project_id, "tenant_id": project_id, "host": self.host}
        return _PLACEHOLDER.sub(lambda match: values[match[1]], template)
