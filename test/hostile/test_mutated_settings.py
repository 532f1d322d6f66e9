"""Values of parameters, allowed or not: settings that hold together, or one line that says which value is wrong."""

import re

from hypothesis import given
from judge import survive
from strategies import values_of_settings

from depth_estimation_ros.settings import DECLARATIONS, Effect, Settings


@given(values_of_settings())
def test_any_values_are_settings_or_refused_by_name(values):
    survive(lambda: Settings(**values))
    try:
        settings = Settings(**values)
    except ValueError as error:
        assert any(re.search(rf"\b{name}\b", str(error)) for name in DECLARATIONS), error
    else:
        assert all(getattr(settings, name) == value for name, value in values.items())


@given(values_of_settings())
def test_a_running_node_takes_what_may_change_or_says_what_to_do(values):
    fixed = {effect: "now" for effect in Effect if effect is not Effect.FRAME}
    changed = survive(Settings().changed, values, fixed)
    if changed is not None:
        assert all(getattr(changed, name) == value for name, value in values.items())
