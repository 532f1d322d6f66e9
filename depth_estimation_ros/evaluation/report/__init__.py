"""Report of an evaluation: an HTML page, JSON and CSV files, and figures."""

from depth_estimation_ros.evaluation.report.picture import Picture
from depth_estimation_ros.evaluation.report.writer import check_installed, write_report

__all__ = ["Picture", "check_installed", "write_report"]
