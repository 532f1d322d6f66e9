"""Comparison of the claims of the study with the results, computed from the figures."""

from __future__ import annotations

from dataclasses import dataclass

from training.experiments.results import Difference, Result, difference


@dataclass(frozen=True)
class Finding:
    """
    Comparison of a claim with the results.

    Parameters
    ----------
    claim : str
        Claim of the study, or the question.
    agrees : bool or None
        Whether the results agree; None if they do not decide.
    evidence : str
        Figures that show it.
    """

    claim: str
    agrees: bool | None
    evidence: str

    def __str__(self) -> str:
        """Return a line of Markdown."""
        verdict = {True: "agrees", False: "does not agree", None: "not decided"}[self.agrees]
        return f"- {self.claim} **{verdict}**: {self.evidence}"


def _better(claim: str, winner: Result, loser: Result) -> Finding:
    """Compare the claim that ``winner`` has the smaller AbsRel with the results."""
    apart = difference(winner, loser)
    return Finding(claim, _verdict(apart), f"AbsRel of {winner.title} less that of {loser.title} is {apart}")


def _verdict(apart: Difference) -> bool | None:
    return apart.mean < 0 if apart.decided else None


def table1_findings(results: dict[str, Result]) -> list[Finding]:
    """Check the claims about the four networks: the residual network is best, and CNN+FC over-fits."""
    residual, coarse = results["residual"], results["cnn_fc"]
    found = [
        _better(f"The residual network is better than {results[name].title}:", residual, results[name])
        for name in ("cnn_fc", "pure_cnn", "cnn_transpose")
    ]
    others = [r for name, r in results.items() if name != "cnn_fc"]
    gaps = ", ".join(f"{r.title} {r.gap:.2f}" for r in results.values())
    losses = ", ".join(f"{r.title} {r.loss_gap:.2f}" for r in results.values())
    found.append(
        Finding(
            "The fully connected layers over-fit, more than any other network:",
            all(coarse.gap > r.gap for r in others),
            f"AbsRel on test frames over that on training frames is {gaps}",
        )
    )
    found.append(
        Finding(
            "The same after the last epoch:",
            all(coarse.loss_gap > r.loss_gap for r in others),
            f"the loss on held-out frames over that in training (with dropout) is {losses}",
        )
    )
    return found


def table3_findings(results: dict[str, Result]) -> list[Finding]:
    """Check the claim about the two unpoolings: averages give a smoother depth map."""
    zeros, average = results["residual"], results["residual_average"]
    amplitudes = "; ".join(
        f"{r.title} " + ", ".join(f"{a:.2%} at period {p}" for p, a in r.grid.items()) for r in (zeros, average)
    )
    return [
        Finding(
            "Average unpooling smooths the grid that zeros leave:",
            sum(average.grid.values()) < sum(zeros.grid.values()),
            f"amplitude of the grid relative to depth: {amplitudes}",
        ),
        _better("Average unpooling is the more accurate:", average, zeros),
    ]


def table4_findings(results: dict[str, Result]) -> list[Finding]:
    """Check the claim about the initialisations: transferred weights help."""
    random, *transferred = results.values()
    return [_better(f"Transfer helps ({r.title}):", r, random) for r in transferred]


def losses_findings(results: dict[str, Result]) -> list[Finding]:
    """Compare the losses with the mean squared error."""
    squared, *others = results.values()
    return [_better(f"{r.title} gives a smaller AbsRel than {squared.title}:", r, squared) for r in others]
