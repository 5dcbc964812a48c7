"""The report in a real browser: Chromium, headless and offline."""

import base64
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from report_samples import evaluation, exploration, predictions, render, write_stores
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from pipeline.base.provenance import RANDOM_WEIGHTS

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
EVIL = "<img src=x onerror='window.hacked=1'>"
GROUND = "backgroundColor"
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}

# The elements that match a selector, in shadow roots too.
DEEP = """
const found = [];
const search = (node) => {
  for (const child of node.querySelectorAll("*")) {
    if (child.matches(arguments[0])) found.push(child);
    if (child.shadowRoot) search(child.shadowRoot);
  }
};
search(document);
return found;
"""
# The position of a clip's mark on the screen, after scrolling to it.
MARK = """
for (const document_ of Bokeh.documents) {
  const renderer = document_.get_model_by_name(arguments[0]);
  if (renderer) {
    const view = Bokeh.index.find_one(renderer);
    const canvas = view.plot_view.canvas_view.el;
    canvas.scrollIntoView({block: "center"});
    const box = canvas.getBoundingClientRect();
    return [box.x + view.glyph.sx[arguments[1]], box.y + view.glyph.sy[arguments[1]]];
  }
}
"""

FOCUSED = """
let element = document.activeElement;
while (element.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
return element.tagName;
"""
AXIS_COLOUR = """
const models = Bokeh.documents.flatMap((it) => [...it._all_models.values()]);
const axis = models.find((it) => it.type == "LinearAxis" && it.visible);
return Bokeh.index.find_one(axis).visuals.major_label_text.computed_values().color;
"""


