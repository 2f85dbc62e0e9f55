"""States that earlier versions wrote, and that this one must read; see README.md."""
