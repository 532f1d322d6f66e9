"""The policy for SROS2 allows the nodes what they do, found out from running ones, and nothing else."""

from xml.etree import ElementTree

from conftest import REPOSITORY
from depth_client import MODULE, DepthClient
from ros_processes import ros_context, running_node, wait_for

PROFILES = {
    profile.get("node"): profile
    for profile in ElementTree.parse(REPOSITORY / "config" / "sros2_policy.xml").iter("profile")
}
# The attributes that allow something, with what rclpy calls those who do it.
ROLES = {"publish": "publisher", "subscribe": "subscriber", "reply": "service", "request": "client"}
# Of a distribution, or of a ROS installation with tf2_ros: not to be seen in every running node.
NOT_EVERYWHERE = {
    ("subscriber", "/tf"),
    ("subscriber", "/tf_static"),
    ("service", "/depth_estimation/get_type_description"),
    ("service", "/synthetic_camera/get_type_description"),
}


def allowed(name: str) -> set[tuple[str, str]]:
    """Return what the policy allows a node of the root namespace: who it is to which topic or service."""
    return {
        (role, f"/{name}{entry.text[1:]}" if entry.text.startswith("~") else f"/{entry.text.lstrip('/')}")
        for group in PROFILES[name]
        for attribute, role in ROLES.items()
        if group.get(attribute) == "ALLOW"
        for entry in group
    }


def done(node, name: str) -> set[tuple[str, str]]:
    """Return the same of a running node; nothing until it is discovered."""
    if name not in node.get_node_names():
        return set()
    return {
        (role, topic)
        for role in ROLES.values()
        for topic, _ in getattr(node, f"get_{role}_names_and_types_by_node")(name, "/")
    }


def missing(name: str, seen: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return allowed(name) - seen - NOT_EVERYWHERE


def test_it_keeps_the_policy_schema():
    policy = ElementTree.parse(REPOSITORY / "config" / "sros2_policy.xml").getroot()
    assert (policy.tag, policy.attrib) == ("policy", {"version": "0.2.0"})
    (enclaves,) = policy
    for enclave in enclaves:
        (profiles,) = enclave
        (profile,) = profiles
        assert (enclave.tag, profiles.tag, profile.tag) == ("enclave", "profiles", "profile")
        # The name that --enclave takes is the node's.
        assert (enclave.get("path"), profile.get("ns")) == (f"/{profile.get('node')}", "/")
        for group in profile:
            kind = {"topics": ("topic", {"publish", "subscribe"}), "services": ("service", {"reply", "request"})}
            entry, attributes = kind[group.tag]
            assert set(group.attrib) <= attributes and set(group.attrib.values()) == {"ALLOW"}
            assert {child.tag for child in group} == {entry}
            names = [child.text for child in group]
            assert len(names) == len(set(names)) and all(name == name.strip() for name in names)


def test_the_node_is_allowed_what_it_does_and_nothing_else():
    seen = set()
    settings = {"use_sim_time": True, "anchor": "scan"}
    with ros_context() as node, running_node(MODULE, parameters=settings) as process:
        depth = DepthClient(node, process)
        for anchor, transport in (("scan", "raw"), ("points", "raw"), ("range", "compressed")):
            if seen:
                assert depth.change_state("deactivate")
                assert depth.set(anchor=anchor, image_transport=transport).successful
                assert depth.change_state("activate")
            inputs = {f"/anchor/{anchor}", "/image" if transport == "raw" else "/image/compressed"}
            depth.wait(lambda inputs=inputs: inputs <= {topic for _, topic in done(node, "depth_estimation")})
            seen |= done(node, "depth_estimation")
        assert seen <= allowed("depth_estimation")
        depth.wait(lambda: not missing("depth_estimation", seen | done(node, "depth_estimation")))


def test_the_camera_is_allowed_what_it_does_and_nothing_else():
    name = "synthetic_camera"
    parameters = {"use_sim_time": True, "width": 64, "height": 48}
    with ros_context() as node, running_node(f"depth_estimation_ros.nodes.{name}", parameters=parameters) as process:
        wait_for(node, lambda: not missing(name, done(node, name)), process=process)
        assert done(node, name) <= allowed(name)
