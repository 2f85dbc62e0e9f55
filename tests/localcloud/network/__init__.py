"""The network between the machines: decisions, frames, and guests that try."""
