"""The comment of a pull request on GitHub, or of a merge request on GitLab: one, which later runs update in place."""
