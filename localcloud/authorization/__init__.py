"""IAM: who calls, what is asked, and whether the policies allow it."""
