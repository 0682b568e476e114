"""The console in a real browser, Debian's Chromium: used by keyboard, with no requests to other hosts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.bundle.manifest import RateEntry
from runtime.core.values import Pair
from service.app import components_of
from service.config.settings import Settings
from tests.support.fakes import FakeEngine, FakeFeed, face_pair, loaded
from tests.support.service.running_service import RunningService, running

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

DRIVER, BROWSER = shutil.which("chromedriver"), shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    DRIVER is None or BROWSER is None, reason="no Chromium here (Debian: chromium, chromium-driver)"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=900,1400",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def rig() -> Iterator[tuple[RunningService, FakeFeed]]:
    feed = FakeFeed()
    feed.camera("rgb", "running", fps=30.0)
    feed.camera("ir", "running", fps=15.0)
    feed.put(face_pair())
    with running(Settings(), feed=feed) as found:
        yield found, feed


def until(browser: Any, condition: Any) -> Any:
    return WebDriverWait(browser, 30).until(condition)


def text(browser: Any, name: str) -> str:
    found: str = browser.find_element(By.ID, name).text
    return found


def opened(browser: Any, service: RunningService) -> None:
    browser.get(f"http://127.0.0.1:{service.port}/console")
    browser.get_log("browser")
    until(browser, lambda b: "on fake" in text(b, "model"))


def clean(browser: Any) -> None:
    """Check that the browser reported no refusal or failure and requested nothing from other hosts."""
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    names = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    here = browser.execute_script("return location.origin")
    assert names
    assert all(name.startswith((here, "data:", "blob:")) for name in names), names


def test_a_sample_is_judged_by_keyboard_alone(browser: Any, rig: tuple[RunningService, FakeFeed]) -> None:
    opened(browser, rig[0])
    for _ in range(12):
        webdriver.ActionChains(browser).send_keys(Keys.TAB).perform()
        if browser.switch_to.active_element.get_attribute("id") == "sample":
            break
    webdriver.ActionChains(browser).send_keys(Keys.ENTER).perform()
    until(browser, lambda b: text(b, "verdict") in ("Live", "Spoof", "Uncertain"))
    assert "Score 0." in text(browser, "scale-words")
    # The button was disabled meanwhile, and has the focus again.
    until(browser, lambda b: b.switch_to.active_element.get_attribute("id") == "sample")
    crops = browser.find_elements(By.CSS_SELECTOR, "#crops img")
    assert len(crops) == 2
    until(browser, lambda b: all(b.execute_script("return arguments[0].naturalWidth", i) > 0 for i in crops))
    assert all(image.get_attribute("alt") for image in crops)
    clean(browser)


def test_chosen_files_and_a_missing_one(browser: Any, rig: tuple[RunningService, FakeFeed], tmp_path: Path) -> None:
    opened(browser, rig[0])
    browser.find_element(By.ID, "send").click()
    until(browser, lambda b: text(b, "verdict") == "An image is missing")
    pair = face_pair()
    cv2.imwrite(str(tmp_path / "rgb.png"), pair.image("rgb")[:, :, ::-1])
    cv2.imwrite(str(tmp_path / "ir.png"), pair.image("ir"))
    for name in ("rgb", "ir"):
        browser.find_element(By.NAME, name).send_keys(str(tmp_path / f"{name}.png"))
    browser.find_element(By.ID, "send").click()
    until(browser, lambda b: text(b, "verdict") in ("Live", "Spoof", "Uncertain"))
    (tmp_path / "rgb.png").write_bytes(b"no picture")
    browser.find_element(By.NAME, "rgb").send_keys(str(tmp_path / "rgb.png"))
    browser.find_element(By.ID, "send").click()
    until(browser, lambda b: text(b, "verdict") == "Not an image")


def test_an_rgb_image_in_the_dark_is_not_called_usable(
    browser: Any, rig: tuple[RunningService, FakeFeed], tmp_path: Path
) -> None:
    opened(browser, rig[0])
    pair = face_pair()
    cv2.imwrite(str(tmp_path / "rgb.png"), pair.image("rgb") // 50)
    cv2.imwrite(str(tmp_path / "ir.png"), pair.image("ir"))
    for name in ("rgb", "ir"):
        browser.find_element(By.NAME, name).send_keys(str(tmp_path / f"{name}.png"))
    browser.find_element(By.ID, "send").click()
    until(browser, lambda b: "too dark" in text(b, "crops"))
    told = [caption.text for caption in browser.find_elements(By.CSS_SELECTOR, "#crops figcaption")]
    assert told[0].endswith(": not usable. It is too dark; the other image decides.")
    assert "on its own" in told[1]


def test_the_outline_of_the_focus_is_for_the_keyboard(browser: Any) -> None:
    drop, outline = ".drop:has([name=rgb])", "return getComputedStyle(arguments[0]).outlineStyle"
    # Use a service without a rig, because new images would move the elements below them just before the click.
    with running(Settings()) as service:
        opened(browser, service)
        for _ in range(12):
            webdriver.ActionChains(browser).send_keys(Keys.TAB).perform()
            if browser.switch_to.active_element.get_attribute("name") == "rgb":
                break
        assert browser.execute_script(outline, browser.find_element(By.CSS_SELECTOR, drop)) == "solid"
        opened(browser, service)
        browser.execute_cdp_cmd("Page.setInterceptFileChooserDialog", {"enabled": True})
        try:
            found = browser.find_element(By.CSS_SELECTOR, drop)
            webdriver.ActionChains(browser).click(found).perform()
            until(browser, lambda b: b.switch_to.active_element.get_attribute("name") == "rgb")
            assert browser.execute_script(outline, found) == "none"
        finally:
            browser.execute_cdp_cmd("Page.setInterceptFileChooserDialog", {"enabled": False})


def test_an_empty_place_names_the_images_that_were_searched(browser: Any, rig: tuple[RunningService, FakeFeed]) -> None:
    service, feed = rig
    opened(browser, service)
    until(browser, lambda b: b.find_element(By.ID, "live").is_displayed())
    black = np.zeros((480, 640, 3), np.uint8)
    feed.put(Pair(rgb=black, ir=black[:, :, :1].copy(), source="camera"))
    until(browser, lambda b: text(b, "live-verdict").startswith("Nobody in view"))
    assert text(browser, "live-words") == "No face was found in the RGB image (too dark) or the infrared image."


def test_the_rig_is_watched(browser: Any, rig: tuple[RunningService, FakeFeed]) -> None:
    service, feed = rig
    opened(browser, service)
    feed.put(face_pair())
    until(browser, lambda b: "skew" in text(b, "live-verdict"))
    rows = until(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "#cameras tr"))
    assert [row.text.split()[:2] for row in rows] == [["colour", "running"], ["infrared", "running"]]
    until(browser, lambda b: len(b.find_elements(By.CSS_SELECTOR, "#frames img")) == 2)
    pictures = browser.find_elements(By.CSS_SELECTOR, "#frames img")
    until(browser, lambda b: all(b.execute_script("return arguments[0].naturalWidth", i) == 640 for i in pictures))
    feed.camera("ir", "lost", last_error="unplugged")
    until(browser, lambda b: "unplugged" in text(b, "cameras"))
    clean(browser)


def test_whoever_has_cameras_sees_them_first_with_what_is_wrong(
    browser: Any, rig: tuple[RunningService, FakeFeed]
) -> None:
    service, feed = rig
    opened(browser, service)
    titles = [heading.text for heading in browser.find_elements(By.TAG_NAME, "h2")]
    assert titles == ["The rig", "Check a pair"]
    feed.camera("ir", "lost", last_error="unplugged")
    until(browser, lambda b: "camera_lost (infrared): unplugged" in text(b, "conditions"))
    feed.camera("ir", "running", fps=15.0)
    feed.put(face_pair())
    until(browser, lambda b: "camera_lost" not in text(b, "conditions"))
    clean(browser)


def test_a_doors_decisions_are_listed_newest_first(browser: Any, rig: tuple[RunningService, FakeFeed]) -> None:
    opened(browser, rig[0])
    until(browser, lambda b: b.find_element(By.ID, "live").is_displayed())
    made: list[dict[str, Any]] = [
        {"id": str(n), "time": f"2026-01-01T00:00:0{n}Z", "reasons": [], "decision": "spoof" if n == 5 else "live"}
        for n in range(6)
    ]
    gpio = {"name": "gpio", "state": "working", "counts": {"sent": 7}, "waiting": 0, "last_error": ""}
    mqtt = {"name": "mqtt", "state": "failing", "counts": {"failed": 2, "expired": 1}, "waiting": 4, "last_error": "no"}
    told = {"site": "berlin", "door": "front", "state": "idle", "outputs": [gpio, mqtt], "decisions": made[:4]}
    hub = components_of(rig[0].app).hub
    assert hub is not None
    publish = hub.publish
    publish("kiosk", told)
    publish("decision", made[4])
    publish("decision", made[5])
    publish("kiosk", {**told, "decisions": made[1:]})
    until(browser, lambda b: "Spoof" in text(b, "decisions"))
    rows = [row.text for row in browser.find_elements(By.CSS_SELECTOR, "#decisions li")]
    assert len(rows) == 5
    assert "Spoof" in rows[0]
    assert all("Live" in row for row in rows[1:])
    assert text(browser, "rig-title") == "The rig of front, berlin"
    assert text(browser, "door-state") == "State: idle."
    rows = [row.text for row in browser.find_elements(By.CSS_SELECTOR, "#outputs tr")]
    assert rows == ["gpio working 7 0 0 none", "mqtt failing 0 4 3 no"]


def test_a_model_that_lets_attacks_through_is_named_on_the_page(browser: Any, tmp_path: Path) -> None:
    engine = FakeEngine()
    bare = loaded(engine)
    point = bare.manifest.operating_points[0]
    worst = {"mask_paper": RateEntry(errors=9, trials=10, interval=(0.5, 1.0))}
    manifest = bare.manifest.model_copy(update={"operating_points": [point.model_copy(update={"apcer": worst})]})
    with running(Settings(), lambda: replace(bare, manifest=manifest)) as service:
        opened(browser, service)
        until(browser, lambda b: text(b, "through") == "This model lets attacks through: mask_paper 9 of 10.")


def test_nothing_is_clipped_on_a_phone(browser: Any, rig: tuple[RunningService, FakeFeed]) -> None:
    size = browser.get_window_size()
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 375, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        opened(browser, rig[0])
        until(browser, lambda b: b.find_element(By.ID, "live").is_displayed())
        rig[1].camera("ir", "running", fps=15.0, drops={"sequence_gap": 123456, "overrun": 123456})
        until(browser, lambda b: "123456 overrun" in text(b, "cameras"))
        clipped = "return [document.documentElement, ...document.querySelectorAll('.scroll')]"
        assert browser.execute_script(f"{clipped}.filter(e => e.scrollWidth > e.clientWidth).length") == 0
        assert "frames per second" in browser.execute_script(
            "return [...document.querySelectorAll('#cameras td')].map(e => e.dataset.label)"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.set_window_size(size["width"], size["height"])


def test_every_control_has_a_name(browser: Any, rig: tuple[RunningService, FakeFeed]) -> None:
    opened(browser, rig[0])
    for control in browser.find_elements(By.CSS_SELECTOR, "input, select, button, a"):
        assert control.accessible_name, control.get_attribute("outerHTML")
    assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == "en"


@pytest.mark.parametrize("page", ["console", "docs"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_its_ground(
    browser: Any, rig: tuple[RunningService, FakeFeed], page: str, scheme: str
) -> None:
    """Check that all visible text has a contrast of at least 4.5, as WCAG 2.2 requires."""
    feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
    browser.get(f"http://127.0.0.1:{rig[0].port}/{page}")
    faint = browser.execute_script(CONTRAST)
    assert faint == []


CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const rgb = colour => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const linear = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = c => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
const ground = e => {
  for (; e; e = e.parentElement) {
    const c = rgb(getComputedStyle(e).backgroundColor);
    if (c[3] === 255) return c;
  }
  return [255, 255, 255, 255];
};
const faint = [];
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!own || !e.checkVisibility() || ['SCRIPT', 'STYLE'].includes(e.tagName) || e.closest('svg')) continue;
  const a = light(rgb(getComputedStyle(e).color)), b = light(ground(e));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) faint.push(`${e.tagName} ${e.className} ${ratio.toFixed(2)} ${e.textContent.slice(0, 30)}`);
}
return faint;
"""
