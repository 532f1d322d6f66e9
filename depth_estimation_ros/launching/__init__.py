"""Helpers of the launch files: arguments, and the environment of the processes."""
