from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.sandbox.frames import FRAME, Kind, decode, encode, encode_text


@given(st.text(), st.text(), st.none() | st.text())
def test_any_text_fits_into_one_frame(message: str, value: str, exception: str | None) -> None:
    data = encode_text(Kind.FAILED, message=message * 50, value=value * 50, exception=exception, line=3)
    assert len(data) == FRAME
    fields = decode(data).text()
    assert fields["line"] == 3
    assert fields["exception"] == (exception and exception[:100].encode("utf-8", "replace").decode())


@pytest.mark.parametrize("text", ["\0", "\U0001f40d", "\udcff", '"', "\\"])
def test_the_worst_texts_fit_into_one_frame(text: str) -> None:
    long = text * 10_000
    assert (
        len(encode_text(Kind.FAILED, kind=long, message=long, exception=long, value=long, line=10**9))
        == FRAME
    )
    assert len(encode_text(Kind.LOADED, name=long, level=long, suspicious=long, doc=long)) == FRAME


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"[" * 4000, b"\xff", b"1e999"])
def test_body_that_is_no_object_is_refused(body: bytes) -> None:
    frame = decode(encode(Kind.FAILED, 0, body))
    with pytest.raises(ValueError, match=r"."):
        frame.text()


def test_bytes_without_the_mark_are_no_frame() -> None:
    with pytest.raises(ValueError, match="not a frame"):
        decode(b"x" * FRAME)
