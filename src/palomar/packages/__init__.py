"""Executor packages: checked and read without running anything of them. Pure functions over a seekable file."""
