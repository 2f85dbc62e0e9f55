"""The ports of the workflows, implemented on boto3."""
