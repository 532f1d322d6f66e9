"""Lifecycle node that estimates metric depth from the images of one camera."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import CancelledError, Future

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from std_srvs.srv import Trigger

from depth_estimation_ros.backends import EngineLostError
from depth_estimation_ros.parameters.declaration import Effect
from depth_estimation_ros.parameters.declare import declare
from depth_estimation_ros.runtime.diagnostics import diagnose
from depth_estimation_ros.runtime.loading import load_session
from depth_estimation_ros.runtime.operations import BusyError, Operations, Steps
from depth_estimation_ros.runtime.services import save_latest
from depth_estimation_ros.runtime.session import Load, Loading, Session, load_estimator
from depth_estimation_ros.runtime.states import Active, Configuring, Empty, Inactive
from depth_estimation_ros.runtime.statistics import Statistics
from depth_estimation_ros.runtime.stream import Stream
from depth_estimation_ros.runtime.transitions import (
    RELOAD,
    TRANSITIONS,
    answer_change_state,
    change_state,
    report,
    transition,
)
from depth_estimation_ros.settings import Settings

FAILURE = TransitionCallbackReturn.FAILURE


class DepthEstimationNode(LifecycleNode):
    """
    Lifecycle node that publishes metric depth, a coloured cloud and a laser scan from the images of one camera.

    All names but those with a leading slash are relative: remap them, or put the node into the camera's namespace.

    Subscriptions, while active
        ``image`` (sensor_msgs/Image): colour or grey images in any encoding that `conversions` supports.

        ``image/compressed`` (sensor_msgs/CompressedImage): used instead of ``image`` if ``image_transport`` is
        compressed. It follows the remapping of ``image``.

        ``camera_info`` (sensor_msgs/CameraInfo): intrinsics. The message with the image's stamp is used, otherwise the
        newest one.

        ``anchor/scan`` (sensor_msgs/LaserScan), ``anchor/points`` (PointCloud2) or ``anchor/range`` (Range): measured
        distances, if the parameter ``anchor`` selects them.

        ``/tf``, ``/tf_static``: only if an output needs the camera's pose.

    Publishers, while active. Stamp and frame id are those of the image. Outputs without subscribers are not computed
        ``depth/image`` (sensor_msgs/Image): depth along the optical axis (REP 118), rectified.

        ``depth/camera_info`` (sensor_msgs/CameraInfo): the intrinsics of ``depth/image``.

        ``depth/points`` (sensor_msgs/PointCloud2): cloud with x, y, z and rgb in the optical frame. It is organised
        unless ``cloud_voxel_size`` is set.

        ``depth/scan`` (sensor_msgs/LaserScan): nearest obstacle in each direction (REP 117), in ``base_frame``.

        ``depth/scale`` (geometry_msgs/Vector3Stamped): x is the factor by which the anchor scales depth, y its relative
        standard deviation, z its confidence from 0 to 1.

        ``depth/preview`` (sensor_msgs/Image): camera image and colour-mapped depth, for people.

        ``depth/latency`` (std_msgs/Float32MultiArray): milliseconds of each stage in `stopwatch.STAGES`, for plots.

    Publishers, in all states
        ``/diagnostics`` (diagnostic_msgs/DiagnosticArray): frame counts, rate and times, once a second.

    Services, in all states
        ``~/save_frame`` (std_srvs/Trigger): saves the last frame to ``save_folder``.

        ``~/reload_model`` (std_srvs/Trigger): reloads the model file. If that fails, the old model stays in use.

    The ROS parameters are those of `settings.Settings`; ``config/depth_estimation.yaml`` describes them.

    Every received frame is counted as published, superseded or failed (`statistics.Snapshot`).

    Parameters
    ----------
    stopping : threading.Event
        Event that the signal handler sets to end the program. Long waits check it.
    load : callable
        Function that makes the estimator (`session.Load`).
    others : collection of str
        Parameters of other nodes in the same process.
    **kwargs
        Passed to the constructor of rclpy's ``LifecycleNode``.

    Raises
    ------
    ValueError
        If the initial value of a parameter is not allowed.
    """

    def __init__(self, stopping: threading.Event, load: Load = load_estimator, others: Collection[str] = (), **kwargs):
        super().__init__("depth_estimation", **kwargs)
        self.settings = declare(self, Settings, others=others)
        self.statistics = Statistics()
        self.operations = Operations(self, stopping)
        self._load_estimator = load
        self._state: Empty = Empty()
        self._reported = self.statistics.snapshot()
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
        # A steady clock, because missing inputs must be noticed even while simulated time stands still.
        self.create_timer(1.0, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))
        answer_change_state(self, self.operations)
        self.create_service(Trigger, "~/save_frame", self._on_save_frame)
        alone = ReentrantCallbackGroup()  # other callbacks run while this one waits
        self.create_service(Trigger, "~/reload_model", self._on_reload_model, callback_group=alone)

    def start(self, spin: Callable[[], None]) -> bool:
        """
        Configure and activate the node.

        Parameters
        ----------
        spin : callable
            Function called repeatedly while this method waits, so that timers and services run.

        Returns
        -------
        bool
            Whether both succeeded.
        """
        for number in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            done = self.operations.begin(TRANSITIONS[number], change_state(self, number))
            if self.operations.complete(done, spin) != TransitionCallbackReturn.SUCCESS:
                if not self.operations.to_end:
                    self._report()
                return False
        return True

    def finish(self, spin: Callable[[], None] = lambda: None) -> None:
        """
        Cancel the running operation and shut the node down from its present state.

        Parameters
        ----------
        spin : callable
            Function called repeatedly while this method waits, so that waiting service clients get their answer.
        """
        if self.operations.running:
            self.operations.complete(self.operations.break_off(), spin)
            spin()
        if self._label != "finalized":
            self.trigger_shutdown()

    @property
    def _label(self) -> str:
        """Name of the lifecycle state."""
        return self._state_machine.current_state[1]

    @property
    def session(self) -> Session | None:
        """Session of the loaded model, or None."""
        return self._state.session if isinstance(self._state, Inactive) else None

    def fail(self, fault: str) -> None:
        """Keep a fault for the diagnostics until a transition succeeds."""
        self._state = self._state.failed(fault)

    @transition(FAILURE)
    def on_configure(self) -> Steps[None]:
        """Load the model and warm it up. Building an engine the first time may take minutes."""
        loading = Loading(self.get_logger().info)
        self._state = Configuring(loading, self.settings)
        session = yield from self._load(loading, "configuring")
        self._state = Inactive(session)

    @transition(FAILURE)
    def on_activate(self) -> Steps[None]:
        """Create the topics and start to process frames."""
        yield from ()  # makes this a generator; it does not wait
        assert isinstance(self._state, Inactive)  # by the lifecycle
        session = self._state.session
        if session.lost:
            raise EngineLostError(session.lost)
        self._state = Active(session, Stream(self, lambda: self.settings, self.statistics, session))

    @transition()
    def on_deactivate(self) -> Steps[None]:
        """Finish the current frame and remove the topics."""
        active = self._state
        assert isinstance(active, Active)  # by the lifecycle
        self._state = Inactive(active.session, fault=active.stream.stuck())
        self._state = yield from active.deactivated(self._patiently)
        if lost := active.session.lost:
            raise EngineLostError(lost)

    @transition()
    def on_cleanup(self) -> Steps[None]:
        """Release the model. An earlier fault stays in the diagnostics."""
        yield from self._release(self._state.fault)

    @transition(FAILURE)
    def on_shutdown(self) -> Steps[None]:
        """Release all resources and log the frame counts."""
        configured = self.session is not None
        yield from self._release()
        if configured:
            self.get_logger().info(str(self.statistics.snapshot()))

    @transition()
    def on_error(self) -> Steps[None]:
        """Release all resources, so that the node can be configured again. The fault stays in the diagnostics."""
        yield from self._release(self._state.fault)

    def _reload(self) -> Steps[tuple[bool, str]]:
        """
        Reload the model and use it in the node's present state.

        The old model works until the new one is loaded, and stays if loading fails.

        Returns
        -------
        success : bool
            Whether the new model is in use.
        message : str
            Description of the new session, or the reason of the failure.
        """
        try:
            if not isinstance(self._state, Inactive):
                raise ValueError("no model is loaded: configure the node first")
            session = yield from self._load(Loading(self.get_logger().info), "reloading the model")
        except CancelledError:
            return False, "the reload was cancelled, because the node changes its state or ends"
        except Exception as error:
            return False, report(self, error, "the model was not reloaded: ")
        state = self._state
        assert isinstance(state, Inactive)  # a transition would have ended this operation
        self._state = yield from state.go_on_with(session, self._patiently)
        yield from Inactive(state.session).close(self._patiently)
        return True, str(session)

    def _load(self, loading: Loading, what: str) -> Steps[Session]:
        warn = self.get_logger().warning
        return load_session(
            self.operations, lambda: self.settings, loading=loading, warn=warn, load=self._load_estimator, what=what
        )

    def _release(self, fault: str = "") -> Steps[None]:
        """Release all resources of the present state."""
        before, self._state = self._state, Empty(fault=fault)
        yield from before.close(self._patiently)

    def _patiently(self, work: Future) -> Steps[bool]:
        """Wait for an engine's work, but no longer than `Settings.patience`."""
        return self.operations.ended(work, self.settings.patience)

    async def _on_reload_model(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.success, response.message = await self.operations.begin(RELOAD, self._reload())
        except BusyError as error:
            response.message = str(error)
        return response

    def _on_save_frame(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.message = str(save_latest(self.session, self.settings.save_folder))
            response.success = True
        except Exception as error:
            response.message = report(self, error)
        return response

    def _on_set_parameters(self, parameters) -> SetParametersResult:
        try:
            settings = self.settings.changed({p.name: p.value for p in parameters}, self._fixed())
            self._state.check(settings)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        before, after = self.settings.values(), settings.values()
        for name, declaration in Settings.declarations().items():
            if before[name] != after[name] and declaration.effect is Effect.CONFIGURE and self.session:
                self.get_logger().info(f"{name} takes effect at the {declaration.effect.value}")
        self.settings = settings
        return SetParametersResult(successful=True)

    def _fixed(self) -> dict[Effect, str]:
        """Return the effects whose parameters cannot change now, each with the reason and what to do."""
        fixed = {Effect.START: "while the node runs: restart it with another value", **self._state.fixed}
        if self.operations.running:
            busy = f"while the node is busy with {self.operations.running}: try again when it has ended"
            fixed |= dict.fromkeys((Effect.ACTIVATE, Effect.CONFIGURE), busy)
        return fixed

    def _report(self) -> None:
        """Publish the diagnostics, and deactivate the node if its engine is lost."""
        if isinstance(self._state, Active) and self._state.session.lost and not self.operations.running:
            self.operations.begin("deactivate", change_state(self, Transition.TRANSITION_DEACTIVATE))
        now = self.statistics.snapshot()
        name = f"{self.get_fully_qualified_name().lstrip('/')}: depth"
        complaints = self._state.complaints()
        busy = {"busy": self.operations.running} if self.operations.running else {}
        state = {"state": self._label} | busy | self._state.describe()
        status = diagnose(name, state, now=now, before=self._reported, complaints=complaints)
        self._reported = now
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)
