"""The HTML report: all that is known about each vault, in any browser, without a network."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbr_sync.app import App
from cbr_sync.cli.html_report import MAX_DRAWN_VAULTS, Timeline, format_duration, render_page
from cbr_sync.credentials import PlatformValues
from cbr_sync.local import simulator_environ
from cbr_sync.models import Copies, Kind, OutcomeError, Trigger, VaultSelector
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.reports.models import Report, ReportParam, State, SyncRecord, VaultReport
from cbr_sync.services import Services
from cbr_sync.settings import Settings
from cbr_sync.simulator.scenarios import demo_simulator
from support.chromium import DARK, LIGHT, Chromium, find_chromium
from support.world import ENDPOINT, START, VirtualClock

TRIGGER = Trigger(kind=Kind.DIRECT, id="somebody")
BUCKET = OutcomeError(code="BackupService.6405", message="Bucket object deletion failed.")
TWO_WEEKS = 336.0
LONG_NAME = "备份存储库" + "x" * 59
MARKUP = "<script>pwned = 1</script><img src=x onerror='pwned = 1'>&amp;"
VOID = {"meta", "use", "rect", "path", "circle"}


def build_sync(hours_ago: float, status: str = "succeeded", **change: Any) -> SyncRecord:
    """Build a sync that started so long ago and took half an hour."""
    began = START - timedelta(hours=hours_ago)
    fields = {"operation_log_id": f"log-{hours_ago}", "status": status, "started_at": began}
    ended = {"ended_at": began + timedelta(minutes=30), "copies": Copies(synced=12, deleted=1, failed=0)}
    return SyncRecord(**{**fields, **ended, **change})


def build_running_sync(hours_ago: float, **change: Any) -> SyncRecord:
    """Build a sync that started so long ago and is still running."""
    return build_sync(
        hours_ago, **{"status": "running", "progress": 20, "ended_at": None, "copies": None, **change}
    )


def build_vault(
    number: int = 1, state: State = State.FRESH, age_hours: float | None = 7.0, **change: Any
) -> VaultReport:
    """Build the report on one vault, with these changes."""
    fields = {
        "vault_id": f"00000000-0000-4000-8000-{number:012}",
        "name": f"vault-{number}",
        "object_type": "vmware",
        "vault_status": "available",
        "state": state,
        "age_hours": age_hours,
        "last_success": None if age_hours is None else build_sync(age_hours),
        "running": None,
        "last_error": None,
    }
    return VaultReport(**{**fields, **change})


def build_report(
    *vaults: VaultReport, history: dict[str, tuple[SyncRecord, ...]] | None = None, **change: Any
) -> Report:
    """Build a report on these vaults, the worst of them first."""
    fields = {
        "at": START,
        "max_age_hours": 26.0,
        "history_hours": TWO_WEEKS,
        "counts": Counter(vault.state for vault in vaults),
        "oldest_sync_age_hours": None,
        "vaults": vaults,
        "history": history or {},
        "trigger": TRIGGER,
    }
    return Report(**{**fields, **change})


def build_large_report(number: int) -> Report:
    """Build a report on so many vaults, one in five of them failing, with a sync each night."""
    failing = number // 5
    vaults = [
        build_vault(one, State.FAILING, 55.0, last_error=build_sync(7, "failed", error=BUCKET))
        for one in range(failing)
    ]
    vaults += [build_vault(one) for one in range(failing, number)]
    nights = tuple(build_sync(7 + 24 * night) for night in range(14))
    return build_report(*vaults, history={vault.vault_id: nights for vault in vaults})


@pytest.fixture(scope="module")
def demo_report() -> Report:
    """The report on the demo simulator, made as a run makes it."""
    simulator = demo_simulator(lambda: START)
    environ = simulator_environ(ENDPOINT, "hybrid")
    app = App(
        Settings.load(environ),
        environ,
        make_logger(environ),
        clock=VirtualClock(),
        transport=simulator.transport(),
    )
    services = Services(app, PlatformValues, 60)
    return services.report(
        services.find_vaults(VaultSelector()), ReportParam(history_hours=TWO_WEEKS), TRIGGER
    )


@dataclass
class Parsed(HTMLParser):
    """A page's elements and texts; an element that is left open, or closed twice, is an error."""

    page: str
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All words, with single spaces."""
        return " ".join("".join(self.texts).split())

    def all(self, name: str) -> list[str]:
        """The values of an attribute, on whichever element."""
        return [attributes[name] or "" for _, attributes in self.elements if name in attributes]

    def classed(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of the elements of a class."""
        return [
            attributes for _, attributes in self.elements if name in (attributes.get("class") or "").split()
        ]


