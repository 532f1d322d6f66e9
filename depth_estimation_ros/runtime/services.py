"""Functions behind the node's services."""

from __future__ import annotations

from pathlib import Path

from depth_estimation_ros.runtime.frame_files import DEFAULT_FOLDER, save_frame
from depth_estimation_ros.runtime.session import Session


def save_latest(session: Session | None, folder: str) -> Path:
    """
    Save the last processed frame to disk.

    Parameters
    ----------
    session : Session or None
        Session of the loaded model, or None.
    folder : str
        Folder of the saved frames. Empty means `frame_files.DEFAULT_FOLDER`.

    Returns
    -------
    Path
        The frame's folder.

    Raises
    ------
    ValueError
        If no frame has been processed, or it cannot be written.
    """
    work = None if session is None else session.pipeline.latest
    if session is None or work is None:
        raise ValueError("no frame was processed yet: is the node active, and an output subscribed to?")
    stamp, model = work.header.stamp, session.estimator.model
    notes = {
        "frame_id": work.header.frame_id,
        "stamp": f"{stamp.sec}.{stamp.nanosec:09d}",
        "model": model.info.name,
        "model_sha256": model.sha256,
        "backend": session.estimator.backend.name,
    }
    name = f"{stamp.sec}_{stamp.nanosec:09d}"
    return save_frame(folder or DEFAULT_FOLDER, name, rgb=work.rectified, depth_map=work.enlarged(), notes=notes)
