"""Load balancers, listeners and target groups as they are declared."""
