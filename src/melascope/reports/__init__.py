"""How things look: figures, and pages that are one self-contained file each."""

from melascope.reports import figures
from melascope.reports.compare_report import compare_report
from melascope.reports.data_report import DataReport, data_report
from melascope.reports.page import Page, Section
from melascope.reports.run_report import RunReport, run_report

__all__ = ["DataReport", "Page", "RunReport", "Section", "compare_report", "data_report", "figures", "run_report"]
