"""KMS: keys with their states, policies, grants and aliases, as strict and as late as AWS's. Moto stores them."""
