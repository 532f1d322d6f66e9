"""Evaluation of the running node with a bag that is played back."""
