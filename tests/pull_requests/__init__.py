"""Comments on pull requests, against stand-ins for the APIs of GitHub and GitLab."""
