"""The report of an evaluation: a page for people, JSON and CSV for programs, figures as pictures."""

from depth_estimation_ros.evaluation.report.files import check_installed, write_report
from depth_estimation_ros.evaluation.report.picture import Picture

__all__ = ["Picture", "check_installed", "write_report"]
