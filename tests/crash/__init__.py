"""SIGKILL at random moments of a mixed load: what was acknowledged is there afterwards; see `make crash`."""
