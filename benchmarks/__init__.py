"""Measurements, to be run by hand with nothing else on the machine: python -m benchmarks.NAME --help"""
