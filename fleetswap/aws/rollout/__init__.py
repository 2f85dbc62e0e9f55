"""ELBv2, EC2 Auto Scaling, CloudWatch, EventBridge Scheduler and SNS, as a rollout needs them."""
