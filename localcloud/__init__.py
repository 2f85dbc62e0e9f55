"""Stand-in for AWS on one machine: control plane, snapshots, machines and load balancer that a local deploy needs.

`python -m localcloud start` runs it. It decides as AWS does, as far as the program depends on it, and never talks to
AWS.
"""
