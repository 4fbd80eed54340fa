import pytest

from lvseg.errors import EngineError
from lvseg_serve.withheld import describe


def _fail() -> None:
    try:
        raise ValueError("Planted^Name")
    except ValueError as error:
        raise EngineError("shape (1, 2) is wrong") from error


def test_the_log_names_our_message_and_the_cause_with_its_place_but_not_its_text() -> None:
    with pytest.raises(EngineError) as caught:
        _fail()
    text = describe(caught.value)
    assert "EngineError: shape (1, 2) is wrong" in text
    assert "ValueError: (text withheld)" in text
    assert text.count("in _fail") == 2
    assert "Planted" not in text.replace('raise ValueError("Planted^Name")', "")
