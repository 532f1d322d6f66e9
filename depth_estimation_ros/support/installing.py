"""Commands to install missing Python packages. With ROS installed, apt comes first, and numpy stays at version 1."""

from __future__ import annotations

import os

NUMPY_1 = ("humble", "iron", "jazzy", "kilted")
"""ROS distributions whose OpenCV and cv_bridge are built for numpy 1 and do not load with numpy 2."""

RERUN_BESIDE_ROS = "pip install --no-deps 'rerun-sdk<0.42' && pip install attrs pillow psutil 'pyarrow<22' 'numpy<2'"
"""Commands for the viewer: it asks for numpy 2, but works with numpy 1 if pyarrow does."""

# By module, if the package has another name or a version limit.
_PIP = {
    "cv2": "opencv-python-headless",
    "yaml": "PyYAML",
    "rosbags": "'rosbags<0.12'",
    "cuda": "cuda-bindings",
    "backports": "backports.zstd",
    "tensorrt_rtx": "tensorrt-rtx",
    "rerun": "'rerun-sdk<0.42'",
    "jsonargparse": "'jsonargparse[signatures]'",
}
_APT = {
    "cv2": "python3-opencv",
    "yaml": "python3-yaml",
    **{module: f"python3-{module}" for module in ("h5py", "matplotlib", "numpy", "rich", "scipy")},
}
_ROS = ("ament_index_python", "builtin_interfaces", "launch", "launch_ros", "rcl_interfaces", "rclpy", "tf2_ros")


def how_to_install(module: str) -> str:
    """
    Return the command that installs the package of a module.

    If ``ROS_DISTRO`` is set, the command installs neither numpy 2 nor a second OpenCV.

    Parameters
    ----------
    module : str
        Name of a top-level module, for example ``"rosbags"``.
    """
    distribution = os.environ.get("ROS_DISTRO", "")
    if module in _ROS or module.endswith(("_msgs", "_srvs")):
        if not distribution:
            return "source an installed ROS 2, or pip install -r requirements/ros2-jazzy.txt"
        package = "tf2_ros_py" if module == "tf2_ros" else module
        return f"sudo apt install ros-{distribution}-{package.replace('_', '-')}"
    if distribution and module in _APT:
        return f"sudo apt install {_APT[module]}"
    if module == "rerun" and distribution in NUMPY_1:
        return RERUN_BESIDE_ROS
    keep = " 'numpy<2'" if distribution in NUMPY_1 else ""
    return f"pip install {_PIP.get(module, module)}{keep}"


def advice(error: ImportError) -> str | None:
    """
    Return one sentence that says what is missing and how to install it.

    Parameters
    ----------
    error : ImportError
        Error of an import.

    Returns
    -------
    str or None
        None if the error is not a missing package but a bug.
    """
    if "numpy.core.multiarray" in str(error):  # error of an OpenCV built for numpy 1, with numpy 2
        return "OpenCV does not load with this numpy, as it was built for numpy 1: pip install 'numpy<2'"
    module = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or module in ("", "depth_estimation_ros"):
        return None
    return f"the Python package {module} is missing: {how_to_install(module)}"
