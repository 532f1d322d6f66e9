"""The sample for Nav2 listens to what the node publishes, by parameters that Nav2 has, and its values fit together."""

import pytest
import yaml
from conftest import REPOSITORY
from sensor_msgs.msg import LaserScan, PointCloud2

from depth_estimation_ros.pipeline.frame import OUTPUT_TYPES
from depth_estimation_ros.settings import ScanSettings


def words(text: str) -> set[str]:
    return set(text.split())


# What nav2_costmap_2d declares and uses in Humble, Jazzy and Kilted alike: https://docs.nav2.org/configuration
COSTMAP = words(
    """always_send_full_costmap footprint footprint_padding global_frame height width lethal_cost_threshold origin_x
    origin_y plugins filters publish_frequency resolution robot_base_frame robot_radius rolling_window
    track_unknown_space transform_tolerance trinary_costmap unknown_cost_value update_frequency use_maximum"""
)
OBSTACLES = words("enabled footprint_clearing_enabled max_obstacle_height combination_method")
VOXEL = words("origin_z z_resolution z_voxels unknown_threshold mark_threshold publish_voxel_map")
LAYERS = {
    "nav2_costmap_2d::ObstacleLayer": OBSTACLES | {"min_obstacle_height"},
    "nav2_costmap_2d::VoxelLayer": OBSTACLES | VOXEL,
    "nav2_costmap_2d::InflationLayer": words(
        "enabled inflation_radius cost_scaling_factor inflate_unknown inflate_around_unknown"
    ),
    "nav2_costmap_2d::StaticLayer": words(
        "enabled subscribe_to_updates map_subscribe_transient_local transform_tolerance map_topic"
    ),
}
SOURCE = words(
    """topic sensor_frame observation_persistence expected_update_rate data_type min_obstacle_height max_obstacle_height
    inf_is_valid marking clearing obstacle_max_range obstacle_min_range raytrace_max_range raytrace_min_range"""
)
VOXELS = 16  # in a column, at most

COSTMAPS = {
    name: content[name]["ros__parameters"]
    for name, content in yaml.safe_load((REPOSITORY / "config" / "nav2_costmap.yaml").read_text()).items()
}


def layers():
    """Return every layer as (costmap, name, parameters), those that are not switched on included."""
    return [(c, n, v) for c, values in COSTMAPS.items() for n, v in values.items() if isinstance(v, dict)]


def sources(layer):
    return layer.get("observation_sources", "").split()


SOURCES = [pytest.param(layer, layer[s], id=f"{c}-{n}-{s}") for c, n, layer in layers() for s in sources(layer)]


def test_there_is_a_local_and_a_global_costmap_and_each_layer_named_is_described():
    assert set(COSTMAPS) == {"local_costmap", "global_costmap"}
    for costmap in COSTMAPS.values():
        assert set(costmap["plugins"]) <= set(costmap)
        assert costmap["plugins"][-1] == "inflation_layer"  # it inflates what the layers before it marked


def test_every_parameter_is_one_that_nav2_has():
    for costmap in COSTMAPS.values():
        assert {name for name, value in costmap.items() if not isinstance(value, dict)} <= COSTMAP
    for costmap, name, layer in layers():
        names = set(layer) - {"plugin", "observation_sources", *sources(layer)}
        assert names <= LAYERS[layer["plugin"]], f"{costmap}.{name}"
        for source in sources(layer):
            assert set(layer[source]) <= SOURCE, f"{costmap}.{name}.{source}"


@pytest.mark.parametrize(("layer", "source"), SOURCES)
def test_sources_are_topics_of_the_node_and_of_their_type(layer, source):
    kinds = {"LaserScan": LaserScan, "PointCloud2": PointCloud2}
    assert source["topic"].startswith("/")  # a relative one means another topic in Humble than in Kilted
    assert OUTPUT_TYPES[source["topic"].lstrip("/")] is kinds[source["data_type"]]
    assert source["marking"] or source["clearing"]


@pytest.mark.parametrize(("layer", "source"), SOURCES)
def test_what_a_source_marks_it_or_another_of_its_layer_clears(layer, source):
    if source["marking"]:
        reach = [layer[s]["raytrace_max_range"] for s in sources(layer) if layer[s]["clearing"]]
        assert max(reach) >= source["obstacle_max_range"] > source["obstacle_min_range"]
        assert source["max_obstacle_height"] <= layer["max_obstacle_height"]
        assert source["min_obstacle_height"] >= layer.get("min_obstacle_height", layer.get("origin_z"))
    assert source["min_obstacle_height"] < source["max_obstacle_height"]


@pytest.mark.parametrize(("layer", "source"), SOURCES)
def test_a_free_direction_of_the_scan_clears_and_does_not_mark(layer, source):
    if source["data_type"] == "LaserScan":
        assert source["inf_is_valid"]  # +Inf becomes a point at the scan's range
        assert source["obstacle_max_range"] < ScanSettings.range_max
        # Rays lie in base_frame, at a height of about zero.
        assert source["min_obstacle_height"] < -0.1 < layer["max_obstacle_height"]
    else:
        assert "inf_is_valid" not in source  # Nav2 warns of it
        # Marks nothing lower than the scan does by default.
        assert not source["marking"] or source["min_obstacle_height"] >= ScanSettings.min_height


def test_voxels_reach_over_what_marks_them():
    for _, _, layer in layers():
        if layer["plugin"].endswith("VoxelLayer"):
            assert layer["z_voxels"] <= VOXELS
            assert layer["origin_z"] + layer["z_voxels"] * layer["z_resolution"] >= layer["max_obstacle_height"] - 1e-9
            assert layer["mark_threshold"] < layer["z_voxels"]


def test_a_scan_that_stops_is_noticed():
    # A source with 0 is current for ever, and the robot drives on by what it saw last.
    assert all(layer[source]["expected_update_rate"] > 0 for _, _, layer in layers() for source in sources(layer))
