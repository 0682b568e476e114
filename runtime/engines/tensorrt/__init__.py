"""TensorRT: building, caching and running an engine."""
