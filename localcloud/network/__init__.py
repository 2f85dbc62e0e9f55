"""The network between the machines: each packet of a guest goes through one router, which lets pass what AWS would."""