@pytest.mark.parametrize(
    ("states", "answer"),
    [
        ([], "No hybrid vaults found"),
        ([State.FRESH], "The only vault is fresh"),
        ([State.NEVER], "The only vault needs attention"),
        ([State.FRESH] * 12, "All 12 vaults are fresh"),
        ([State.STALE] * 9, "All 9 vaults need attention"),
        ([State.FAILING, State.FRESH], "1 of 2 vaults needs attention"),
        ([State.FAILING] * 6 + [State.FRESH] * 3, "6 of 9 vaults need attention"),
    ],
)
def test_the_headline_says_whether_anybody_has_to_act(states: list[State], answer: str) -> None:
    """In the page's heading and in its title."""
    page = render_page(build_report(*(build_vault(number, state) for number, state in enumerate(states))))
    assert f"<h1>{answer}</h1>" in page
    assert f"<title>{answer} · cbr-sync, 23 Nov 2026 03:00 UTC</title>" in page


def test_a_row_has_all_that_is_known_about_its_vault() -> None:
    """Name, id, type, state, age, last success, running sync and last error, in the API's words."""
    error = OutcomeError(
        code="BackupService.6405", message="删除对象失败", request_id="req-1", http_status=500
    )
    one = build_vault(
        state=State.FAILING,
        age_hours=79.0,
        vault_status="frozen",
        running=build_running_sync(6),
        last_error=build_sync(7, "failed", error=error, copies=Copies(synced=11, deleted=0, failed=2)),
    )
    page = Parsed(
        render_page(
            build_report(
                one, history={one.vault_id: (build_running_sync(6), build_sync(7, "failed"), build_sync(79))}
            )
        )
    )
    for words in [
        "vault-1 Failing · vmware · vault is frozen 00000000-0000-4000-8000-000000000001",
        "3 days 7 hours since the last successful sync 2 days 5 hours over the limit",
        "19 Nov 20:00, 12 copies synced, 1 deleted, 0 failed",
        "3 syncs in the last 14 days: 1 succeeded, 1 running, 1 failed",
        "Failed: started 22 Nov 20:00, took 30 minutes · 11 copies synced, 0 deleted, 2 failed",
        "BackupService.6405 删除对象失败 Operation log log-7 · request req-1 · HTTP 500",
        "Running since 22 Nov 21:00 (6 hours) · 20% Operation log log-6",
    ]:
        assert words in page.text
    assert {"2026-11-23T03:00:00.000Z", "2026-11-22T20:00:00.000Z"} <= set(page.all("datetime"))


def test_the_page_states_its_time_its_scope_and_its_limit() -> None:
    """Whoever finds it later knows what it covers, and where that comes from."""
    page = Parsed(render_page(build_report(build_vault(), max_age_hours=26.5), scope="type vmware"))
    assert "Hybrid vaults · type vmware" in page.text
    assert (
        "As of 23 Nov 2026 03:00 UTC; all times are in UTC. A vault is stale 26 hours 30 minutes after "
        "its last successful sync started." in page.text
    )
    assert "Generated by cbr-sync from ListVault and ListOpLogs" in page.text


def test_vaults_are_in_the_order_of_the_report(demo_report: Report) -> None:
    """The worst first, under their states, every one of them."""
    text = Parsed(render_page(demo_report)).text
    places = [text.index(vault.vault_id) for vault in demo_report.vaults]
    assert places == sorted(places)
    assert {vault.state for vault in demo_report.vaults} == set(State)


