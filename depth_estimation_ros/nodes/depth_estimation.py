"""The lifecycle node that turns a camera's images into metric depth."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long enough for a Ctrl-C
    from depth_estimation_ros import entry

    entry.node()

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from std_srvs.srv import Trigger

from depth_estimation_ros.backends import EngineLostError
from depth_estimation_ros.nodes.program import run_program
from depth_estimation_ros.nodes.start_errors import START_ERRORS, sentence
from depth_estimation_ros.parameters import declare
from depth_estimation_ros.runtime.diagnostics import diagnose
from depth_estimation_ros.runtime.executor import Executor
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
from depth_estimation_ros.settings import DECLARATIONS, Effect

FAILURE = TransitionCallbackReturn.FAILURE


class DepthEstimationNode(LifecycleNode):
    """
    Metric depth, and a coloured cloud, from the images of one camera.

    All names are relative: remap them, or put the node into the camera's namespace.

    Subscriptions, while active
        ``image`` (sensor_msgs/Image): colour or grey images of any encoding of `conversions`.

        ``image/compressed`` (sensor_msgs/CompressedImage): instead, where ``image_transport`` is compressed; follows
        the remapping of ``image``.

        ``camera_info`` (sensor_msgs/CameraInfo): their intrinsics, of the same stamp or else the newest.

        ``anchor/scan`` (sensor_msgs/LaserScan), ``anchor/points`` (PointCloud2) or ``anchor/range`` (Range): true
        distances, where ``anchor`` says so.

        ``/tf``, ``/tf_static``: where something needs the camera's pose.

    Publishers, while active; stamp and frame id are the image's, and what nobody subscribes to is not computed
        ``depth/image`` (sensor_msgs/Image): depth along the optical axis (REP 118), rectified.

        ``depth/camera_info`` (sensor_msgs/CameraInfo): the intrinsics of ``depth/image``.

        ``depth/points`` (sensor_msgs/PointCloud2): cloud in the optical frame, x, y, z and rgb; organised unless
        thinned by ``cloud_voxel_size``.

        ``depth/scan`` (sensor_msgs/LaserScan): the nearest obstacle in each direction (REP 117), in ``base_frame``.

        ``depth/scale`` (geometry_msgs/Vector3Stamped): x is the factor that the anchor puts on depth, y its relative
        standard deviation, z the confidence in it, 0 to 1.

        ``depth/preview`` (sensor_msgs/Image): image and depth in colours, for a person.

        ``depth/latency`` (std_msgs/Float32MultiArray): milliseconds of each of `stopwatch.STAGES`, for plots.

    Publishers, always
        ``/diagnostics`` (diagnostic_msgs/DiagnosticArray): once a second, frame counts, rate and times.

    Services, always
        ``~/save_frame`` (std_srvs/Trigger): writes the last frame into ``save_folder``.

        ``~/reload_model`` (std_srvs/Trigger): loads the model's file anew; the old model stays if that fails.

    Its ROS parameters are the fields of `settings.Settings`; ``config/depth_estimation.yaml`` explains them.

    Every received frame is counted as published, superseded or failed (`statistics.Snapshot`).

    Parameters
    ----------
    stopping : threading.Event
        Set from outside when the program is to end; long waits look at it.
    load : callable
        Makes the estimator (`session.Load`).
    others : tuple of str
        Parameters of other nodes of the process.
    **kwargs
        Passed on to rclpy's node.

    Raises
    ------
    ValueError
        If a parameter it is started with is not allowed.
    """

    def __init__(self, stopping: threading.Event, load: Load = load_estimator, others: tuple[str, ...] = (), **kwargs):
        super().__init__("depth_estimation", **kwargs)
        self.settings = declare(self, others)
        self.statistics = Statistics()
        self.operations = Operations(self, stopping)
        self._load_estimator = load
        self._state = Empty()
        self._reported = self.statistics.snapshot()
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
        # A steady clock: silence must be noticed while simulated time stands still as well.
        self.create_timer(1.0, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))
        answer_change_state(self)
        self.create_service(Trigger, "~/save_frame", self._on_save_frame)
        alone = ReentrantCallbackGroup()  # others are answered while this one waits
        self.create_service(Trigger, "~/reload_model", self._on_reload_model, callback_group=alone)

    def start(self, spin: Callable[[], None]) -> bool:
        """
        Configure and activate.

        Parameters
        ----------
        spin : callable
            Called again and again meanwhile, so that timer and services answer.

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
        """End what is under way, with `spin` to answer who waits for it, and shut down from whatever state there is."""
        if self.operations.running:
            self.operations.complete(self.operations.break_off(), spin)
            spin()
        if self._label != "finalized":
            self.trigger_shutdown()

    @property
    def _label(self) -> str:
        """The name of the lifecycle's state."""
        return self._state_machine.current_state[1]

    @property
    def session(self) -> Session | None:
        """The loaded model; None where none is."""
        return getattr(self._state, "session", None)

    def fail(self, fault: str) -> None:
        """Keep what went wrong, until a transition succeeds."""
        self._state = self._state.failed(fault)

    @transition(FAILURE)
    def on_configure(self) -> Steps[None]:
        """Load the model and warm it up; an engine is built before, which may take minutes the first time."""
        loading = Loading(self.get_logger().info)
        self._state = Configuring(loading, self.settings)
        session = yield from self._load(loading, "configuring")
        self._state = Inactive(session)

    @transition(FAILURE)
    def on_activate(self) -> Steps[None]:
        """Create the topics and begin to process frames."""
        yield from ()  # it does not wait
        session = self.session
        if session.lost:
            raise EngineLostError(session.lost)
        self._state = Active(session, Stream(self, lambda: self.settings, self.statistics, session))

    @transition()
    def on_deactivate(self) -> Steps[None]:
        """Finish the frame in work and remove the topics."""
        active, self._state = self._state, Inactive(self.session, fault=self._state.stream.stuck())
        self._state = yield from active.deactivated(self._patiently)
        if lost := self.session.lost:
            raise EngineLostError(lost)

    @transition()
    def on_cleanup(self) -> Steps[None]:
        """Drop the model; what went wrong before stays visible."""
        yield from self._release(self._state.fault)

    @transition(FAILURE)
    def on_shutdown(self) -> Steps[None]:
        """Give everything back and say what became of all frames."""
        configured = self.session is not None
        yield from self._release()
        if configured:
            self.get_logger().info(str(self.statistics.snapshot()))

    @transition()
    def on_error(self) -> Steps[None]:
        """Give everything back, to start anew; what went wrong stays visible."""
        yield from self._release(self._state.fault)

    def _reload(self) -> Steps[tuple[bool, str]]:
        """
        Load the model of the settings anew, and go on with it in the state that the node is in.

        The old one works until the new one is there, and stays if that cannot be had. Comes to whether there is a new
        one, and to which, or why not.
        """
        try:
            if self.session is None:
                raise ValueError("no model is loaded: configure the node first")
            session = yield from self._load(Loading(self.get_logger().info), "loading the model anew")
        except CancelledError:
            return False, "it was broken off: the node is to change its state, or to end"
        except Exception as error:
            return False, report(self, error, "the model was not loaded anew: ")
        before = self.session
        self._state = yield from self._state.go_on_with(session, self._patiently)
        yield from Inactive(before).close(self._patiently)
        return True, str(session)

    def _load(self, loading: Loading, what: str) -> Steps[Session]:
        warn = self.get_logger().warning
        return load_session(self.operations, lambda: self.settings, loading, warn, self._load_estimator, what)

    def _release(self, fault: str = "") -> Steps[None]:
        """Give back all that the state holds."""
        before, self._state = self._state, Empty(fault=fault)
        yield from before.close(self._patiently)

    def _patiently(self, work: Future) -> Steps[bool]:
        """Wait for work of an engine, but not for one that is stuck."""
        return self.operations.ended(work, self.settings.frame_patience)

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
        for name, declaration in DECLARATIONS.items():
            changed = getattr(settings, name) != getattr(self.settings, name)
            if changed and declaration.effect is Effect.CONFIGURE and self.session:
                self.get_logger().info(f"{name} takes effect at the {declaration.effect.value}")
        self.settings = settings
        return SetParametersResult(successful=True)

    def _fixed(self) -> dict[Effect, str]:
        """Return which parameters cannot change now, and until when."""
        fixed = {Effect.START: "while the node runs: start it anew with another value", **self._state.fixed}
        if self.operations.running:
            busy = f"while the node is busy with {self.operations.running}: try again when that has ended"
            fixed |= dict.fromkeys((Effect.ACTIVATE, Effect.CONFIGURE), busy)
        return fixed

    def _report(self) -> None:
        """Publish the diagnostics, and leave the active state when its engine is lost."""
        if isinstance(self._state, Active) and self._state.session.lost and not self.operations.running:
            self.operations.begin("deactivate", change_state(self, Transition.TRANSITION_DEACTIVATE))
        now = self.statistics.snapshot()
        name = f"{self.get_fully_qualified_name().lstrip('/')}: depth"
        complaints = self._state.complaints()
        busy = {"busy": self.operations.running} if self.operations.running else {}
        state = {"state": self._label} | busy | self._state.describe()
        status = diagnose(name, state, now, self._reported, complaints)
        self._reported = now
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def main(args: list[str] | None = None) -> int:
    """
    Run the node until SIGINT, SIGTERM or SIGHUP.

    Returns
    -------
    int
        Exit code: 0 after a signal, 1 if the node could not start.
    """
    return run_program("depth_estimation_node", run_node, args, "max_depth:=5.0")


def run_node(stopping: threading.Event, started: Callable[[], None] = lambda: None, **kwargs) -> int:
    """
    Make a node, and run it in this thread until the program is to end.

    Parameters
    ----------
    stopping : threading.Event
        Set from outside when the program is to end.
    started : callable
        Called once the node is active, or waits for its lifecycle services.
    **kwargs
        Passed on to `DepthEstimationNode`.

    Returns
    -------
    int
        0, or 1 if the node could not start.
    """
    try:
        node = DepthEstimationNode(stopping, **kwargs)
    except START_ERRORS as error:
        name = f"{kwargs.get('namespace', '')}/depth_estimation".strip("/").replace("/", ".")
        rclpy.logging.get_logger(name).fatal(sentence(error))
        return 1
    executor = Executor(node)

    def spin() -> None:
        executor.spin_once(timeout_sec=0.0)

    try:
        if not node.settings.autostart:
            node.get_logger().info("autostart is false: waiting for the transitions configure and activate")
        if node.settings.autostart and not node.start(spin):
            return 0 if stopping.is_set() else 1
        started()
        while not stopping.is_set():
            executor.spin_once(timeout_sec=0.1)
        return 0
    finally:
        node.finish(spin)
        executor.remove_node(node)
        node.destroy_node()
