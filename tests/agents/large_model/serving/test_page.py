"""The page in a browser, with a server of its own and a stand-in for the model.

Needs Playwright and a Chromium in PATH, and for accessibility the file axe.min.js, named by RECSIM_AXE: `make page`
installs them.
"""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from killed_server import start

pytest.importorskip("playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("there is no Chromium in PATH", allow_module_level=True)

from playwright.sync_api import expect, sync_playwright  # noqa: E402

AXE = os.environ.get("RECSIM_AXE")
PHONE, DESKTOP = (390, 844), (1280, 900)
TOKEN = "a secret"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def _served(folder: Path, token: str = ""):
    process, port = start(folder, "recsim_env/Music-v0", token)
    yield f"http://127.0.0.1:{port}/"
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    yield from _served(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def server_with_token(tmp_path_factory):
    yield from _served(tmp_path_factory.mktemp("guarded"), TOKEN)


def _open(browser, server: str, size: tuple[int, int] = DESKTOP, **settings):
    """The page, and the errors that it has logged so far."""
    width, height = size
    page = browser.new_page(viewport={"width": width, "height": height}, **settings)
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server)
    expect(page.locator("#about")).to_contain_text("items.")
    return page, errors


@pytest.fixture
def page(browser, server):
    page, errors = _open(browser, server)
    yield page
    page.close()
    assert errors == []


def _rounds(page) -> int:
    return int(page.locator("#totals dd").first.inner_text())


def _answer_by_keyboard(page, *keys: str) -> None:
    """One key for each item, and on to the next items."""
    number = _rounds(page)
    for key in keys:
        page.keyboard.press(key)
    page.keyboard.press("n")
    expect(page.locator("#totals dd").first).to_have_text(str(number + 1))


def _stored(page) -> dict:
    """The session that the page downloads."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    return json.loads(Path(download.value.path()).read_text())


def _focused(page) -> str:
    return page.evaluate("document.activeElement.textContent")


def test_a_whole_session_by_keyboard(page):
    for _ in range(12):
        page.keyboard.press("Tab")
        if _focused(page) == "Start":
            break
    page.keyboard.press("Enter")
    expect(page.locator(".card").first).to_be_focused()
    page.keyboard.press("5")
    expect(page.locator(".card").nth(1)).to_be_focused()
    page.keyboard.press("s")
    page.keyboard.press("l")
    assert _focused(page) == "Next"
    page.keyboard.press("Enter")
    expect(page.locator("#totals dd").first).to_have_text("1")
    page.keyboard.press("j")
    expect(page.locator(".card").nth(1)).to_be_focused()
    page.keyboard.press("w")
    expect(page.locator(".card").nth(1).locator(".why ul")).to_contain_text("5 stars")
    page.keyboard.press("k")
    page.keyboard.press("Tab")  # to the stars of the first item
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("n")
    expect(page.locator("#totals dd").first).to_have_text("2")
    stored = [each["feedback"] for each in _stored(page)["recommendations"]]
    assert [sorted(item["rating"] for item in feedback) for feedback in stored[:2]] == [[0, 1, 5], [0, 0, 3]]
    assert [item["rating"] for item in stored[0]] == [5, 0, 1]
    assert stored[2] is None


def test_new_items_are_announced_and_beliefs_are_told_in_numbers(page):
    page.click("#begin")
    titles = page.locator(".card h3")
    expect(titles).to_have_count(3)
    expect(page.locator("#status")).to_contain_text(titles.nth(2).inner_text())
    before = page.locator("#beliefs .value").all_inner_texts()
    assert len(before) == page.locator("#beliefs li").count() > 1
    _answer_by_keyboard(page, "5", "5", "1")
    assert page.locator("#beliefs .value").all_inner_texts() != before


def test_pictures_and_sounds_are_those_of_the_item(page):
    page.click("#begin")
    picture = page.locator(".card .picture img").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 32
    with page.expect_response(lambda answer: answer.url.endswith("/audio.wav")) as answer:
        page.get_by_role("button", name="Listen to").first.click()
    assert answer.value.headers["content-type"] == "audio/wav"


def test_the_agent_and_the_number_of_items_change_with_the_next_items(page):
    page.click("#begin")
    expect(page.locator(".card")).to_have_count(3)
    page.get_by_role("radio", name="Platform", exact=True).check()
    page.get_by_role("radio", name="5", exact=True).check()
    expect(page.locator("#settings-note")).to_have_text("From the next items on.")
    page.click("#next")
    expect(page.locator(".card")).to_have_count(5)
    expect(page.locator("#slate-agent")).to_have_text("Platform")
    expect(page.locator(".why")).to_have_count(0)
    assert _stored(page)["agent"] == "platform"


def test_a_blind_test_tells_nothing_until_its_end(page):
    page.get_by_role("radio", name="Blind test", exact=True).check()
    page.click("#begin")
    expect(page.locator("#blind-panel")).to_be_visible()
    expect(page.get_by_role("button", name="End the test")).to_be_disabled()
    for _ in range(4):
        _answer_by_keyboard(page, "4", "s")
    expect(page.locator("#beliefs-panel")).to_be_hidden()
    expect(page.locator(".why")).to_have_count(0)
    page.get_by_role("button", name="End the test").click()
    expect(page.locator("#result")).to_be_focused()
    rounds = page.locator("#result-agents dl > div:first-child dd").all_inner_texts()
    assert sum(map(int, rounds)) == 4
    expect(page.locator("#caveat")).to_contain_text("chance")
    assert {each["agent"] for each in _stored(page)["recommendations"]} <= {"large-model", "platform"}
    page.get_by_role("button", name="Start another").click()
    expect(page.locator("#totals dd").first).to_have_text("0")
    expect(page.locator("#result")).to_be_hidden()


def test_a_simulated_user_visits_step_by_step_and_running(page):
    page.get_by_role("link", name="Watch").click()
    expect(page.get_by_role("radio", name="Blind test")).to_be_hidden()
    page.get_by_role("button", name="New visitor").click()
    page.get_by_role("button", name="Step").click()
    expect(page.locator("#watch-slate .answer")).to_have_count(3)
    expect(page.locator("#watch-state")).to_contain_text("Step 1 of")
    topics = page.locator("#tastes li").count()
    assert page.locator("#tastes .value").count() == 2 * topics
    expect(page.locator("#state li")).to_have_count(2)
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#watch-state")).to_contain_text(re.compile("Step 3 of|left|over"), timeout=15_000)
    if page.get_by_role("button", name="Pause").count():  # the visitor may have left
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Run")).to_be_visible()


def test_a_person_deletes_everything_about_them(page, server):
    page.click("#begin")
    _answer_by_keyboard(page, "5")
    stored = _stored(page)
    assert page.request.get(f"{server}sessions/{stored['session']}").ok
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete everything").click()
    expect(page.get_by_role("button", name="Start")).to_be_focused()
    assert page.request.get(f"{server}sessions/{stored['session']}").status == 404
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".card")).to_have_count(3)
    assert _stored(page)["person"] != stored["person"]


def test_a_reload_keeps_the_person(page):
    page.click("#begin")
    _answer_by_keyboard(page, "5")
    person = _stored(page)["person"]
    page.reload()
    page.click("#begin")
    expect(page.locator(".card")).to_have_count(3)
    assert _stored(page)["person"] == person


def test_a_server_that_is_gone_is_told_in_words(browser, server):
    page, _ = _open(browser, server)
    page.click("#begin")
    expect(page.locator(".card")).to_have_count(3)
    page.route("**/feedback", lambda route: route.abort())
    page.click("#next")
    expect(page.get_by_role("alert").first).to_contain_text("does not answer")
    page.unroute("**/feedback")
    page.click("#next")
    expect(page.locator("#totals dd").first).to_have_text("1")
    expect(page.locator("#error")).to_be_hidden()
    page.close()


def test_a_token_is_asked_for_and_sent(browser, server_with_token):
    page = browser.new_page()
    page.goto(server_with_token)
    for token in ("wrong", TOKEN):
        page.fill("#token", token)
        page.keyboard.press("Enter")
        if token == "wrong":
            expect(page.locator("#token-problem")).to_contain_text("not the token")
    expect(page.locator("#token-dialog")).to_be_hidden()
    page.click("#begin")
    expect(page.locator(".card .picture img").first).to_be_visible()
    assert page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])").find(TOKEN) < 0
    page.close()


def _every_view(page):
    """Go through the page; yields the name of each view."""
    yield "start"
    page.click("#begin")
    expect(page.locator(".card .picture img")).to_have_count(3)
    _answer_by_keyboard(page, "5", "l", "s")
    page.keyboard.press("w")
    page.keyboard.press("4")
    yield "items"
    page.get_by_role("radio", name="Blind test", exact=True).check()
    page.click("#next")
    expect(page.locator("#blind-panel")).to_be_visible()
    _answer_by_keyboard(page, "5", "s", "s")
    yield "blind test"
    page.click("#compare")
    expect(page.locator("#result")).to_be_visible()
    yield "result"
    page.get_by_role("link", name="Watch").click()
    page.click("#visit")
    page.click("#step")
    expect(page.locator("#watch-slate .picture img")).to_have_count(3)
    yield "watch"


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_nothing_is_wider_than_the_screen(browser, server, size):
    page, errors = _open(browser, server, size, reduced_motion="reduce")
    for view in _every_view(page):
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], view
    durations = page.evaluate("document.getAnimations().length")
    page.close()
    assert (durations, errors) == (0, [])


@pytest.mark.skipif(AXE is None, reason="RECSIM_AXE does not name axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_axe_finds_no_serious_barrier(browser, server, size, scheme):
    page, _ = _open(browser, server, size, color_scheme=scheme, reduced_motion="reduce")
    page.evaluate(Path(AXE).read_text())
    for view in _every_view(page):
        found = page.evaluate("axe.run()")["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert [(each["id"], each["nodes"][0]["target"]) for each in serious] == [], view
    page.close()
