"""The study's tables and figures: what is trained, at which budget, and what is reported of it."""