def test_a_state_has_a_name_and_a_symbol(demo_report: Report) -> None:
    """Not by a colour alone, in every row."""
    page = render_page(demo_report)
    labels = re.findall(
        r'<span class="label"><svg[^>]*><use href="#state-([a-z]+)"/></svg> ([A-Za-z ]+)</span>', page
    )
    words = [word.lower().replace(" synced", "") for _, word in labels]
    assert words == [state for state, _ in labels] == [vault.state for vault in demo_report.vaults]


def test_a_sync_has_a_shape_and_a_title() -> None:
    """Each status has its own, also in the legend; the API's word for one that goes on is kept."""
    one = build_vault()
    kinds = ["failed", "timed_out", "partial", "skipped", "succeeded"]
    history = (
        build_running_sync(1, status="waiting"),
        *(build_sync(20 + 24 * day, kind) for day, kind in enumerate(kinds)),
    )
    page = Parsed(render_page(build_report(one, history={one.vault_id: history})))
    drawn = [mark["class"] for tag, mark in page.elements if mark.get("role") == "listitem"]
    assert drawn == [*reversed(kinds), "running"]
    assert "Timed out: 21 Nov 07:00 UTC; 30 minutes; 12 copies synced, 1 deleted, 0 failed" in page.text
    assert "Waiting: 23 Nov 02:00 UTC; 1 hour" in page.text
    assert {"succeeded", "skipped", "running", "partial", "timed out", "failed"} <= set(page.texts)


def test_a_failure_is_not_hidden_behind_successes() -> None:
    """Hourly syncs for a year share their places, and the worst of them is seen."""
    one = build_vault()
    history = tuple(build_sync(hour, "failed" if hour == 5000 else "succeeded") for hour in range(8784))
    page = Parsed(render_page(build_report(one, history={one.vault_id: history}, history_hours=8784.0)))
    marks = [mark["class"] for tag, mark in page.elements if mark.get("role") == "listitem"]
    assert marks.count("failed") == 1
    assert len(marks) < 100
    assert "8784 syncs in the last 366 days: 8783 succeeded, 1 failed" in page.text


def test_a_running_sync_reaches_until_now() -> None:
    """A sync that takes long has a long bar."""
    one = build_vault()
    page = render_page(build_report(one, history={one.vault_id: (build_running_sync(84),)}))
    assert '<rect x="75.0%" y="10" width="25.0%" height="10"/>' in page


def test_nothing_is_made_up_where_the_api_says_little() -> None:
    """A sync that ended at an unknown time took no known time; without an error of its own, it has none."""
    failed = build_sync(84, "failed", ended_at=None, copies=None)
    one = build_vault(
        state=State.FAILING, age_hours=None, object_type=None, vault_status=None, last_error=failed
    )
    page = Parsed(render_page(build_report(one, history={one.vault_id: (failed,)})))
    assert "Failed: started 19 Nov 15:00 The API reported no error. Operation log log-84" in page.text
    assert "vault-1 Failing 00000000" in page.text
    assert "No known successful sync" in page.text
    assert "rect" not in [tag for tag, attributes in page.elements if "id" not in attributes]


def test_without_a_history_there_is_no_timeline() -> None:
    """Nothing is said about syncs that nobody asked for."""
    page = Parsed(render_page(build_report(build_vault(), history_hours=0.0)))
    assert not page.classed("strip")
    assert "syncs in the last" not in page.text


def test_age_bars_share_one_scale() -> None:
    """The limit is at the same place in all, and what is beyond the scale is marked."""
    ages = (7.0, 26.0, 104.0, 271.2)
    page = Parsed(
        render_page(build_report(*(build_vault(number, age_hours=age) for number, age in enumerate(ages))))
    )
    widths = [style for style in page.all("style") if style.startswith("width:")]
    assert widths == ["width:6.73%", "width:25.0%", "width:100.0%", "width:100.0%"]
    assert len(page.classed("over")) == 1
    assert len(page.classed("limit")) == 4


