"""Run a launch file as ``ros2 launch`` does: ``python -m launch_file FILE name:=value ...``."""

import sys

from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

from launch import LaunchDescription, LaunchService

if __name__ == "__main__":
    path, *arguments = sys.argv[1:]
    source, arguments = PythonLaunchDescriptionSource(path), [tuple(a.split(":=", 1)) for a in arguments]
    service = LaunchService()
    service.include_launch_description(
        LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
    )
    sys.exit(service.run())
