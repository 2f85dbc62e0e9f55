"""The uploader: what a snapshot holds afterwards, and what is left behind when something fails."""
