"""What an operator can ask of a running node, besides its lifecycle: to save a frame, to load the model anew."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

from std_srvs.srv import Trigger

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.runtime.frame_files import DEFAULT_FOLDER, save_frame

if TYPE_CHECKING:
    from depth_estimation_ros.node import DepthEstimationNode


class Services:
    """
    The services ``~/save_frame`` and ``~/reload_model`` (std_srvs/Trigger) of a node.

    Parameters
    ----------
    node : DepthEstimationNode
        Whose services they are.
    """

    def __init__(self, node: DepthEstimationNode):
        self._node = node
        node.create_service(Trigger, "~/save_frame", self._save_frame)
        node.create_service(Trigger, "~/reload_model", self._reload_model)

    def _save_frame(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Write the last processed frame to disk."""
        session = self._node.session
        work = session and session.pipeline.latest
        if not work:
            response.message = "no frame was processed yet: is the node active, and an output subscribed to?"
            return response
        stamp, model = work.header.stamp, session.estimator.model
        notes = {
            "frame_id": work.header.frame_id,
            "stamp": f"{stamp.sec}.{stamp.nanosec:09d}",
            "model": model.info.name,
            "model_sha256": model.sha256,
            "backend": session.estimator.backend.name,
        }
        name = f"{stamp.sec}_{stamp.nanosec:09d}"
        try:
            folder = self._node.settings.save_folder or DEFAULT_FOLDER
            response.message = str(save_frame(folder, name, work.picture, work.enlarged(), notes))
            response.success = True
        except ValueError as error:
            response.message = str(error)
        return response

    def _reload_model(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Load the model of the settings; the old one works until the new one is there, and stays if it cannot be."""
        try:
            response.message = self._node.reload()
            response.success = True
        except CancelledError:
            response.message = "the node is ending"
        except (ValueError, BackendError) as error:
            response.message = str(error)
            self._node.get_logger().error(f"the model was not loaded anew: {error}")
        return response
