"""The IAM policies of a stack: which actions on which resources, why, and in how many managed policies."""
