"""The first audit: what is wrong with a data set, and the protocols that follow from it."""

from melascope.audit.protocol import PROTOCOLS, FlowStep, Prepared, apply_protocol, leakage
from melascope.audit.verdict import CHECKS, Audit, audit

__all__ = ["CHECKS", "PROTOCOLS", "Audit", "FlowStep", "Prepared", "apply_protocol", "audit", "leakage"]
