"""Boot tests of images: what the machine is, what it may ask, and when it counts as healthy."""