def test_foreign_text_stays_text() -> None:
    """Markup in a name, a scope or an error's words stays words."""
    error = OutcomeError(code=MARKUP, message=MARKUP)
    one = build_vault(
        state=State.FAILING, name=MARKUP, object_type=MARKUP, last_error=build_sync(7, MARKUP, error=error)
    )
    page = Parsed(
        render_page(build_report(one, history={one.vault_id: (build_sync(7, error=error),)}), scope=MARKUP)
    )
    assert {"script", "img"}.isdisjoint(tag for tag, _ in page.elements)
    assert page.text.count(MARKUP) >= 6


@settings(max_examples=25, deadline=None)
@given(words=st.text(st.sampled_from("<>&\"'/=!-; a") | st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_name_changes_the_page_around_it(words: str) -> None:
    """Whatever a vault is called, the elements are the same."""
    error = OutcomeError(code=words, message=words)
    one = build_vault(state=State.FAILING, name=words, last_error=build_sync(7, "failed", error=error))
    named = Parsed(render_page(build_report(one), scope=words))
    plain = Parsed(render_page(build_report(one.model_copy(update={"name": "plain"})), scope="plain"))
    assert named.elements == plain.elements


def test_the_page_loads_nothing_and_runs_nothing(demo_report: Report) -> None:
    """No script, no address but places in the page itself, and a policy that would forbid others."""
    page = render_page(demo_report)
    parsed = Parsed(page)
    assert {tag for tag, _ in parsed.elements}.isdisjoint(
        {"script", "link", "img", "iframe", "object", "embed", "base", "form", "audio", "video", "source"}
    )
    names = {name for _, attributes in parsed.elements for name in attributes}
    assert names.isdisjoint({"src", "srcset", "xlink:href", "action", "data", "poster", "background"})
    assert not {name for name in names if name.startswith("on")}
    assert {address.removeprefix("#") for address in parsed.all("href")} <= set(parsed.all("id"))
    assert not re.search(r"https?:|url\(|@import", page)
    assert "default-src 'none'; style-src 'unsafe-inline'" in parsed.all("content")


def test_ids_are_unique(demo_report: Report) -> None:
    """So that every link has one target."""
    ids = Parsed(render_page(demo_report)).all("id")
    assert len(set(ids)) == len(ids)


def test_there_are_rules_for_light_dark_and_print() -> None:
    """The page follows the reader; print is light, its bars keep their colours, and no row is cut."""
    page = render_page(build_report())
    assert '<meta name="color-scheme" content="light dark">' in page
    assert "@media screen and (prefers-color-scheme: dark)" in page
    printed = page.partition("@media print")[2]
    assert "break-inside: avoid" in printed
    assert "print-color-adjust: exact" in printed


def test_a_report_on_no_vault_is_a_page() -> None:
    """It says so, and which vaults were asked for."""
    text = Parsed(render_page(build_report(), scope="name nothing")).text
    assert "ListVault returned no hybrid vaults for name nothing." in text


def test_thousands_of_vaults_are_a_page_of_sane_size() -> None:
    """All are there; those after the worst ones in text alone, and the page says so."""
    report = build_large_report(2300)
    page = render_page(report)
    text = Parsed(page).text
    assert all(vault.vault_id in text for vault in report.vaults)
    assert "460 of 2,300 vaults need attention" in text
    assert page.count('<div class="bar') == page.count('<svg class="strip') == MAX_DRAWN_VAULTS
    assert page.count(BUCKET.message) == 460
    assert f"drawn for the first {MAX_DRAWN_VAULTS} vaults" in text
    assert len(page) < 4_000_000


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (0.001, "less than a minute"),
        (0.5, "30 minutes"),
        (1.0, "1 hour"),
        (7.1, "7 hours 6 minutes"),
        (26.0, "26 hours"),
        (48.5, "2 days"),
        (79.0, "3 days 7 hours"),
        (-1.0, "less than a minute"),
    ],
)
def test_a_duration_is_formatted_in_words(hours: float, words: str) -> None:
    """Two units at most, rounded down; a clock that is ahead of ours takes no time."""
    assert format_duration(timedelta(hours=hours)) == words


