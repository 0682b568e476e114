"""The same pipeline behind other servers, each as its own documentation would have it.

They run in environments of their own; see `benchmarks.service_peers`.
"""
