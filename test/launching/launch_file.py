"""Run a launch file as ``ros2 launch`` does: ``python -m launch_file FILE name:=value ...``."""

import sys
from pathlib import Path

from ament_index_python.packages import get_package_prefix
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource


def prefix_of(folder, *others):
    """Return an ament prefix that has this package and others: those are installed in name only."""
    index = Path(folder) / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (folder / "lib").mkdir()
    for package in ("depth_estimation_ros", *others):
        (index / package).touch()
    for part in ("share", "lib"):
        installed = Path(get_package_prefix("depth_estimation_ros")) / part / "depth_estimation_ros"
        (folder / part / "depth_estimation_ros").symlink_to(installed)
    return str(folder)


if __name__ == "__main__":
    path, *arguments = sys.argv[1:]
    source, arguments = PythonLaunchDescriptionSource(path), [tuple(a.split(":=", 1)) for a in arguments]
    service = LaunchService()
    service.include_launch_description(
        LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
    )
    sys.exit(service.run())
