"""Create ``docs/console.png``: the result card of the console with the shipped model, taken in headless Chromium.

Run ``make docs-picture`` after a change of the weights or of the console. Needs Debian's ``chromium`` and
``chromium-driver``.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from docs.make.serving import serving

PICTURE = Path(__file__).parents[1] / "console.png"
WIDTH, HEIGHT = 900, 500
COLOURS = 128
"""Number of colours: enough for a page with two small pictures, at a quarter of the size of true colour."""
WAIT_S = 60
SAMPLE = "Math.random = () => 0"
"""Script that fixes the random choice of the sample, so that the picture always shows the same person."""
LOADED = "return [...document.querySelectorAll('#crops img')].every(i => i.complete && i.naturalWidth)"


def browser() -> WebDriver:
    """Return a headless Chromium.

    Raises:
        SystemExit: Chromium is not installed.
    """
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        raise SystemExit("error: no Chromium here. apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.add_argument(f"--window-size={WIDTH + 60},1600")
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def result_card(address: str) -> bytes:
    """Return a PNG of the card that the console shows for a simulated person."""
    driver = browser()
    try:
        driver.get(f"{address}/console")
        driver.execute_script(SAMPLE)
        driver.find_element(By.ID, "sample").click()
        card = driver.find_element(By.ID, "answer")
        WebDriverWait(driver, WAIT_S).until(lambda _: driver.find_elements(By.CSS_SELECTOR, "#crops img"))
        WebDriverWait(driver, WAIT_S).until(lambda page: page.execute_script(LOADED))
        found: bytes = card.screenshot_as_png
        return found
    finally:
        driver.quit()


def small(png: bytes) -> bytes:
    """Return the picture reduced to `WIDTH`, cut off at `HEIGHT`, with a palette of colours."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    if picture.width > WIDTH:
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    picture = picture.crop((0, 0, picture.width, min(picture.height, HEIGHT)))
    out = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    """Serve the shipped model, take the picture and write it."""
    with serving() as address:
        PICTURE.write_bytes(small(result_card(address)))
    print(f"wrote {PICTURE}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
