"""OpenStack Swift's own functional tests, run against `miniswift serve` by `make conformance`.

Not collected by pytest: they are the upstream project's tests, in their own virtual environment
(.venv-conformance, with the source distribution they come from), and talk HTTP to a store that
`run` starts for them.
"""
