"""The states of the lifecycle, each an object that holds what exists in it."""

from __future__ import annotations

from dataclasses import dataclass

from depth_estimation_ros.backends import facts
from depth_estimation_ros.runtime.session import Loading, Session
from depth_estimation_ros.runtime.stream import Stream


@dataclass(frozen=True)
class Empty:
    """Unconfigured or finalized: nothing is held."""

    label: str

    def describe(self) -> dict[str, str]:
        """Return what there is to say of the state, by name."""
        return {"state": self.label}

    def complaints(self) -> list[str]:
        """Return what is wrong with the inputs, one sentence each."""
        return []

    def close(self, patience: float | None = None) -> None:
        """Give back what is held, waiting at most `patience` seconds for a frame in work."""


@dataclass(frozen=True)
class Faulted(Empty):
    """Unconfigured again, since something went wrong."""

    fault: str

    def describe(self) -> dict[str, str]:
        """Say what went wrong as well."""
        return super().describe() | {"fault": self.fault}


@dataclass(frozen=True)
class Configuring(Empty):
    """A model is being loaded, or an engine built, which may take minutes."""

    loading: Loading

    def describe(self) -> dict[str, str]:
        """Say what is being done as well."""
        return super().describe() | {"progress": str(self.loading)}


@dataclass(frozen=True)
class Inactive(Empty):
    """Configured: a model is loaded and warm."""

    session: Session

    def describe(self) -> dict[str, str]:
        """Return the model and its engine as well."""
        model, backend = self.session.estimator.model, self.session.estimator.backend
        found = {"model": model.info.name, "model_sha256": model.sha256, **facts(backend)}
        return super().describe() | found

    def close(self, patience: float | None = None) -> None:
        """Drop the model."""
        self.session.close()


@dataclass(frozen=True)
class Active(Inactive):
    """Frames are processed."""

    stream: Stream

    def describe(self) -> dict[str, str]:
        """Return how the scale is anchored as well, and the stage that a frame is stuck in."""
        stuck = self.stream.stuck()
        found = super().describe() | self.session.pipeline.anchoring.describe()
        return found | {"fault": stuck} if stuck else found

    def complaints(self) -> list[str]:
        """Ask the stream."""
        return self.stream.complaints()

    def close(self, patience: float | None = None) -> None:
        """Stop the stream, then drop the model."""
        self.session.close(wait=self.stream.close(patience))
