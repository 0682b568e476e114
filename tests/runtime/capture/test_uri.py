"""Camera addresses: parsing, errors, and that no password leaks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.capture.open import open_source
from runtime.capture.uri import CameraUri, parse_uri, redact
from runtime.core.errors import ConfigError


def test_an_address_is_scheme_path_and_options() -> None:
    uri = parse_uri("v4l2:/dev/video0?fourcc=GREY&size=640x480&fps=29.97")
    assert (uri.scheme, uri.path) == ("v4l2", "/dev/video0")
    uri.allow("fourcc", "size", "fps", "buffers")
    assert uri.size() == (640, 480)
    assert uri.number("fps", 30, low=1, high=240) == 29.97
    assert uri.integer("buffers", 4, low=2) == 4
    assert uri.choice("fourcc", ("GREY", "YUYV"), "YUYV") == "GREY"
    assert uri.string("missing", "default") == "default"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("opencv:user:s3cr3t@host/x", "opencv:***@host/x"),
        ("opencv:user:s3/cr3t@y@host/x", "opencv:***@host/x"),
        ("user:s3cr3t@host/x", "***@host/x"),
        ("rtsp:user:s3cr3t@host", "***@host"),
        ("'opencv:user:s3cr3t@host/x'", "'opencv:***@host/x'"),
        ("cannot open opencv:user:s3cr3t@host/x.", "cannot open opencv:***@host/x."),
        ("gst:rtspsrc location=user:s3cr3t@host ! appsink", "gst:rtspsrc location=***@host ! appsink"),
        ("opencv:rtsp://user:s3cr3t@host/x", "opencv:rtsp://***@host/x"),
        ("file:/data/a@b/x.png", "file:/data/a@b/x.png"),
        ("v4l2:/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1", "v4l2:/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1"),
        ("ask admin@host: now", "ask admin@host: now"),
    ],
)
def test_a_password_is_hidden_where_the_scheme_was_forgotten(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_no_error_shows_a_password_before_a_host() -> None:
    for address in ("opencv:user:s3cr3t@host/x", "user:s3cr3t@host/x", "opencv:user:s3cr3t@host/x?size=1*2"):
        with pytest.raises(ConfigError) as caught:
            open_source(address, "rgb")
        assert "s3cr3t" not in str(caught.value)


def test_an_address_without_path_or_options() -> None:
    assert parse_uri("synthetic:").options == {}
    assert parse_uri("synthetic:?seed=1").path == ""
    with pytest.raises(ConfigError, match="needs a file"):
        _ = parse_uri("file:").file
    assert parse_uri("file:a%20b%3F.mkv").file == Path("a b?.mkv")


def test_question_marks_of_ones_own() -> None:
    assert parse_uri("opencv:rtsp://h/s?channel=1?").path == "rtsp://h/s?channel=1"
    assert parse_uri("opencv:rtsp://h/p%40s").path == "rtsp://h/p%40s"
    gst = parse_uri("gst:rtspsrc location=rtsp://h/a?b=1 ! appsink")
    assert (gst.path, gst.options) == ("rtspsrc location=rtsp://h/a?b=1 ! appsink", {})
    gst = parse_uri("gst:videotestsrc ! appsink?fps=30")
    assert (gst.path, gst.options) == ("videotestsrc ! appsink", {"fps": "30"})
    with pytest.raises(ConfigError, match=r"no option 'channel'.*another '\?'"):
        parse_uri("opencv:rtsp://h/s?channel=1").allow("size")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/dev/video0", "Did you mean v4l2:/dev/video0"),
        ("", "not a camera address"),
        ("v4l2:/dev/video0?size", "name=value"),
        ("v4l2:/dev/video0?a=1&a=2", "appears twice"),
    ],
)
def test_what_is_no_address_says_so(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_uri(text)


def test_options_of_the_wrong_kind_are_refused_by_name() -> None:
    uri = parse_uri("v4l2:/dev/video0?size=0x480&fps=nan&n=1.5&x=7&b=yes")
    with pytest.raises(ConfigError, match="option size must be"):
        uri.size()
    with pytest.raises(ConfigError, match="option fps must be a finite number"):
        uri.number("fps", 30)
    with pytest.raises(ConfigError, match="option n must be a whole number"):
        uri.integer("n", 1)
    with pytest.raises(ConfigError, match="option x must be 5 or less, not '7'"):
        uri.integer("x", 1, high=5)
    with pytest.raises(ConfigError, match="option b must be one of 0, 1"):
        uri.flag("b")
    with pytest.raises(ConfigError, match="no option 'b'; the options are fps, n, size, x"):
        uri.allow("size", "fps", "n", "x")


def refuse_everything(uri: CameraUri) -> None:
    uri.allow()
    uri.number("fps", 1)
    raise ConfigError(uri.text)


@given(st.text("abcXYZ019._~@/", min_size=6), st.sampled_from(["opencv", "gst"]))
def test_no_password_is_shown(secret: str, scheme: str) -> None:
    secret = f"§{secret}"
    for text in (
        f"{scheme}:rtsp://user:{secret}@host/stream?size=640x480",
        f"{scheme}:rtsp://host/stream?token={secret}?",
        f"{scheme}:rtsp://host/s?password={secret}&fps=wrong",
        f"{scheme}:rtspsrc location=rtsp://h user-pw={secret} ! appsink",
    ):
        uri = parse_uri(text)
        assert secret not in uri.text
        assert secret not in repr(uri)
        with pytest.raises(ConfigError) as refused:
            refuse_everything(uri)
        assert secret not in str(refused.value)
