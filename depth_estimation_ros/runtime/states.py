"""
States of the node; each one is an object that holds the resources of that state.

The lifecycle determines which state object the node has; transitional states share these objects. The last fault is
part of the state, so that diagnostics show it until a transition succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from depth_estimation_ros.backends import Backend, facts
from depth_estimation_ros.nodes.start_errors import sentence
from depth_estimation_ros.parameters.declaration import Effect
from depth_estimation_ros.pipeline.anchoring import SEVERAL
from depth_estimation_ros.runtime.operations import Steps
from depth_estimation_ros.runtime.session import Loading, Session
from depth_estimation_ros.runtime.stream import Ended, Stream
from depth_estimation_ros.settings import Settings

STUCK = (
    "the engine did not return from a frame within output_timeout and is not used any more: configure the node to load "
    "the model again"
)


@dataclass(frozen=True)
class Empty:
    """State "unconfigured" or "finalized", without resources."""

    fixed: ClassVar[dict[Effect, str]] = {}
    """Effects whose parameters cannot change in this state, each with the reason and what to do."""

    fault: str = field(default="", kw_only=True)

    def describe(self) -> dict[str, str]:
        """Return facts about the state by name, for diagnostics."""
        return {"fault": self.fault} if self.fault else {}

    def complaints(self) -> list[str]:
        """Return the problems of the inputs, one sentence each."""
        return []

    def check(self, settings: Settings) -> None:
        """Raise ValueError if the settings are not possible in this state."""

    def failed(self, fault: str) -> Empty:
        """Return the state that follows when a transition into this state, or out of it, fails."""
        return Empty(fault=fault)

    def close(self, ended: Ended) -> Steps[None]:
        """Release the state's resources."""
        yield from ()


@dataclass(frozen=True)
class Configuring(Empty):
    """State while a model is loaded or an engine is built, which may take minutes."""

    loading: Loading
    settings: Settings

    def describe(self) -> dict[str, str]:
        """Return also the progress."""
        return super().describe() | {"progress": str(self.loading)}

    def check(self, settings: Settings) -> None:
        """Raise ValueError for settings that depend on the model, which is not known yet."""
        if settings.filter.max_relative_deviation not in (0.0, self.settings.filter.max_relative_deviation):
            raise ValueError(
                "max_relative_deviation depends on the model, which is being loaded: try again when the node is "
                "configured"
            )
        if settings.anchor.reference not in SEVERAL and self.settings.anchor.reference in SEVERAL:
            raise ValueError(
                f"whether anchor can be {settings.anchor.reference} depends on the model, which is being loaded: try "
                "again when the node is configured"
            )


@dataclass(frozen=True)
class Inactive(Empty):
    """State with a loaded and warmed-up model."""

    session: Session

    def describe(self) -> dict[str, str]:
        """Return also facts about the model and its engine."""
        model, backend = self.session.estimator.model, self.session.estimator.backend
        found = {"model": model.info.name, "model_sha256": model.sha256, "licence": model.info.terms, **_facts(backend)}
        fault = self.session.lost or self.fault
        return super().describe() | found | ({"fault": fault} if fault else {})

    def check(self, settings: Settings) -> None:
        """Raise ValueError if the model does not support the settings."""
        self.session.check(settings)

    def failed(self, fault: str) -> Inactive:
        """Return this state with a fault; the model stays loaded until it is released."""
        return Inactive(self.session, fault=fault)

    def go_on_with(self, session: Session, ended: Ended) -> Steps[Inactive]:
        """Return the same state with another model; the caller closes the old one."""
        yield from ()
        return Inactive(session)

    def close(self, ended: Ended) -> Steps[None]:
        """Release the model in the thread that made it, without waiting for a stuck engine."""
        dropped = self.session.close()
        if not self.session.given_up:
            yield from ended(dropped)


@dataclass(frozen=True)
class Active(Inactive):
    """State in which frames are processed."""

    fixed: ClassVar = {
        Effect.ACTIVATE: "while the node is active: deactivate the node first",
        Effect.CONFIGURE: "while the node is active: deactivate and clean up the node first",
    }

    stream: Stream

    def describe(self) -> dict[str, str]:
        """Return also facts about the anchor, and the stage in which a frame is stuck."""
        stuck = self.stream.stuck()
        found = super().describe() | self.session.pipeline.anchoring.describe()
        return found | {"fault": stuck} if stuck else found

    def complaints(self) -> list[str]:
        """Return the problems of the stream, one sentence each."""
        return self.stream.complaints()

    def deactivated(self, ended: Ended) -> Steps[Inactive]:
        """Stop the stream; give the engine up if it does not return from the current frame."""
        if not (yield from self.stream.close(ended)):
            self.session.give_up(STUCK)
        return Inactive(self.session)

    def go_on_with(self, session: Session, ended: Ended) -> Steps[Active]:
        """Replace the model while the stream is running."""
        if not (yield from self.stream.go_on_with(session, ended)):
            self.session.give_up(STUCK)
        return Active(session, self.stream)

    def close(self, ended: Ended) -> Steps[None]:
        """Stop the stream, then release the model."""
        inactive = yield from self.deactivated(ended)
        yield from inactive.close(ended)


def _facts(backend: Backend) -> dict[str, str]:
    """Return an engine's facts; an error in a broken engine is reported as a fact, so that diagnostics continue."""
    try:
        return facts(backend)
    except Exception as error:
        return {"backend": backend.name, "backend_fault": sentence(error)}
