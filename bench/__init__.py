"""Benchmarks: every figure is a ratio or a latency measured in this run, on this machine."""
