"""Score data sets, and produce error rates and report pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from adsn.evaluation.counterfactual import Counterfactual, Effect
    from adsn.evaluation.evaluate import Scored, Scorer, engine_scorer, network_scorer, report_json, score_set
    from adsn.evaluation.plan import DataPlan, default_plan, read_plan
    from adsn.evaluation.report import ReportPage, html_report
    from adsn.evaluation.robustness import RobustnessTest

__all__ = [
    "Counterfactual",
    "DataPlan",
    "Effect",
    "ReportPage",
    "RobustnessTest",
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

__getattr__ = attach(
    __name__,
    {
        "Counterfactual": "adsn.evaluation.counterfactual",
        "DataPlan": "adsn.evaluation.plan",
        "Effect": "adsn.evaluation.counterfactual",
        "ReportPage": "adsn.evaluation.report",
        "RobustnessTest": "adsn.evaluation.robustness",
        "Scored": "adsn.evaluation.evaluate",
        "Scorer": "adsn.evaluation.evaluate",
        "default_plan": "adsn.evaluation.plan",
        "engine_scorer": "adsn.evaluation.evaluate",
        "html_report": "adsn.evaluation.report",
        "network_scorer": "adsn.evaluation.evaluate",
        "read_plan": "adsn.evaluation.plan",
        "report_json": "adsn.evaluation.evaluate",
        "score_set": "adsn.evaluation.evaluate",
    },
)
