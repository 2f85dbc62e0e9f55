"""The data plane of load balancers: HAProxy, its routes, and the health of targets."""
