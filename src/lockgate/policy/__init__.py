"""The policy, ``lockgate.yaml``: which artifact, metrics, predictions, gates and environments a repository has.

Everything is checked when the file is read, so that the rest of the program can trust it: a gate never names a metric
that the policy does not declare. What the *repository* lacks (a metrics file, a column) shows where it is
looked for.

Each section of the file is a module of its own; :mod:`lockgate.policy.document` puts them together and says how a
section is added.
"""

from lockgate.policy.alarms import AlarmSettings
from lockgate.policy.data import Table
from lockgate.policy.dependencies import Dependencies
from lockgate.policy.document import NoPolicy, Policy, json_schema, older_words, read_models, read_policy
from lockgate.policy.environments import Environment
from lockgate.policy.importance import ImportanceFile
from lockgate.policy.metrics import ASSUMED, AVERAGES, OF_A_CLASS, OF_KIND, STATISTICS, Average, Kind, Metric, Statistic
from lockgate.policy.models import Models, NoSuchModel, SeveralModels, plain
from lockgate.policy.operating_point import OperatingAt
from lockgate.policy.outcomes import OutcomeSettings
from lockgate.policy.plots import Drawn, Plot
from lockgate.policy.predictions import Interval, Predictions, Probabilities
from lockgate.policy.rebuild import Rebuilding, Tolerance, check_rebuild
from lockgate.policy.reference import ReferenceSettings
from lockgate.policy.request_parts import RequestPart
from lockgate.policy.retrain import Retraining
from lockgate.policy.serving import Serving
from lockgate.policy.stages import Stages
from lockgate.policy.staleness import Staleness
from lockgate.policy.test_set import TestSet
from lockgate.policy.train import Training
from lockgate.policy_values import FILE, PolicyError

__all__ = [
    "ASSUMED",
    "AVERAGES",
    "FILE",
    "OF_A_CLASS",
    "OF_KIND",
    "STATISTICS",
    "AlarmSettings",
    "Average",
    "Dependencies",
    "Drawn",
    "Environment",
    "ImportanceFile",
    "Interval",
    "Kind",
    "Metric",
    "Models",
    "NoPolicy",
    "NoSuchModel",
    "OperatingAt",
    "OutcomeSettings",
    "Plot",
    "Policy",
    "PolicyError",
    "Predictions",
    "Probabilities",
    "Rebuilding",
    "ReferenceSettings",
    "RequestPart",
    "Retraining",
    "Serving",
    "SeveralModels",
    "Stages",
    "Staleness",
    "Statistic",
    "Table",
    "TestSet",
    "Tolerance",
    "Training",
    "check_rebuild",
    "json_schema",
    "older_words",
    "plain",
    "read_models",
    "read_policy",
]
