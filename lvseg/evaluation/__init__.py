"""How well a model outlines the left ventricle: scored in two ways, which docs/evaluation.md defines."""

from lvseg.evaluation.areas import AreaAgreement, area_agreement
from lvseg.evaluation.evaluation import Evaluation, PatientResult, Predict, evaluate
from lvseg.evaluation.results import Overlap, Phase, SliceResult, judge
from lvseg.evaluation.scores import MEASURES, WAYS, AcrossPatients, Scores, Spread, Way, across, score

__all__ = [
    "MEASURES",
    "WAYS",
    "AcrossPatients",
    "AreaAgreement",
    "Evaluation",
    "Overlap",
    "PatientResult",
    "Phase",
    "Predict",
    "Scores",
    "SliceResult",
    "Spread",
    "Way",
    "across",
    "area_agreement",
    "evaluate",
    "judge",
    "score",
]
