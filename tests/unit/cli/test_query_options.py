import pytest
import typer

from imagefinder.cli import query_options


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "0,0,0,9", "0,0,nan,9", "inf,0,9,9", "1e308,0,1e308,9", f"0,0,{'9' * 400},9"]
)
def test_an_invalid_box_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--box expects"):
        query_options.boxes([text])
