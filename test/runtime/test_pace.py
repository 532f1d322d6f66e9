import pytest

from depth_estimation_ros.runtime.pace import Pace


@pytest.mark.parametrize(("rate", "taken"), [(10.0, 100), (20.0, 200), (29.0, 290), (60.0, 300), (0.0, 300)])
def test_a_30_hz_stream_is_thinned_to_the_rate_on_average(rate, taken):
    pace = Pace()
    assert abs(sum(pace.take(frame / 30, rate) for frame in range(300)) - taken) <= 1


def test_a_pause_is_not_followed_by_a_burst():
    pace = Pace()
    pace.take(0.0, 1.0)
    assert [pace.take(now, 1.0) for now in (100.0, 100.1, 100.2, 101.0)].count(True) <= 2


def test_asking_takes_nothing():
    pace = Pace()
    assert pace.due(0.0, 1.0)
    assert pace.take(0.0, 1.0)
    assert not pace.due(0.5, 1.0)


def test_a_rate_can_change_at_any_time():
    pace = Pace()
    pace.take(0.0, 0.001)
    assert not pace.due(1.0, 0.001)
    assert pace.due(1.0, 2.0)