class Browser:
    """A page that is open."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, page: Path, *, width: str = "desktop", dark: bool = False, media: str = "") -> None:
        """Open a file, and wait until every figure has rendered."""
        across, down = WIDTHS[width]
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", media=media, features=[scheme])
        size = {"width": across, "height": down, "deviceScaleFactor": 1}
        self.command("Emulation.setDeviceMetricsOverride", **size, mobile=width == "phone")
        self.driver.get_log("browser")  # discard earlier entries
        self.driver.get(page.as_uri())
        WebDriverWait(self.driver, 60).until(
            lambda driver: driver.execute_script(
                "return window.Bokeh && Bokeh.documents.length == document.querySelectorAll('.plot').length"
                " && Bokeh.documents.every((it) => it.is_idle)"
            )
        )

    def command(self, name: str, **values: Any) -> Any:
        """Send a DevTools command."""
        return self.driver.execute_cdp_cmd(name, values)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def models(self, condition: str, *names: str) -> list[dict[str, Any]]:
        """Return the named properties of Bokeh's models that meet a condition."""
        everything = "Bokeh.documents.flatMap((it) => [...it._all_models.values()])"
        properties = ", ".join(f"{name}: it.{name}" for name in names)
        return list(self.run(f"return {everything}.filter((it) => {condition}).map((it) => ({{{properties}}}))"))

    def deep(self, selector: str) -> list[Any]:
        """Return elements, in shadow roots too."""
        return list(self.run(DEEP, selector))

    def point_at(self, name: str, clip: int) -> list[str]:
        """Point at the mark of a clip; return the texts of the tooltips that appear."""
        self.move(2, 2)
        x, y = self.run(MARK, name, clip)
        self.move(x - 1, y)
        self.move(x, y)
        self.run("return new Promise((done) => setTimeout(done, 300))")
        return [it.text for it in self.deep(".bk-Tooltip") if it.is_displayed()]

    def move(self, x: float, y: float) -> None:
        """Move the mouse."""
        self.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, target: Path) -> np.ndarray:
        """Save a screenshot of the whole page, and return it in grey."""
        height = self.run("return document.documentElement.scrollHeight")
        width = self.run("return innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        screenshot = self.command("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        data = base64.b64decode(screenshot["data"])
        target.write_bytes(data)
        return np.asarray(Image.open(io.BytesIO(data)).convert("L"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium with its driver; on Debian: apt install chromium chromium-driver")
    options = Options()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    chromium = Browser(opened)
    chromium.command("Network.enable")
    chromium.command(
        "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0
    )
    yield chromium
    opened.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of twelve clips with malicious names."""
    folder = tmp_path_factory.mktemp("report")
    tested = predictions(12, EVIL)
    clip_ids = [it.clip_id for it in tested[:12]]
    thumbnails = write_stores(folder, clip_ids, without_face=clip_ids[-1])
    left_out = [{"clip_id": EVIL, "path": EVIL, "stage": "corpus", "reason": EVIL}]
    target = folder / "report.html"
    results = evaluation(tested, clips=12, left_out=left_out, warning=RANDOM_WEIGHTS)
    target.write_text(render(thumbnails, results, exploration(tested, attended=4, side=8)), encoding="utf-8")
    return target


def test_page_opens_from_disk_without_warnings_and_executes_no_data(browser: Browser, page: Path) -> None:
    browser.open(page)
    warnings = [line for line in browser.driver.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]
    assert warnings == []
    assert len([it for it in browser.deep("canvas") if it.size["width"] > 200]) >= 10
    assert browser.run("return window.hacked") is None


def test_tooltip_shows_the_clip_with_face_and_spectrogram(browser: Browser, page: Path) -> None:
    browser.open(page)
    (tooltip,) = browser.point_at("before visual anger", 0)
    assert f"{EVIL}0" in tooltip  # as text
    assert "truth: anger" in tooltip
    assert "predicted: anger (90%)" in " ".join(tooltip.split())
    pictures = browser.deep('img[alt="face"], img[alt="spectrogram"]')
    assert [it.get_attribute("alt") for it in pictures if it.is_displayed()] == ["face", "spectrogram"]
    assert all(browser.run("return arguments[0].naturalWidth", it) == 48 for it in pictures)
    assert browser.run("return window.hacked") is None
    (after,) = browser.point_at("after acoustic fear", 3)
    assert "truth: fear" in after


def test_click_hides_and_shows_an_emotion(browser: Browser, page: Path) -> None:
    browser.open(page)
    anger, *others = browser.deep('input[type="checkbox"]')
    assert len(others) == 1
    assert browser.point_at("after visual anger", 0)
    anger.click()
    assert browser.point_at("after visual anger", 0) == []
    assert browser.point_at("after visual fear", 2)
    anger.click()
    assert browser.point_at("before visual anger", 0)


def test_keyboard_chooses_the_clip_whose_attention_is_shown(browser: Browser, page: Path) -> None:
    browser.open(page)
    (select,) = browser.deep("select")
    assert len(browser.run("return [...arguments[0].options]", select)) == 4
    chosen = "it.type == 'GroupFilter' && it.column_name == 'clip'"
    assert [it["group"] for it in browser.models(chosen, "group")] == ["0"]
    browser.run("arguments[0].focus()", select)
    ActionChains(browser.driver).send_keys(Keys.ARROW_DOWN).perform()
    assert f"{EVIL}1: anger" in browser.run("return arguments[0].selectedOptions[0].text", select)
    assert [it["group"] for it in browser.models(chosen, "group")] == ["1"]


def test_keyboard_reaches_everything_with_visible_focus(browser: Browser, page: Path) -> None:
    browser.open(page)
    ActionChains(browser.driver).send_keys(Keys.TAB).perform()
    focused = browser.driver.switch_to.active_element
    assert focused.text == "Skip to the results"
    assert focused.location["x"] >= 0
    assert browser.run("return getComputedStyle(arguments[0]).outlineStyle", focused) == "solid"
    focused.send_keys(Keys.ENTER)
    assert browser.driver.current_url.endswith("#main")
    reached = set()
    for _ in range(250):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        reached.add(browser.run(FOCUSED))
    assert reached >= {"A", "SUMMARY", "DIV", "INPUT", "SELECT", "PRE"}  # DIV: tables that scroll


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_page_fits_the_screen_in_light_and_dark(
    browser: Browser, page: Path, tmp_path: Path, width: str, dark: bool
) -> None:
    browser.open(page, width=width, dark=dark)
    assert browser.run("return innerWidth") == WIDTHS[width][0]
    assert browser.run("const it = document.documentElement; return it.scrollWidth - it.clientWidth") == 0
    screenshot = browser.picture(tmp_path / f"{width}-{'dark' if dark else 'light'}.png")
    ground = np.bincount(screenshot.ravel()).argmax()
    assert (ground < 60) if dark else (ground > 240)
    outside = browser.run(
        "return [...document.querySelectorAll('main *')].filter((it) => !it.closest('.scroll, pre, svg')"
        " && it.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert outside == 0


def test_texts_of_figures_are_legible_in_dark_mode(browser: Browser, page: Path) -> None:
    browser.open(page, dark=True)
    for selector in (".bk-label", "select", "label"):
        elements = [it for it in browser.deep(selector) if it.is_displayed() and it.text]
        assert elements, selector
        for it in elements:
            colours = (browser.run(f"return getComputedStyle(arguments[0]).{name}", it) for name in ("color", GROUND))
            text, ground = map(_rgb, colours)
            assert min(text) > 150 > 60 > max(ground), selector  # no background is transparent black
    assert min(_rgb(browser.run(AXIS_COLOUR))) > 150


def _rgb(text: str) -> list[int]:
    if text.startswith("#"):
        return [int(text[start : start + 2], 16) for start in (1, 3, 5)]
    return [int(float(it)) for it in text[text.index("(") + 1 : -1].replace(",", " ").split()[:3]]


def test_print_shows_static_figures_instead_of_interactive_ones(browser: Browser, page: Path) -> None:
    browser.open(page)
    plots = len(browser.driver.find_elements("css selector", ".plot"))
    browser.command("Emulation.setEmulatedMedia", media="print")
    assert not [it for it in browser.driver.find_elements("css selector", ".plot, nav") if it.is_displayed()]
    static = [it for it in browser.driver.find_elements("css selector", ".printed") if it.is_displayed()]
    assert len(static) == plots == 7
    printed = base64.b64decode(browser.command("Page.printToPDF", printBackground=True)["data"])
    assert printed.startswith(b"%PDF")
