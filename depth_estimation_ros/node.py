"""The lifecycle node that turns a camera's images into metric depth."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long enough for a Ctrl-C
    from depth_estimation_ros import entry

    entry.node()

import threading
import time
from collections.abc import Callable

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from depth_estimation_ros.backends import EngineLostError
from depth_estimation_ros.parameters import declare
from depth_estimation_ros.runtime.diagnostics import diagnose
from depth_estimation_ros.runtime.pace import Pace
from depth_estimation_ros.runtime.program import run_program
from depth_estimation_ros.runtime.services import Services
from depth_estimation_ros.runtime.session import Load, Loading, Session, load_estimator
from depth_estimation_ros.runtime.start_errors import START_ERRORS, sentence
from depth_estimation_ros.runtime.states import Active, Configuring, Empty, Faulted, Inactive
from depth_estimation_ros.runtime.statistics import Statistics
from depth_estimation_ros.runtime.stream import Stream
from depth_estimation_ros.runtime.transitions import answer_impossible_transitions, transition
from depth_estimation_ros.settings import DECLARATIONS, Effect

SHUTDOWN_PATIENCE = 1.0
"""Seconds that a program told to end waits for the frame in work: a call of the engine cannot be broken off."""

PROGRESS_SECONDS = 10.0
"""The log says so often how far the building of an engine is."""


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
        self._stopping, self._load_estimator = stopping, load
        self._reports, self._meanwhile = Pace(), self._report_each_second
        self._state = Empty("unconfigured")
        self._reported = self.statistics.snapshot()
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
        # A steady clock: silence must be noticed while simulated time stands still as well.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._report, clock=steady)
        answer_impossible_transitions(self, lambda: self._state.label)
        Services(self)

    def start(self, spin: Callable[[], None]) -> bool:
        """
        Configure and activate.

        Parameters
        ----------
        spin : callable
            Called a few times a second meanwhile, so that timer and services answer.

        Returns
        -------
        bool
            Whether both succeeded.
        """
        success = TransitionCallbackReturn.SUCCESS
        self._meanwhile = spin
        try:
            return self.trigger_configure() == success and self.trigger_activate() == success
        finally:
            self._meanwhile = self._report_each_second

    def finish(self) -> None:
        """Shut down from whatever state the node is in."""
        if self._state.label != "finalized":
            self.trigger_shutdown()

    @property
    def session(self) -> Session | None:
        """The loaded model; None where none is."""
        return getattr(self._state, "session", None)

    def reload(self) -> str:
        """
        Load the model of the settings anew, and go on with it in the state that the node is in.

        Returns
        -------
        str
            Which it is.

        Raises
        ------
        ValueError, BackendError
            If none is loaded, or the new one cannot be: then the old one stays.
        """
        if self.session is None:
            raise ValueError("no model is loaded: configure the node first")
        session, before = self._load(Loading(self.get_logger().info)), self._state
        try:
            session.check(self.settings)
        except ValueError:
            session.close()
            raise
        if isinstance(before, Active):
            before.stream.close()
            self._state = Active("active", session, Stream(self, session))
        else:
            self._state = Inactive("inactive", session)
        before.session.close()
        return str(session)

    @transition
    def on_configure(self) -> None:
        """Load the model and warm it up; an engine is built before, which may take minutes the first time."""
        self._state = Configuring("configuring", Loading(self.get_logger().info))
        try:
            session = self._load(self._state.loading)
        except Exception as error:
            self._state = Faulted("unconfigured", str(error) or "interrupted")
            raise
        self._state = Inactive("inactive", session)

    @transition
    def on_activate(self) -> None:
        """Create the topics and begin to process frames."""
        session = self._state.session
        session.check(self.settings)
        self._state = Active("active", session, Stream(self, session))

    @transition
    def on_deactivate(self) -> None:
        """Finish the frame in work and remove the topics."""
        session = self._state.session
        self._state.stream.close()
        self._state = Inactive("inactive", session)
        if session.lost:
            raise EngineLostError(session.lost)

    @transition
    def on_cleanup(self) -> None:
        """Drop the model."""
        self._release("unconfigured")

    @transition
    def on_shutdown(self) -> None:
        """Give everything back and say what became of all frames."""
        configured = isinstance(self._state, Inactive)
        self._release("finalized")
        if configured:
            self.get_logger().info(str(self.statistics.snapshot()))

    @transition
    def on_error(self) -> None:
        """Give everything back, to start anew."""
        fault = self._state.session.lost if isinstance(self._state, Inactive) else ""
        self._release("unconfigured")
        if fault:
            self._state = Faulted("unconfigured", fault)

    def _load(self, loading: Loading) -> Session:
        """Load a model, and say meanwhile how far that is."""
        lines, logger = Pace(), self.get_logger()
        lines.take(time.monotonic(), 1 / PROGRESS_SECONDS)

        def waiting() -> None:
            self._meanwhile()
            if lines.take(time.monotonic(), 1 / PROGRESS_SECONDS):
                logger.info(f"configuring: {loading}")

        session = Session(self.settings, self._stopping, loading, waiting, logger.warning, self._load_estimator)
        logger.info(str(session))
        return session

    def _release(self, label: str) -> None:
        state, self._state = self._state, Empty(label)
        state.close(SHUTDOWN_PATIENCE if self._stopping.is_set() else None)

    def _on_set_parameters(self, parameters) -> SetParametersResult:
        active = isinstance(self._state, Active)
        effects = (Effect.FRAME,) if active else tuple(Effect)
        try:
            settings = self.settings.changed({p.name: p.value for p in parameters}, effects)
            if active:
                self.session.check(settings)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for parameter in parameters:
            declaration = DECLARATIONS.get(parameter.name)
            if declaration and declaration.effect is Effect.CONFIGURE and isinstance(self._state, Inactive):
                self.get_logger().info(f"{parameter.name} takes effect at the {declaration.effect.value}")
        self.settings = settings
        return SetParametersResult(successful=True)

    def _report_each_second(self) -> None:
        """Do what the timer would, while the executor waits for a callback that loads a model."""
        if self._reports.take(time.monotonic(), 1.0):
            self._report()

    def _report(self) -> None:
        """Publish the diagnostics, and leave the active state when its engine is lost."""
        if isinstance(self._state, Active) and self._state.session.lost:
            self.trigger_deactivate()
        now = self.statistics.snapshot()
        name = f"{self.get_fully_qualified_name().lstrip('/')}: depth"
        complaints = self._state.complaints()
        status = diagnose(name, self._state.describe(), now, self._reported, complaints)
        self._reported = now
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def main(args: list[str] | None = None) -> int:
    """
    Run the node until SIGINT or SIGTERM.

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
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if not node.settings.autostart:
            node.get_logger().info("autostart is false: waiting for the transitions configure and activate")
        if node.settings.autostart and not node.start(lambda: executor.spin_once(timeout_sec=0.0)):
            return 0 if stopping.is_set() else 1
        started()
        while not stopping.is_set():
            executor.spin_once(timeout_sec=0.1)
        return 0
    finally:
        node.finish()
        executor.remove_node(node)
        node.destroy_node()
