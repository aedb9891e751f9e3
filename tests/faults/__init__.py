"""What happens on three replicas when something fails: faults x requests → what the client sees.

`transport` breaks what passes between the proxy and its storage nodes; `matrix` tries every request with
every fault, and looks at what is stored afterwards; `python -m tests.faults` prints the table.
"""
