"""The node lives through a flood of mutated messages, counts every image, and gives depth afterwards."""

from flood import flood

SECONDS, RATE = 6.0, 200.0


def test_a_flooded_node_lives_counts_every_image_and_gives_depth_afterwards():
    report = flood(SECONDS, RATE, number=1)
    print(report)
    assert not report.wrong, report
    assert "a message of /anchor/scan was skipped, because rclpy cannot read it" in report.log
    assert report.sent.total() >= SECONDS * RATE and report.reports >= 3
