"""The data plane of load balancers."""
