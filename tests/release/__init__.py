"""Which releases a stack has and declares, and what of them a reviewer reads."""
