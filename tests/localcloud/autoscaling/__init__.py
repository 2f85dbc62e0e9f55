"""EC2 Auto Scaling, as the local cloud has it."""
