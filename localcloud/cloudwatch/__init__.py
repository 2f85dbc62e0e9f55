"""CloudWatch: metrics, alarms, and what load balancers report."""
