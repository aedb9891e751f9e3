"""miniswift: an OpenStack Swift small enough to read and fast enough to prefer."""

from pathlib import Path

from miniswift._version import VERSION

__all__ = ["VERSION"]

# The filters live in middleware/ at the top of the checkout and are installed as
# miniswift.middleware. An installed package has that folder inside; a checkout has it beside.
_checkout = Path(__file__).resolve().parent.parent
if not (Path(__file__).parent / "middleware").is_dir() and (_checkout / "middleware").is_dir():
    __path__.append(str(_checkout))
