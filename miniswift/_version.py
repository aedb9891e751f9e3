"""The one place that knows the version (read by setup.cfg, /info and the servers' banners)."""

VERSION = "0.1.0"
