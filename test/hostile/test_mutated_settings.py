"""Values of parameters, allowed or not: settings that hold together, or one line that says which value is wrong."""

import re

from hypothesis import given
from judge import survive
from strategies import values_of_settings

from depth_estimation_ros.parameters.declaration import Effect
from depth_estimation_ros.settings import Settings


@given(values_of_settings())
def test_any_values_are_settings_or_refused_by_name(values):
    survive(Settings().having, values)
    try:
        settings = Settings().having(values)
    except ValueError as error:
        assert any(re.search(rf"\b{name}\b", str(error)) for name in Settings.declarations()), error
    else:
        assert settings.values().items() >= values.items()


@given(values_of_settings())
def test_a_running_node_takes_what_may_change_or_says_what_to_do(values):
    fixed = {effect: "now" for effect in Effect if effect is not Effect.FRAME}
    changed = survive(Settings().changed, values, fixed)
    if changed is not None:
        assert changed.values().items() >= values.items()
