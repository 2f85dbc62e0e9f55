"""What images and rollouts share of AWS: what its errors mean."""
