"""Benchmarks: latency, CPU time, and memory over hours."""
