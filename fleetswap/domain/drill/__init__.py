"""What a rollback needs, judged from what AWS says of it: pure functions."""