@pytest.mark.parametrize("hours", [0.1, 1.0, 12.0, 24.0, 48.0, 100.0, TWO_WEEKS, 720.0, 8784.0])
def test_a_timeline_is_labelled_sparsely(hours: float) -> None:
    """From an hour to a year: some labels, not too near to each other or to its end, and lines."""
    timeline = Timeline(START + timedelta(hours=9.42), timedelta(hours=hours))
    places = [label.x for label in timeline.labels]
    assert len(places) <= 8
    assert all(later - earlier >= 100 / 8.01 for later, earlier in pairwise(places))
    assert all(0 <= place < 93 for place in places)
    assert 0 <= timeline.line_offset <= timeline.line_period


def test_a_timeline_of_days_has_days_and_one_of_hours_has_hours() -> None:
    """Midnight is named by its day."""
    noon = START.replace(hour=12)
    assert [label.text for label in Timeline(noon, timedelta(days=3)).labels][:3] == [
        "23 Nov",
        "12:00",
        "22 Nov",
    ]
    assert [label.text for label in Timeline(noon, timedelta(days=7)).labels][:2] == ["22 Nov", "21 Nov"]


# What a browser makes of it. Texts overlap where their lines do by more than fonts do by themselves.
MEASURE = """
function measure(window) {
    const {document} = window;
    const all = selector => Array.from(document.querySelectorAll(selector));
    const style = element => window.getComputedStyle(element);
    const numbers = color => color.match(/[\\d.]+/g).map(Number);
    const luminance = color => {
        const linear = c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
        const [r, g, b] = numbers(color).map(c => linear(c / 255));
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const behind = element => {
        const background = style(element).backgroundColor;
        return numbers(background)[3] === 0 ? behind(element.parentElement) : background;
    };
    const contrast = element => {
        const [dark, light] = [style(element).color, behind(element)].map(luminance).sort((a, b) => a - b);
        return (light + .05) / (dark + .05);
    };
    const texts = [], lines = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const range = document.createRange();
        range.selectNodeContents(walker.currentNode);
        const rects = Array.from(range.getClientRects()).filter(({width}) => width > 1);
        if (!walker.currentNode.data.trim() || !rects.length) continue;
        texts.push(walker.currentNode.parentElement);
        lines.push(...rects.map(rect => [rect, walker.currentNode.data.trim()]));
    }
    lines.sort(([a], [b]) => a.top - b.top);
    const overlaps = lines.flatMap(([a, text], index) => {
        const clashes = [];
        for (let next = index + 1; next < lines.length && lines[next][0].top < a.bottom - 4; next++) {
            const [b, other] = lines[next];
            if (b.left < a.right - 1 && a.left < b.right - 1) clashes.push([text, other]);
        }
        return clashes;
    });
    const beyond = ({right}) => right > window.innerWidth + .5;
    return {
        client: document.documentElement.clientWidth,
        scroll: document.documentElement.scrollWidth,
        beyond: all("body *").filter(e => beyond(e.getBoundingClientRect())).map(e => e.outerHTML),
        vaults: all("h3").filter(e => e.getBoundingClientRect().height > 0).length,
        columns: style(document.querySelector(".row")).gridTemplateColumns.split(" ").length,
        smallest: Math.min(...texts.map(e => parseFloat(style(e).fontSize))),
        contrast: texts.map(e => [contrast(e), e.textContent]).sort(([a], [b]) => a - b)[0],
        page: style(document.body).backgroundColor,
        pwned: "pwned" in window,
        overlaps,
    };
}
"""
PHONE, TABLET, DESK = 390, 820, 1280


