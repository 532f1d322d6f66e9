"""
Lifecycle transitions that do not block the node, and report errors in one sentence.

rclpy runs a transition inside the ``change_state`` callback: the node would answer nothing else until the model is
loaded, and an exception would be lost. Here each transition callback is a step-by-step operation (`operations`), and
the service is a coroutine that awaits its end.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any, Protocol

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from depth_estimation_ros.backends import BackendError, EngineLostError
from depth_estimation_ros.nodes.start_errors import sentence
from depth_estimation_ros.runtime.operations import BusyError, Operations, Steps

RCLError = rclpy_implementation.RCLError

TRANSITIONS = {
    Transition.TRANSITION_CONFIGURE: "configure",
    Transition.TRANSITION_CLEANUP: "cleanup",
    Transition.TRANSITION_ACTIVATE: "activate",
    Transition.TRANSITION_DEACTIVATE: "deactivate",
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: "shutdown",
    Transition.TRANSITION_INACTIVE_SHUTDOWN: "shutdown",
    Transition.TRANSITION_ACTIVE_SHUTDOWN: "shutdown",
}
"""Names of the transitions that can be requested, by id."""

RELOAD = "reload_model"
"""Name of the reload operation. It is not a transition, and any transition cancels it."""

_CALLBACKS = {
    State.TRANSITION_STATE_CONFIGURING: "on_configure",
    State.TRANSITION_STATE_CLEANINGUP: "on_cleanup",
    State.TRANSITION_STATE_ACTIVATING: "on_activate",
    State.TRANSITION_STATE_DEACTIVATING: "on_deactivate",
    State.TRANSITION_STATE_SHUTTINGDOWN: "on_shutdown",
    State.TRANSITION_STATE_ERRORPROCESSING: "on_error",
}

_EXPECTED = (ValueError, BackendError, RCLError, OSError, MemoryError)
"""Errors caused by the user, the model file or the machine. Others are bugs and are logged with a traceback."""


class Managed(Protocol):
    """Interface that transitions need of a node."""

    operations: Operations

    def get_logger(self) -> Any:
        """Return the logger, as every node of rclpy does."""

    def fail(self, fault: str) -> None:
        """Keep a fault in the node's state, for the diagnostics."""


def report(node: Managed, error: Exception, doing: str = "") -> str:
    """Log an error, with a traceback if it is unexpected, and return it as one sentence."""
    found = sentence(error)
    node.get_logger().error(doing + found)
    if not isinstance(error, _EXPECTED):
        node.get_logger().error("".join(traceback.format_exception(error)))
    return found


def transition(failure: TransitionCallbackReturn = TransitionCallbackReturn.ERROR) -> Callable:
    """
    Turn a generator method into a transition callback.

    An exception is kept as the node's fault. A lost engine returns ERROR, after which ``on_error`` releases all
    resources.

    Parameters
    ----------
    failure : TransitionCallbackReturn
        Result for any other exception: FAILURE if the method undoes what it began, otherwise ERROR.
    """

    def decorate(change: Callable[[Managed], Steps[None]]) -> Callable[..., TransitionCallbackReturn]:
        def steps(self: Managed) -> Steps[TransitionCallbackReturn]:
            try:
                yield from change(self)
            except CancelledError:
                self.fail("interrupted")
                return failure
            except Exception as error:
                self.fail(report(self, error))
                return TransitionCallbackReturn.ERROR if isinstance(error, EngineLostError) else failure
            return TransitionCallbackReturn.SUCCESS

        @functools.wraps(change)
        def callback(self: Managed, _: LifecycleState) -> TransitionCallbackReturn:
            """Run the whole transition, for the ``trigger_...`` methods of rclpy's node."""
            return self.operations.complete(self.operations.begin(change.__name__, steps(self)), lambda: None)

        callback.steps = steps  # type: ignore[attr-defined] # an attribute of the function, for `change_state`
        return callback

    return decorate


def change_state(node: LifecycleNode, number: int) -> Steps[TransitionCallbackReturn]:
    """
    Run a transition of a node step by step; otherwise like its method ``__change_state``.

    Raises
    ------
    RCLError
        If the transition is not possible in the present state.
    """
    machine = node._state_machine

    def perform() -> Steps[TransitionCallbackReturn]:
        callback = getattr(type(node), _CALLBACKS[machine.current_state[0]])
        outcome = yield from callback.steps(node)
        machine.trigger_transition_by_label(outcome.to_label(), True)
        return outcome

    machine.trigger_transition_by_id(number, True)
    outcome = yield from perform()
    if outcome == TransitionCallbackReturn.ERROR:
        yield from perform()
    return outcome


def answer_change_state(node: LifecycleNode, operations: Operations) -> None:
    """Make a node's service ``change_state`` await the end of the transition, or log why it is not possible."""
    machine = node._state_machine

    async def answer(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        wanted = request.transition.label or TRANSITIONS.get(request.transition.id, str(request.transition.id))
        if operations.running == RELOAD or (operations.running and wanted == "shutdown"):
            node.get_logger().info(f"{operations.running} is cancelled: {wanted} was requested")
            await operations.break_off()
        try:
            operations.check_idle()
            number = machine.get_transition_by_label(wanted)
            done = operations.begin(wanted, change_state(node, number))
            response.success = await done == TransitionCallbackReturn.SUCCESS
        except BusyError as error:
            node.get_logger().warning(f"{wanted} is refused: {error}")
        except RCLError:
            node.get_logger().warning(f"the state {machine.current_state[1]} has no transition {wanted}")
        return response

    service = node._service_change_state
    service.callback = answer  # type: ignore[assignment] # rclpy also awaits coroutines, unlike its annotation
    # Reentrant, so that further calls are answered while one waits. The default group would block other callbacks.
    service.callback_group = ReentrantCallbackGroup()
