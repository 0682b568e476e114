"""HTTP: limits, parsing, problem documents, OpenAPI, and the server."""

from service.http.problem_document import Problem, camera_views, problem_body
from service.http.problems import RequestError, problem, problem_of
from service.http.responses import add_error_handlers, json_response
from service.http.server import Server

__all__ = [
    "Problem",
    "RequestError",
    "Server",
    "add_error_handlers",
    "camera_views",
    "json_response",
    "problem",
    "problem_body",
    "problem_of",
]
