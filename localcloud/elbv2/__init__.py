"""The control plane of load balancers (ELBv2), as strict as AWS."""
