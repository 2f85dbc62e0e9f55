"""The port of the retention workflow on boto3."""
