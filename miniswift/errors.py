"""The root of every exception miniswift raises on purpose.

Each module declares its own family below `MiniswiftError`, each class says when it is raised and
carries data rather than text to parse. Families become HTTP statuses at two edges only: the storage
servers and the proxy application.
"""


class MiniswiftError(Exception):
    """Raised by miniswift itself; anything else that escapes is a bug."""


class ConfigError(MiniswiftError):
    """Raised when a configuration cannot be used. Names the file, section and option where known."""

    def __init__(self, problem: str, *, file: str = "", section: str = "", option: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.file = file
        self.section = section
        self.option = option

    def within(self, *, file: str = "", section: str = "") -> "ConfigError":
        """The same error, told where it happened by a caller that knows."""
        return ConfigError(
            self.problem,
            file=self.file or file,
            section=self.section or section,
            option=self.option,
        )

    def __str__(self) -> str:
        where = [self.file, f"[{self.section}]" if self.section else "", self.option]
        return ": ".join([*filter(None, where), self.problem])


class TimestampError(MiniswiftError, ValueError):
    """Raised when text is not one of Swift's timestamp forms, or is out of their range."""


class ClientDisconnected(MiniswiftError, OSError):
    """Raised by reading a request body whose sender went away or sent less than it announced."""


class ClientTimeout(MiniswiftError, OSError):
    """Raised by reading a request body whose sender stopped sending for too long."""


class BadRequestBody(MiniswiftError, ValueError):
    """Raised by reading a request body whose chunked framing is malformed."""
