"""The page in Chromium, driven as a person would: it updates itself, keys and reviews work, nothing is cut off."""

import os
import shutil
import socket
import threading

import pytest
import uvicorn

from station.api import make_app
from tests.station.conftest import send, until

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
missing = pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver on PATH")
pytestmark = [pytest.mark.browser, missing]
webdriver = pytest.importorskip("selenium.webdriver")


@pytest.fixture
def address(station):
    """The address at which the station is served on loopback."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(station), log_level="warning", lifespan="off"))
    thread = threading.Thread(target=lambda: server.run(sockets=[listening]), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    station.begin_stop()
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    os.environ["SE_AVOID_STATS"] = "true"
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def text(browser, selector):
    """The visible text of the first element; "" where there is none or it is just being replaced."""
    return browser.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)


def visit(browser, address):
    """Open a page and wait for all of it; the driver alone can take the end of the last page's events for it."""
    browser.get(address)
    ready = "return document.readyState === 'complete' && location.href"
    until(lambda: browser.execute_script(ready) in (address, address + "/"))


def press(browser, key):
    webdriver.ActionChains(browser).send_keys(key).perform()


def test_a_shift(browser, address, station):
    visit(browser, address)
    assert "No part yet" in text(browser, "main")
    send(station, 3, serial="A1", draw=True)
    until(lambda: "PASS" in text(browser, ".verdict"))  # it has updated itself
    part = send(station, 50, serial="A2 <b>", draw=True)
    until(lambda: "FAIL" in text(browser, ".verdict"))
    assert browser.title == "FAIL" and "A2 <b>" in text(browser, ".who") and "score 50" in text(browser, ".details")
    loaded = "return [...document.images].every(i => i.complete && i.naturalWidth === 672) && document.images.length"
    until(lambda: browser.execute_script(loaded) == 3)
    press(browser, "g")  # no name yet: the key asks for it
    assert browser.execute_script("return document.activeElement.name") == "by"
    press(browser, "Eva")
    send(station, 4, serial="A4")
    until(lambda: "newer part" in text(browser, "#connection"))  # what somebody fills in is not taken away
    assert "FAIL" in text(browser, ".verdict")
    browser.execute_script("document.activeElement.blur()")
    until(lambda: "PASS" in text(browser, ".verdict") and not text(browser, "#connection"))
    press(browser, "2")  # the review page
    until(lambda: "1 to review" in text(browser, "h1"))
    assert browser.execute_script("return document.querySelector('input.by').value") == "Eva"
    browser.execute_script("document.activeElement.blur()")
    press(browser, "g")
    until(lambda: "Nothing to review" in text(browser, "h1"))
    review = station.journal.part(part["id"]).review
    assert (review["truth"], review["by"]) == ("good", "Eva")
    other = send(station, 60, serial="A3")
    visit(browser, address + "/review")
    browser.execute_script("document.querySelector('[name=kind]').value = 'dent'")
    browser.execute_script("document.activeElement.blur()")
    press(browser, "d")
    until(lambda: station.journal.part(other["id"]).review)
    assert station.journal.part(other["id"]).review["kind"] == "dent"
    visit(browser, address + "/history?search=A2")
    assert "A2 <b>" in text(browser, "table") and "A3" not in text(browser, "table")
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_station_that_stops_is_told(browser, address, station):
    visit(browser, address)
    station.begin_stop()
    until(lambda: "No connection" in text(browser, "#connection"))


@pytest.mark.parametrize("width, height", [(400, 850), (1024, 768), (1920, 1080)])
def test_nothing_is_cut_off_and_the_verdict_is_large(browser, address, station, width, height):
    for score in (1, 50):
        send(station, score, serial="A-very-long-serial-number-" * 5, name="x" * 150, draw=True)
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for path in ("/review", "/history", "/quality", "/docs", "/"):
        visit(browser, address + path)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, path
    tall = browser.execute_script("return parseFloat(getComputedStyle(document.querySelector('.verdict')).fontSize)")
    assert tall >= (130 if width > 1000 else 50)


def accessible(browser):
    """[(role, name, {property: value})] as a screen reader gets them."""
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    value = lambda node, key: node.get(key, {}).get("value", "")
    properties = lambda node: {p["name"]: p["value"].get("value") for p in node.get("properties", ())}
    return [(value(n, "role"), value(n, "name"), properties(n)) for n in nodes if not n["ignored"]]


def tabbed(browser):
    """What Tab reaches from the top of the page, once around; each shows that it has the focus."""
    reached = []
    browser.execute_script("document.activeElement.blur()")
    while True:
        press(browser, "\ue004")
        at, outline = browser.execute_script(
            "const e = document.activeElement, s = getComputedStyle(e); e.dataset.at ||= String(Math.random());"
            "return [e !== document.body && e.dataset.at, s.outlineStyle === 'solid' && parseFloat(s.outlineWidth)]"
        )
        if not at or at in reached:
            return len(reached)
        assert outline and outline >= 2, browser.execute_script("return document.activeElement.outerHTML")
        reached.append(at)


def test_keyboard_and_screen_reader(browser, address, station):
    part = send(station, 50, serial="A1", draw=True)
    named = {"link", "button", "textbox", "searchbox", "combobox", "image", "heading", "navigation", "form"}
    for path in ("/", "/review", "/history", "/quality", f"/view/{part['id']}", "/docs"):
        visit(browser, address + path)
        found = accessible(browser)
        assert [(role, name) for role, name, _ in found if role in named and not name.strip()] == [], path
        roles = [role for role, _, _ in found]
        assert roles.count("main") == roles.count("navigation") == 1 and "contentinfo" in roles, path
        assert sum(role == "heading" and more.get("level") == 1 for role, _, more in found) == 1, path
        controls = "a[href], button:enabled, input:not([type=hidden]), select"
        count = browser.execute_script("return [...document.querySelectorAll(arguments[0])].length", controls)
        assert tabbed(browser) == count > 6, path
    visit(browser, address)
    names = [name for role, name, _ in accessible(browser) if role == "image"]
    assert names == ["This part with 1 outlined region", "A normal part", "Depth of this part: near is bright"]
    send(station, 3, serial="A2")
    said = lambda: [more for role, name, more in accessible(browser) if name == "PASS: A2" and role == "StaticText"]
    until(said)
    assert browser.execute_script("return document.getElementById('announce').ariaLive") == "assertive"
