"""The ports of the workflows, implemented with boto3."""
