"""Model bundles: manifest, digests, signature, and the check of ONNX files."""
