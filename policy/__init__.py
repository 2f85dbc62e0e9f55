"""The policy pack. The engine runs it by its folder, which PulumiPolicy.yaml describes."""
