"""Scoring data sets, and the figures and pages that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from adsn.evaluation.counterfactual import Counterfactual, Effect
    from adsn.evaluation.evaluate import Scored, Scorer, engine_scorer, network_scorer, report_json, score_set
    from adsn.evaluation.plan import DataPlan, default_plan, read_plan
    from adsn.evaluation.report import html_report

__all__ = [
    "Counterfactual",
    "DataPlan",
    "Effect",
    "Scored",
    "Scorer",
    "default_plan",
    "engine_scorer",
    "html_report",
    "network_scorer",
    "read_plan",
    "report_json",
    "score_set",
]

__getattr__ = lazy_names(
    __name__,
    {
        "counterfactual": (
            "Counterfactual",
            "Effect",
        ),
        "evaluate": (
            "Scored",
            "Scorer",
            "engine_scorer",
            "network_scorer",
            "report_json",
            "score_set",
        ),
        "plan": (
            "DataPlan",
            "default_plan",
            "read_plan",
        ),
        "report": ("html_report",),
    },
)
