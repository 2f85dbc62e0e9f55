"""Boot tests of images."""
