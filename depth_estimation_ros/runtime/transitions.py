"""Lifecycle transitions that end in a sentence, where rclpy would keep silent or end the program."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from depth_estimation_ros.backends import BackendError, EngineLostError

RCLError = rclpy_implementation.RCLError


def transition(change: Callable[[LifecycleNode], None]) -> Callable[..., TransitionCallbackReturn]:
    """Make a transition callback of a method: a mistake is FAILURE with one sentence; a fault, a lost GPU are ERROR."""

    @functools.wraps(change)
    def callback(self: LifecycleNode, _: LifecycleState) -> TransitionCallbackReturn:
        try:
            change(self)
        except EngineLostError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.ERROR
        except (ValueError, BackendError, RCLError) as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        except CancelledError:
            return TransitionCallbackReturn.FAILURE
        except Exception:  # rclpy would swallow it without a word
            self.get_logger().error(traceback.format_exc())
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    return callback


def answer_impossible_transitions(node: LifecycleNode, state: Callable[[], str]) -> None:
    """Let a node's change_state service say no, with the name of the node's state."""
    service = node._service_change_state
    change_state = service.callback

    def answer(request, response):
        try:
            return change_state(request, response)
        except RCLError:
            wanted = request.transition.label or request.transition.id
            node.get_logger().warning(f"no transition {wanted} leads out of the state {state()}")
            response.success = False
            return response

    service.callback = answer
