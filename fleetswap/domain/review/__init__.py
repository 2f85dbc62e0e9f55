"""What a reviewer of a change reads: pure functions of what `pulumi preview --json` has printed."""
