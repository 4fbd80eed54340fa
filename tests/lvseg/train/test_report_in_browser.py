"""report.html as a browser shows it: headless Chromium, spoken to through its debugging pipe."""

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DEADLINE_S = 60


class Browser:
    """One tab of a headless Chromium, and all the events that it has told of."""

    def __init__(self, profile: Path) -> None:
        read_commands, self._commands = os.pipe()
        self._answers, write_answers = os.pipe()
        # The pipe's ends are to be 3 and 4 in Chromium: duplicates above keep the two from overwriting each other.
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (read_commands, write_answers)]
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                   "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]  # fmt: skip
        redirected = f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}'
        self._process = subprocess.Popen(
            ["bash", "-c", redirected, "chromium", *command],
            pass_fds=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (read_commands, write_answers, *theirs):
            os.close(end)
        self._number = 0
        self._unread = b""
        self._session: str | None = None
        self.events: list[dict] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self._session = None
        self.call("Browser.close")
        self._process.wait(DEADLINE_S)
        os.close(self._commands)
        os.close(self._answers)

    def call(self, method: str, **parameters: object) -> dict:
        """Return what a command of the DevTools protocol answers."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page: Path) -> None:
        """Open a page and wait until it has loaded."""
        self.call("Page.setLifecycleEventsEnabled", enabled=True)
        loader = self.call("Page.navigate", url=page.as_uri())["loaderId"]
        while not any(
            event["method"] == "Page.lifecycleEvent"
            and (event["params"]["loaderId"], event["params"]["name"]) == (loader, "load")
            for event in self.events
        ):
            self.events.append(self._next())

    def value(self, expression: str) -> object:
        """Return what a JavaScript expression comes to, a promise's too."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _next(self) -> dict:
        deadline = time.monotonic() + DEADLINE_S
        while b"\0" not in self._unread:
            assert select.select([self._answers], [], [], deadline - time.monotonic())[0], (
                "Chromium is silent"
            )
            self._unread += os.read(self._answers, 1 << 20)
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)


@pytest.fixture(scope="module")
def page(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    try:
        browser.open(trained_run / "report.html")
        yield browser
    finally:
        browser.close()


def test_the_console_stays_empty(page):
    page.value("1")  # whatever was logged before this answer has come
    telling = {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}
    assert [event["params"] for event in page.events if event["method"] in telling] == []


def test_nothing_is_asked_of_the_network(page, trained_run):
    asked = [
        event["params"]["request"]["url"]
        for event in page.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert asked[0] == (trained_run / "report.html").as_uri()
    assert [url for url in asked[1:] if not url.startswith("data:")] == []


def test_every_picture_is_decoded(page):
    decoded = page.value(
        "Promise.all([...document.images].map(image => image.decode().then(() => image.naturalWidth)))"
    )
    assert len(decoded) > 60
    assert min(decoded) > 0


@pytest.mark.parametrize(
    ("section", "content", "count"),
    [
        ("summary", "#scores td", 14),
        ("curves", "figure.curves > svg", 3),
        ("confusion", "figure.curves > svg", 1),
        ("overlays", ".overlays img", 3 * 6),
        ("worst", "img", 8),
        ("activations", ".tiles img, #activations .histogram", 60),
        ("weights", ".tiles img, #weights .histogram", 42),
    ],
)
def test_a_section_shows_what_it_is_for(page, section, content, count):
    shown = page.value(
        f"[...document.querySelectorAll('#{section} {content}')]"
        ".filter(part => part.getBoundingClientRect().height > 8).length"
    )
    assert shown >= count


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_no_wider_than_the_window(page, width):
    page.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
    )
    assert page.value("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("scheme", "bright"), [("light", True), ("dark", False)])
def test_the_page_follows_the_systems_colours(page, scheme, bright):
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    paper, ink, axis = (
        page.value(f"getComputedStyle(document.querySelector('{part}')).{property_}")
        for part, property_ in (("body", "backgroundColor"), ("h1", "color"), ("#curves svg text", "fill"))
    )
    assert (_brightness(paper) > 0.5) == bright
    assert (_brightness(ink) > 0.5) == (not bright)
    assert axis == ink


def _brightness(colour: str) -> float:
    """Return how bright a CSS rgb(...) is, 0 to 1."""
    return sum(float(part) for part in colour.strip("rgb()").split(",")) / (3 * 255)
