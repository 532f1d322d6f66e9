"""The tables and figures of the study: trainings, budgets and reports."""
