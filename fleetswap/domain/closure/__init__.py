"""What an image contains: the store paths of its machine, where they come from, and how two images differ."""
