"""What is wrong with a data set, which of it may be used, and under which label."""

from melascope.audit.policy import Policy, load_policy
from melascope.audit.problems import Found
from melascope.audit.protocol import PROTOCOLS, FlowStep, Prepared, apply_protocol, leakage
from melascope.audit.published import AS_PUBLISHED, as_published
from melascope.audit.verdict import CHECKS, KINDS, Audit, audit

__all__ = [
    "AS_PUBLISHED",
    "CHECKS",
    "KINDS",
    "PROTOCOLS",
    "Audit",
    "FlowStep",
    "Found",
    "Policy",
    "Prepared",
    "apply_protocol",
    "as_published",
    "audit",
    "leakage",
    "load_policy",
]
