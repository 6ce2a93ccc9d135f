"""Where base images come from: a folder, an archive, another registry."""
