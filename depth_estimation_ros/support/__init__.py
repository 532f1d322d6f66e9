"""Helpers used by all packages: atomic file writes, text for users, advice on missing packages, child processes."""
