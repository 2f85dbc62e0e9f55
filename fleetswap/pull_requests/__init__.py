"""One comment on a pull request of GitHub or GitLab, and one issue; later runs update them in place."""
