"""The same pipeline in other servers, each set up as its own documentation recommends.

They run in separate environments; see `benchmarks.service_peers`.
"""
