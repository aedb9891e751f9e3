"""The store: the identity file on disk, followed while it changes.

`<root>/etc/identity.yaml` is the only place where users live. Servers look at the file's stamp on
each request and read it again when it changed; commands edit it under a lock.

1. The file is replaced whole, so no reader ever sees half an edit; it is readable by its owner alone.
2. Edits by several processes happen one after the other; none is lost.
3. A server that has once read a good file keeps serving it, whatever becomes of the file.

Not here: what the file says (directory), how it says it (directory_file).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from miniswift.errors import ConfigError
from miniswift.identity import directory_file, passwords
from miniswift.identity.catalog import object_store_template
from miniswift.identity.directory import Directory, Project, Service, User, make_id
from miniswift.identity.documents import DocumentError

logger = logging.getLogger(__name__)

# What tells one version of the file from the next: a replaced file is another inode.
_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Secrets:
    """The passwords of the users that a new file starts with: the one time they are told."""

    demo: str = field(repr=False)
    reader: str = field(repr=False)
    admin: str = field(repr=False)
    swift: str = field(repr=False)


class Store:
    """An identity file."""

    def __init__(self, path: str, service_urls: Mapping[str, str] | None = None) -> None:
        """Open an existing file. Raises ConfigError if it cannot be used.

        `service_urls` (service type → URL template) stand in the catalogue in place of the file's.
        """
        self.path = path
        self._service_urls = dict(service_urls or {})
        self._stamp = self._look()
        if self._stamp is None:
            raise ConfigError("the identity file does not exist", file=path)
        self._directory = self._load().with_service_urls(self._service_urls)
        if os.stat(path).st_mode & 0o077:
            logger.warning("%s holds password hashes and others can read it: chmod 600 it", path)

    @classmethod
    def create_demo(cls, path: str, object_store_url: str, identity_url: str) -> Secrets:
        """Make the file a first start begins with: projects demo, admin and service, four users.

        The URLs are those of the two servers, without a path: `http://127.0.0.1:8080`.
        Raises ConfigError if the file exists or cannot be written.
        """
        if os.path.lexists(path):
            raise ConfigError("the identity file exists and is left as it is", file=path)
        secrets = Secrets(*(passwords.make_password() for _ in range(4)))
        directory = demo_directory(secrets, object_store_url, identity_url.rstrip("/"))
        with _config_errors(path):
            _replace(path, directory_file.render(directory))
        return secrets

    def directory(self) -> Directory:
        """What the file says now, or said when it was last good."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            self._reload()
        return self._directory

    def edit(self, change: Callable[[Directory], Directory]) -> Directory:
        """Replace the file by what `change` makes of it. Raises ConfigError, and leaves the file."""
        with _config_errors(self.path), _lock_folder_of(self.path):
            changed = change(self._load())
            text = directory_file.render(changed)
            directory_file.parse(text)  # what we could not read back we do not write
            _replace(self.path, text)
        return changed

    def _look(self) -> _Stamp | None:
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _load(self) -> Directory:
        with _config_errors(self.path), open(self.path, encoding="utf-8") as file:
            return directory_file.parse(file.read())

    def _reload(self) -> None:
        try:
            self._directory = self._load().with_service_urls(self._service_urls)
        except ConfigError as error:
            logger.error("the changed identity file is not used, the last good one stays: %s", error)
        else:
            logger.info("%s was read again: %d users", self.path, len(self._directory.users))


def demo_directory(secrets: Secrets, object_store_url: str, identity_url: str) -> Directory:
    """The content of a new file: a user to play with, one who only reads, an operator and the proxy's own."""
    demo, admin, service = (
        Project(make_id(), name, description=description)
        for name, description in [
            ("demo", "a place to try things"),
            ("admin", "those who run the store"),
            ("service", "the users that servers log in as"),
        ]
    )
    people = [
        ("demo", secrets.demo, demo, ("swiftoperator",)),
        ("reader", secrets.reader, demo, ("Reader",)),
        ("admin", secrets.admin, admin, ("admin", "ResellerAdmin")),
        ("swift", secrets.swift, service, ("service",)),
    ]
    return Directory(
        projects=(demo, admin, service),
        users=tuple(
            User(make_id(), name, passwords.hash_password(secret), project_roles={project.id: roles})
            for name, secret, project, roles in people
        ),
        services=(
            _service("object-store", "swift", object_store_template(object_store_url)),
            _service("identity", "keystone", identity_url),
        ),
        roles=tuple(role for _, _, _, roles in people for role in roles),
    )


def _service(service_type: str, name: str, url: str) -> Service:
    return Service(service_type, name, url, url, url)


def _replace(path: str, text: str) -> None:
    """Put `text` at `path` in one step, kept through a power loss; a new file belongs to its owner alone."""
    folder = os.path.dirname(path) or "."
    fd, temporary = tempfile.mkstemp(prefix=".identity-", dir=folder)  # mode 0600
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            with contextlib.suppress(FileNotFoundError):
                # root may edit the file of a server that runs as somebody else
                status = os.stat(path)
                if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    with _open_folder_of(path) as folder_fd:
        os.fsync(folder_fd)  # the rename itself


@contextlib.contextmanager
def _open_folder_of(path: str) -> Iterator[int]:
    fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _lock_folder_of(path: str) -> Iterator[None]:
    """Keep other editors out. The file itself cannot carry the lock: each edit replaces it."""
    with _open_folder_of(path) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _config_errors(path: str) -> Iterator[None]:
    """Tell what goes wrong with the file as a ConfigError that names it."""
    try:
        yield
    except DocumentError as error:
        raise ConfigError(str(error), file=path) from None
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8 text", file=path) from None
    except OSError as error:
        raise ConfigError(error.strerror or str(error), file=path) from None
