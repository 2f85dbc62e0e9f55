"""AWS on one machine: the control plane, the snapshots, the machines and the load balancer that a local deploy needs.

`python -m localcloud start` runs it. It decides as AWS does, as far as the program depends on it, and never talks to
AWS.
"""
