"""
The states of a node, each an object that holds what exists in it.

Which of them it is, the lifecycle says; its transitional states share these. What went wrong last is part of a state,
so that it stays visible until the node leaves it by a transition that succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from depth_estimation_ros.backends import Backend, facts
from depth_estimation_ros.nodes.start_errors import sentence
from depth_estimation_ros.runtime.operations import Steps
from depth_estimation_ros.runtime.session import Loading, Session
from depth_estimation_ros.runtime.stream import Ended, Stream
from depth_estimation_ros.settings import Effect, Settings

STUCK = (
    "the engine did not come back from a frame in time (output_timeout) and is given up: configure the node to load it "
    "anew"
)


@dataclass(frozen=True)
class Empty:
    """Unconfigured or finalized: nothing is held."""

    fixed: ClassVar[dict[Effect, str]] = {}
    """Which parameters cannot change, and what to do about that."""

    fault: str = field(default="", kw_only=True)

    def describe(self) -> dict[str, str]:
        """Return what there is to say of the state, by name."""
        return {"fault": self.fault} if self.fault else {}

    def complaints(self) -> list[str]:
        """Return what is wrong with the inputs, one sentence each."""
        return []

    def check(self, settings: Settings) -> None:
        """Raise ValueError if settings ask for what cannot be had in this state."""

    def failed(self, fault: str) -> Empty:
        """Return the state that is left of this one when a transition into it, or out of it, fails."""
        return Empty(fault=fault)

    def close(self, ended: Ended) -> Steps[None]:
        """Give back what is held."""
        yield from ()


@dataclass(frozen=True)
class Configuring(Empty):
    """A model is being loaded, or an engine built, which may take minutes."""

    loading: Loading
    settings: Settings

    def describe(self) -> dict[str, str]:
        """Say what is being done as well."""
        return super().describe() | {"progress": str(self.loading)}

    def check(self, settings: Settings) -> None:
        """Refuse what depends on the model, which is not known yet."""
        if settings.max_relative_deviation not in (0.0, self.settings.max_relative_deviation):
            raise ValueError(
                "max_relative_deviation depends on the model, which is being loaded: try again when the node is "
                "configured"
            )


@dataclass(frozen=True)
class Inactive(Empty):
    """A model is loaded and warm."""

    session: Session

    def describe(self) -> dict[str, str]:
        """Return the model and its engine as well."""
        model, backend = self.session.estimator.model, self.session.estimator.backend
        found = {"model": model.info.name, "model_sha256": model.sha256, "licence": model.info.terms, **_facts(backend)}
        fault = self.session.lost or self.fault
        return super().describe() | found | ({"fault": fault} if fault else {})

    def check(self, settings: Settings) -> None:
        """Ask the model."""
        self.session.check(settings)

    def failed(self, fault: str) -> Inactive:
        """Return this state with a fault: the model stays until it is given back."""
        return Inactive(self.session, fault=fault)

    def go_on_with(self, session: Session, ended: Ended) -> Steps[Inactive]:
        """Come to the same state with another model; the one before is to be closed."""
        yield from ()
        return Inactive(session)

    def close(self, ended: Ended) -> Steps[None]:
        """Drop the model, in the thread that made it; an engine that is stuck is left to itself."""
        dropped = self.session.close()
        if not self.session.given_up:
            yield from ended(dropped)


@dataclass(frozen=True)
class Active(Inactive):
    """Frames are processed."""

    fixed: ClassVar = {
        Effect.ACTIVATE: "while the node is active: deactivate the node first",
        Effect.CONFIGURE: "while the node is active: deactivate and clean up the node first",
    }

    stream: Stream

    def describe(self) -> dict[str, str]:
        """Return how the scale is anchored as well, and the stage that a frame is stuck in."""
        stuck = self.stream.stuck()
        found = super().describe() | self.session.pipeline.anchoring.describe()
        return found | {"fault": stuck} if stuck else found

    def complaints(self) -> list[str]:
        """Ask the stream."""
        return self.stream.complaints()

    def deactivated(self, ended: Ended) -> Steps[Inactive]:
        """Stop the stream; the engine is given up where it does not come back from the frame in work."""
        if not (yield from self.stream.close(ended)):
            self.session.give_up(STUCK)
        return Inactive(self.session)

    def go_on_with(self, session: Session, ended: Ended) -> Steps[Active]:
        """Change the model under the running stream."""
        if not (yield from self.stream.go_on_with(session, ended)):
            self.session.give_up(STUCK)
        return Active(session, self.stream)

    def close(self, ended: Ended) -> Steps[None]:
        """Stop the stream, then drop the model."""
        inactive = yield from self.deactivated(ended)
        yield from inactive.close(ended)


def _facts(backend: Backend) -> dict[str, str]:
    """Return what an engine says of itself; a broken one must not end the diagnostics."""
    try:
        return facts(backend)
    except Exception as error:
        return {"backend": backend.name, "backend_fault": sentence(error)}
