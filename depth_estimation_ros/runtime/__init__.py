"""Internals of the depth estimation node: lifecycle, inputs, frame loop, statistics and diagnostics."""
