"""Starts the policy pack, for `pulumi preview --policy-pack policy`."""

from policy.pack import serve

if __name__ == "__main__":
    serve()
