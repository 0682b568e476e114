"""HTTP: limits, parsing, problems, OpenAPI, the server."""
