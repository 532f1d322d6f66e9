"""
A Python that has only what a machine for training has: PyTorch and its friends, no ROS, no bags, no TensorRT.

``packages(folder)`` links what may be imported into a folder; ``python(folder)`` starts Python with nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# Seen on a machine with a GPU and no network. What they need themselves is there as well.
ALLOWED = {
    *("torch", "torchvision", "timm", "lightning", "torchmetrics", "tensorboard", "onnx", "onnxruntime", "onnxscript"),
    *("numpy", "cv2", "scipy", "h5py", "matplotlib", "rich", "yaml", "cuda", "cupy", "triton"),
}

MISSING = {
    *("jsonargparse", "rosbags", "webdataset", "openvino", "lz4", "backports", "depth_estimation_ros", "training"),
    *("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings", "tensorrt_rtx_libs", "tensorrt_bindings", "tensorrt_libs"),
    *(
        "rclpy",
        "sensor_msgs",
        "std_msgs",
        "geometry_msgs",
        "builtin_interfaces",
        "diagnostic_msgs",
        "tf2_ros",
        "launch",
    ),
}


def packages(folder: Path) -> Path:
    """Link every installed package that such a machine may have into a folder."""
    for name in ("purelib", "platlib"):
        for entry in Path(sysconfig.get_paths()[name]).iterdir():
            top = entry.name.partition(".")[0]
            link = folder / entry.name
            if top not in MISSING and entry.suffix != ".pth" and not link.exists():
                link.symlink_to(entry)
    return folder


def python(site: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    """Run Python with the linked packages and this repository, without the installed packages."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(site)))}
    return subprocess.run([sys.executable, "-S", *arguments], env=environment, text=True, **options)
