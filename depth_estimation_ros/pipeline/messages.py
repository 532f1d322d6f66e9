"""Output messages of a stream of frames, in memory that is reused for every frame."""

from __future__ import annotations

import array

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2
from std_msgs.msg import Header

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import (
    camera_to_info,
    depth_to_image,
    new_cloud,
    points_of,
)
from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.geometry import point_cloud
from depth_estimation_ros.geometry.cloud_filters import one_per_voxel
from depth_estimation_ros.geometry.laser_scan import LaserScanner


class OutputMessages:
    """
    Maker of the depth image, its camera_info, the cloud and the scan of each frame.

    A message is valid until the same method is called again. Publish it before that; rclpy then copies it. Not
    thread-safe. Memory is reused because allocating it for every frame takes longer than computing its content: at
    1920x1080 a cloud has 33 MB, which the allocator would return to the system each time.
    """

    def __init__(self):
        self._image = Image()
        self._cloud = PointCloud2()
        self._info, self._info_camera = CameraInfo(), None

    def depth_image(
        self, depth_map: DepthMap, width: int, height: int, header: Header, encoding: str = "32FC1"
    ) -> tuple[Image, DepthMap]:
        """
        Resample a depth map and make its message.

        Parameters
        ----------
        depth_map : DepthMap
            Depth of any size.
        width, height : int
            Size to publish, usually the camera's.
        header : std_msgs.msg.Header
            Stamp and frame id.
        encoding : {"32FC1", "16UC1"}
            See `conversions.depth_to_image`.

        Returns
        -------
        image : sensor_msgs.msg.Image
            The message.
        resampled : DepthMap
            Same as ``depth_map.resized(width, height)``. With ``32FC1`` it is a view of the message's data.

        Raises
        ------
        ValueError
            If the depth is relative.
        """
        depth_map.require_metres()
        if encoding != "32FC1":
            resampled = depth_map.resized(width, height)
            return depth_to_image(resampled.depth, header, encoding, out=self._image), resampled
        if (self._image.encoding, self._image.width, self._image.height) != (encoding, width, height):
            self._image = depth_to_image(np.zeros((height, width), np.float32))
        self._image.header = header
        metres = np.frombuffer(self._image.data, np.float32).reshape(height, width)
        # Like DepthMap.resized, but directly into the message, which saves a copy of the largest array.
        cv2.resize(
            np.asarray(depth_map.depth, np.float32),
            (width, height),
            dst=metres,
            interpolation=cv2.INTER_LINEAR,
        )
        camera = depth_map.camera and depth_map.camera.resized(width, height)
        return self._image, DepthMap(metres, camera)

    def camera_info(self, camera: PinholeCamera, header: Header) -> CameraInfo:
        """Return the camera_info message of an undistorted camera; it is rebuilt only if the camera changes."""
        if camera != self._info_camera:
            self._info, self._info_camera = camera_to_info(camera), camera
        self._info.header = header
        return self._info

    def cloud(
        self, depth_map: DepthMap, rgb: np.ndarray | None, header: Header, voxel_size: float = 0.0
    ) -> PointCloud2:
        """
        Make the cloud message of a depth map, computed directly in the message's memory.

        Parameters
        ----------
        depth_map : DepthMap
            Depth with its camera. An organised cloud has the size of the depth map.
        rgb : numpy.ndarray or None
            Colour image of any size, uint8 [h', w', 3].
        header : std_msgs.msg.Header
            Stamp and frame id.
        voxel_size : float
            Voxel size in metres. If it is not 0, the cloud has one point per voxel, without invalid points.

        Raises
        ------
        ValueError
            If the depth is relative, the camera of the depth map is unknown, or the voxels are too small for the
            cloud.
        """
        depth_map.require_metres()
        if depth_map.camera is None:
            raise ValueError("a cloud needs the camera's intrinsics; provide camera_info")
        height, width = depth_map.depth.shape
        if (self._cloud.width, self._cloud.height) != (width, height):
            self._cloud = new_cloud(width, height)
        points = point_cloud(depth_map.depth, depth_map.camera, rgb, out=points_of(self._cloud))
        if voxel_size > 0.0:
            points = one_per_voxel(points, voxel_size)
            thinned = new_cloud(len(points), 1)
            thinned.header, thinned.is_dense = header, True
            if len(points):
                points_of(thinned)[0] = points
            return thinned
        self._cloud.header = header
        return self._cloud

    @staticmethod
    def scan(scanner: LaserScanner, ranges: np.ndarray, header: Header) -> LaserScan:
        """
        Make the message of a laser scan.

        Parameters
        ----------
        scanner : LaserScanner
            Scanner with the angles and range limits of the scan.
        ranges : numpy.ndarray
            Ranges, float32 [scanner.size], metres (REP 117).
        header : std_msgs.msg.Header
            Stamp of the image and TF frame of the scan.
        """
        scan = LaserScan(header=header, ranges=array.array("f", ranges.tobytes()))
        scan.angle_min, scan.angle_max, scan.angle_increment = (
            scanner.angle_min,
            scanner.angle_max,
            scanner.angle_increment,
        )
        scan.range_min, scan.range_max = scanner.range_min, scanner.range_max
        return scan
