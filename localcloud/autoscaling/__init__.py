"""EC2 Auto Scaling, as strict as AWS."""
