"""AWS on one machine."""
