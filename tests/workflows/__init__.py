"""The workflows of GitHub and the jobs of GitLab."""
