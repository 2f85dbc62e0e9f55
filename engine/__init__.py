"""The Pulumi engine for machines that lack it, and stand-ins for the parts of its distribution that Python needs."""
