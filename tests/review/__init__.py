"""What a reviewer reads. `previews/` are what `pulumi preview --json` printed of the demo stack.

Of them only the inputs and outputs of the rollout and of the disk image were kept, without where they are.
"""