@pytest.fixture(scope="session")
def chromium() -> Chromium:
    """A browser."""
    path = find_chromium()
    if path is None:
        pytest.skip("no chromium here to open the page in; on Debian: apt-get install chromium")
    return Chromium(path)


def build_hard_report(demo_report: Report) -> Report:
    """Add to the demo report what is hard to lay out: long words, markup, more vaults than are drawn."""
    error = OutcomeError(code="BackupService." + "9" * 80, message="y" * 300)
    long = build_vault(
        1, State.FAILING, 4000.0, name=LONG_NAME, last_error=build_sync(7, "failed", error=error)
    )
    odd = build_vault(2, name=MARKUP, vault_status="lock", running=build_running_sync(30, progress=None))
    hourly = tuple(build_sync(hour, "skipped") for hour in range(336))
    more = [build_vault(number, name="w" * 64) for number in range(3, MAX_DRAWN_VAULTS + 10)]
    return demo_report.model_copy(
        update={
            "max_age_hours": 26.5,
            "vaults": (long, *demo_report.vaults, odd, *more),
            "history": {**demo_report.history, odd.vault_id: hourly, long.vault_id: hourly},
        }
    )


@dataclass(frozen=True)
class Measurements:
    """What the browser measured at each width, in both schemes."""

    light: dict[int, dict[str, Any]]
    dark: dict[int, dict[str, Any]]


@pytest.fixture(scope="module")
def measurements(chromium: Chromium, demo_report: Report) -> Measurements:
    """The hard report, measured once for all tests."""
    page, widths = render_page(build_hard_report(demo_report), scope="z" * 200), (PHONE, TABLET, DESK)
    light, dark = (chromium.measure(page, MEASURE, widths=widths, scheme=scheme) for scheme in (LIGHT, DARK))
    return Measurements(dict(zip(widths, light, strict=True)), dict(zip(widths, dark, strict=True)))


@pytest.mark.parametrize(("width", "columns"), [(PHONE, 1), (TABLET, 2), (DESK, 3)])
def test_every_width_has_its_layout_and_nothing_scrolls_sideways(
    measurements: Measurements, width: int, columns: int
) -> None:
    """On a phone and at a desk all vaults are visible, nothing is cut, and no text overlaps another."""
    measured = measurements.light[width]
    assert measured["client"] == measured["scroll"] == width
    assert measured["columns"] == columns
    assert measured["vaults"] == 9 + 2 + MAX_DRAWN_VAULTS + 7
    assert measured["beyond"] == []
    assert measured["overlaps"] == []


def test_every_text_can_be_read_in_light_and_dark(measurements: Measurements) -> None:
    """Contrast of 4.5 to 1 and more (WCAG 2.2, 1.4.3), and no small print."""
    for measured in (*measurements.light.values(), *measurements.dark.values()):
        ratio, text = measured["contrast"]
        assert ratio >= 4.5, text
        assert measured["smallest"] >= 12


def test_dark_is_dark(measurements: Measurements) -> None:
    """The reader's scheme decides."""
    assert (measurements.light[DESK]["page"], measurements.dark[DESK]["page"]) == (
        "rgb(245, 246, 248)",
        "rgb(15, 18, 23)",
    )


def test_no_browser_runs_a_name(measurements: Measurements) -> None:
    """A vault may be named like a script."""
    assert not any(
        measured["pwned"] for measured in (*measurements.light.values(), *measurements.dark.values())
    )


def test_the_page_prints(chromium: Chromium, demo_report: Report) -> None:
    """A PDF on a few sheets, though the reader's scheme is dark."""
    pdf = chromium.pdf(render_page(demo_report), scheme=DARK)
    assert pdf.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 4


def test_a_list_that_was_cut_says_so(demo_report: Report) -> None:
    """The newest syncs are there, and no number of all of them."""
    page = render_page(demo_report.model_copy(update={"history_omitted": 7}))
    assert "The latest 14 syncs: 14 succeeded" in page
    assert "syncs in the last" not in page.replace("No syncs in the last", "")
