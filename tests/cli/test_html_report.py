"""The page of a report: all that is known of a vault, for people, in any browser, without a network."""

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

from cbr_sync.app import App, Seams
from cbr_sync.cli.html_report import DRAWN, Axis, format_span, render_page
from cbr_sync.credentials import PlatformValues
from cbr_sync.local import simulator_environ
from cbr_sync.models import Copies, Kind, OutcomeError, Trigger, VaultSelector
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.reports.models import Report, ReportParam, State, SyncRecord, VaultReport
from cbr_sync.settings import Settings
from cbr_sync.simulator.scenarios import demo_simulator
from support.chromium import DARK, LIGHT, Chromium, find_chromium
from support.world import ENDPOINT, START

TRIGGER = Trigger(kind=Kind.DIRECT, id="somebody")
BUCKET = OutcomeError(code="BackupService.6405", message="Bucket object deletion failed.")
TWO_WEEKS = 336.0
LONG_NAME = "备份存储库" + "x" * 59
MARKUP = "<script>pwned = 1</script><img src=x onerror='pwned = 1'>&amp;"
VOID = {"meta", "use", "rect", "path", "circle"}


def sync(hours_ago: float, status: str = "succeeded", **change: Any) -> SyncRecord:
    """A sync that began so long ago and took half an hour."""
    began = START - timedelta(hours=hours_ago)
    fields = {"operation_log_id": f"log-{hours_ago}", "status": status, "started_at": began}
    ended = {"ended_at": began + timedelta(minutes=30), "copies": Copies(synced=12, deleted=1, failed=0)}
    return SyncRecord(**{**fields, **ended, **change})


def running(hours_ago: float, **change: Any) -> SyncRecord:
    """A sync that began so long ago and goes on."""
    return sync(
        hours_ago, **{"status": "running", "progress": 20, "ended_at": None, "copies": None, **change}
    )


def vault(
    number: int = 1, state: State = State.FRESH, age_hours: float | None = 7.0, **change: Any
) -> VaultReport:
    """How a vault stands, changed so."""
    fields = {
        "vault_id": f"00000000-0000-4000-8000-{number:012}",
        "name": f"vault-{number}",
        "object_type": "vmware",
        "vault_status": "available",
        "state": state,
        "age_hours": age_hours,
        "last_success": None if age_hours is None else sync(age_hours),
        "running": None,
        "last_error": None,
    }
    return VaultReport(**{**fields, **change})


def report_on(
    *vaults: VaultReport, history: dict[str, tuple[SyncRecord, ...]] | None = None, **change: Any
) -> Report:
    """The report on these vaults, the first of them the worst."""
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


def fleet(number: int) -> Report:
    """So many vaults, one in five of them failing, with a sync each night."""
    failing = number // 5
    vaults = [
        vault(one, State.FAILING, 55.0, last_error=sync(7, "failed", error=BUCKET)) for one in range(failing)
    ]
    vaults += [vault(one) for one in range(failing, number)]
    nights = tuple(sync(7 + 24 * night) for night in range(14))
    return report_on(*vaults, history={vault.vault_id: nights for vault in vaults})


@pytest.fixture(scope="module")
def showcased() -> Report:
    """The report on the showcase, by way of the core and the simulator."""
    simulator = demo_simulator(lambda: START)
    environ = simulator_environ(ENDPOINT, "hybrid")
    seams = Seams(now=lambda: START, transport=simulator.transport())
    app = App(Settings.load(environ), environ, make_logger(environ), seams)
    session = app.session(PlatformValues, 60)
    return session.report(session.discover(VaultSelector()), ReportParam(history_hours=TWO_WEEKS), TRIGGER)


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
        """The values of an attribute, wherever it stands."""
        return [attributes[name] or "" for _, attributes in self.elements if name in attributes]

    def classed(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of the elements of a class."""
        return [
            attributes for _, attributes in self.elements if name in (attributes.get("class") or "").split()
        ]


@pytest.mark.parametrize(
    ("states", "answer"),
    [
        ([], "No hybrid vault is in scope"),
        ([State.FRESH], "The one vault is fresh"),
        ([State.NEVER], "The one vault needs a look"),
        ([State.FRESH] * 12, "All 12 vaults are fresh"),
        ([State.STALE] * 9, "All 9 vaults need a look"),
        ([State.FAILING, State.FRESH], "1 of 2 vaults needs a look"),
        ([State.FAILING] * 6 + [State.FRESH] * 3, "6 of 9 vaults need a look"),
    ],
)
def test_the_headline_answers_at_first_glance(states: list[State], answer: str) -> None:
    """The page's heading and its title say whether somebody has to look."""
    page = render_page(report_on(*(vault(number, state) for number, state in enumerate(states))))
    assert f"<h1>{answer}</h1>" in page
    assert f"<title>{answer} · cbr-sync, 23 Nov 2026 03:00 UTC</title>" in page


def test_a_row_tells_all_that_is_known_of_its_vault() -> None:
    """Name, id, type, state, age, last success, what runs and what went wrong, in the API's words."""
    error = OutcomeError(
        code="BackupService.6405", message="删除对象失败", request_id="req-1", http_status=500
    )
    one = vault(
        state=State.FAILING,
        age_hours=79.0,
        vault_status="frozen",
        running=running(6),
        last_error=sync(7, "failed", error=error, copies=Copies(synced=11, deleted=0, failed=2)),
    )
    page = Parsed(
        render_page(report_on(one, history={one.vault_id: (running(6), sync(7, "failed"), sync(79))}))
    )
    for words in [
        "vault-1 Failing · vmware · vault is frozen 00000000-0000-4000-8000-000000000001",
        "3 days 7 hours since the last success began 2 days 5 hours past the limit",
        "19 Nov 20:00, 12 copies synced, 1 deleted, 0 failed",
        "3 syncs in the last 14 days: 1 succeeded, 1 running, 1 failed",
        "Failed: began 22 Nov 20:00, took 30 minutes · 11 copies synced, 0 deleted, 2 failed",
        "BackupService.6405 删除对象失败 operation log log-7 · request req-1 · HTTP 500",
        "Running since 22 Nov 21:00, 6 hours · 20 % operation log log-6",
    ]:
        assert words in page.text
    assert {"2026-11-23T03:00:00.000Z", "2026-11-22T20:00:00.000Z"} <= set(page.all("datetime"))


def test_the_page_says_when_it_was_made_of_what_and_what_it_allows() -> None:
    """Whoever finds it later knows what it was asked, and from where it knows."""
    page = Parsed(render_page(report_on(vault(), max_age_hours=26.5), scope="object_type vmware"))
    assert "Hybrid vaults · object_type vmware" in page.text
    assert (
        "As of 23 Nov 2026 03:00 UTC, as are all times here. A success may be 26 hours 30 minutes old."
        in page.text
    )
    assert "Made by cbr-sync from ListVault and ListOpLogs" in page.text


def test_vaults_stand_in_the_order_of_the_report(showcased: Report) -> None:
    """The worst first, under their states, every one of them."""
    text = Parsed(render_page(showcased)).text
    places = [text.index(vault.vault_id) for vault in showcased.vaults]
    assert places == sorted(places)
    assert {vault.state for vault in showcased.vaults} == set(State)


def test_a_state_is_told_by_word_and_sign_too(showcased: Report) -> None:
    """Not by a colour alone, in every row."""
    page = render_page(showcased)
    told = re.findall(
        r'<span class="told"><svg[^>]*><use href="#state-([a-z]+)"/></svg> ([A-Za-z ]+)</span>', page
    )
    words = [word.lower().replace(" synced", "") for _, word in told]
    assert words == [state for state, _ in told] == [vault.state for vault in showcased.vaults]


def test_a_sync_is_told_by_its_form_and_in_words() -> None:
    """Each status has its own, also in the legend; the API's word for one that goes on is kept."""
    one = vault()
    kinds = ["failed", "timed_out", "partial", "skipped", "succeeded"]
    history = (running(1, status="waiting"), *(sync(20 + 24 * day, kind) for day, kind in enumerate(kinds)))
    page = Parsed(render_page(report_on(one, history={one.vault_id: history})))
    drawn = [mark["class"] for tag, mark in page.elements if mark.get("role") == "listitem"]
    assert drawn == [*reversed(kinds), "running"]
    assert "Timed out: 21 Nov 07:00 UTC; 30 minutes; 12 copies synced, 1 deleted, 0 failed" in page.text
    assert "Waiting: 23 Nov 02:00 UTC; 1 hour" in page.text
    assert {"succeeded", "skipped", "running", "partial", "timed out", "failed"} <= set(page.texts)


def test_a_failure_is_not_hidden_behind_successes() -> None:
    """Hourly syncs for a year share their places, and the worst of them is seen."""
    one = vault()
    history = tuple(sync(hour, "failed" if hour == 5000 else "succeeded") for hour in range(8784))
    page = Parsed(render_page(report_on(one, history={one.vault_id: history}, history_hours=8784.0)))
    marks = [mark["class"] for tag, mark in page.elements if mark.get("role") == "listitem"]
    assert marks.count("failed") == 1
    assert len(marks) < 100
    assert "8784 syncs in the last 366 days: 8783 succeeded, 1 failed" in page.text


def test_a_sync_that_goes_on_reaches_until_now() -> None:
    """What takes long is seen to take long."""
    one = vault()
    page = render_page(report_on(one, history={one.vault_id: (running(84),)}))
    assert '<rect x="75.0%" y="10" width="25.0%" height="10"/>' in page


def test_nothing_is_made_up_where_the_api_tells_little() -> None:
    """A sync that ended at an unknown time took no known time; without an error of its own, it has none."""
    failed = sync(84, "failed", ended_at=None, copies=None)
    one = vault(state=State.FAILING, age_hours=None, object_type=None, vault_status=None, last_error=failed)
    page = Parsed(render_page(report_on(one, history={one.vault_id: (failed,)})))
    assert "Failed: began 19 Nov 15:00 The API gave no error. operation log log-84" in page.text
    assert "vault-1 Failing 00000000" in page.text
    assert "No success known" in page.text
    assert "rect" not in [tag for tag, attributes in page.elements if "id" not in attributes]


def test_without_a_history_there_is_no_timeline() -> None:
    """Nothing is said of syncs that nobody asked for."""
    page = Parsed(render_page(report_on(vault(), history_hours=0.0)))
    assert not page.classed("strip")
    assert "syncs in the last" not in page.text


def test_age_bars_share_one_scale() -> None:
    """The limit stands at the same place in all, and what is beyond the scale is marked."""
    ages = (7.0, 26.0, 104.0, 271.2)
    page = Parsed(render_page(report_on(*(vault(number, age_hours=age) for number, age in enumerate(ages)))))
    widths = [style for style in page.all("style") if style.startswith("width:")]
    assert widths == ["width:6.73%", "width:25.0%", "width:100.0%", "width:100.0%"]
    assert len(page.classed("over")) == 1
    assert len(page.classed("limit")) == 4


def test_what_somebody_else_named_is_text() -> None:
    """Markup in a name, a scope or an error's words stays words."""
    error = OutcomeError(code=MARKUP, message=MARKUP)
    one = vault(state=State.FAILING, name=MARKUP, object_type=MARKUP, last_error=sync(7, MARKUP, error=error))
    page = Parsed(render_page(report_on(one, history={one.vault_id: (sync(7, error=error),)}), scope=MARKUP))
    assert {"script", "img"}.isdisjoint(tag for tag, _ in page.elements)
    assert page.text.count(MARKUP) >= 6


@settings(max_examples=50)
@given(words=st.text(st.sampled_from("<>&\"'/=!-; a") | st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_name_changes_the_page_around_it(words: str) -> None:
    """Whatever a vault is called, the elements are the same."""
    error = OutcomeError(code=words, message=words)
    one = vault(state=State.FAILING, name=words, last_error=sync(7, "failed", error=error))
    named = Parsed(render_page(report_on(one), scope=words))
    plain = Parsed(render_page(report_on(one.model_copy(update={"name": "plain"})), scope="plain"))
    assert named.elements == plain.elements


def test_the_page_loads_nothing_and_runs_nothing(showcased: Report) -> None:
    """No script, no address but places in the page itself, and a policy that would forbid others."""
    page = render_page(showcased)
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


def test_ids_stand_once(showcased: Report) -> None:
    """So every place that is named is one place."""
    ids = Parsed(render_page(showcased)).all("id")
    assert len(set(ids)) == len(ids)


def test_there_are_rules_for_light_dark_and_print() -> None:
    """The page follows the reader; print is light, its bars keep their colours, and no row is cut."""
    page = render_page(report_on())
    assert '<meta name="color-scheme" content="light dark">' in page
    assert "@media screen and (prefers-color-scheme: dark)" in page
    printed = page.partition("@media print")[2]
    assert "break-inside: avoid" in printed
    assert "print-color-adjust: exact" in printed


def test_a_report_on_no_vault_is_a_page() -> None:
    """It says so, and what was asked for."""
    text = Parsed(render_page(report_on(), scope="name nothing")).text
    assert "ListVault named no hybrid vault for name nothing." in text


def test_thousands_of_vaults_are_a_page_of_sane_size() -> None:
    """All are told; those after the worst ones in words alone, and the page says so."""
    report = fleet(2300)
    page = render_page(report)
    text = Parsed(page).text
    assert all(vault.vault_id in text for vault in report.vaults)
    assert "460 of 2,300 vaults need a look" in text
    assert page.count('<div class="bar') == page.count('<svg class="strip') == DRAWN
    assert page.count(BUCKET.message) == 460
    assert f"drawn for the first {DRAWN} vaults" in text
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
def test_a_length_of_time_is_told_in_words(hours: float, words: str) -> None:
    """Two units at most, rounded down; a clock that is ahead of ours takes no time."""
    assert format_span(timedelta(hours=hours)) == words


@pytest.mark.parametrize("hours", [0.1, 1.0, 12.0, 24.0, 48.0, 100.0, TWO_WEEKS, 720.0, 8784.0])
def test_a_time_axis_is_labelled_sparsely(hours: float) -> None:
    """From an hour to a year: some labels, not too near to each other or to its end, and lines."""
    axis = Axis(START + timedelta(hours=9.42), timedelta(hours=hours))
    places = [label.x for label in axis.labels]
    assert len(places) <= 8
    assert all(later - earlier >= 100 / 8.01 for later, earlier in pairwise(places))
    assert all(0 <= place < 93 for place in places)
    assert 0 <= axis.line_offset <= axis.line_period


def test_an_axis_of_days_names_days_and_one_of_hours_names_hours() -> None:
    """Midnight is named by its day."""
    noon = START.replace(hour=12)
    assert [label.word for label in Axis(noon, timedelta(days=3)).labels][:3] == ["23 Nov", "12:00", "22 Nov"]
    assert [label.word for label in Axis(noon, timedelta(days=7)).labels][:2] == ["22 Nov", "21 Nov"]


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
    """A browser to look at pages with."""
    path = find_chromium()
    if path is None:
        pytest.skip("no chromium here to look at the page with; on Debian: apt-get install chromium")
    return Chromium(path)


def hard(showcased: Report) -> Report:
    """The showcase, with what is hard to lay out: long words, markup, more than is drawn."""
    error = OutcomeError(code="BackupService." + "9" * 80, message="y" * 300)
    long = vault(1, State.FAILING, 4000.0, name=LONG_NAME, last_error=sync(7, "failed", error=error))
    odd = vault(2, name=MARKUP, vault_status="lock", running=running(30, progress=None))
    hourly = tuple(sync(hour, "skipped") for hour in range(336))
    more = [vault(number, name="w" * 64) for number in range(3, DRAWN + 10)]
    return showcased.model_copy(
        update={
            "max_age_hours": 26.5,
            "vaults": (long, *showcased.vaults, odd, *more),
            "history": {**showcased.history, odd.vault_id: hourly, long.vault_id: hourly},
        }
    )


@dataclass(frozen=True)
class Seen:
    """What the browser measured at each width, in both schemes."""

    light: dict[int, dict[str, Any]]
    dark: dict[int, dict[str, Any]]


@pytest.fixture(scope="module")
def seen(chromium: Chromium, showcased: Report) -> Seen:
    """The hard report, measured once for all tests."""
    page, widths = render_page(hard(showcased), scope="z" * 200), (PHONE, TABLET, DESK)
    light, dark = (chromium.measure(page, MEASURE, widths=widths, scheme=scheme) for scheme in (LIGHT, DARK))
    return Seen(dict(zip(widths, light, strict=True)), dict(zip(widths, dark, strict=True)))


@pytest.mark.parametrize(("width", "columns"), [(PHONE, 1), (TABLET, 2), (DESK, 3)])
def test_every_width_has_its_layout_and_nothing_scrolls_sideways(
    seen: Seen, width: int, columns: int
) -> None:
    """On a phone and at a desk all vaults are seen, nothing is cut, and no text lies on another."""
    measured = seen.light[width]
    assert measured["client"] == measured["scroll"] == width
    assert measured["columns"] == columns
    assert measured["vaults"] == 9 + 2 + DRAWN + 7
    assert measured["beyond"] == []
    assert measured["overlaps"] == []


def test_every_text_can_be_read_in_light_and_dark(seen: Seen) -> None:
    """Contrast of 4.5 to 1 and more (WCAG 2.2, 1.4.3), and no small print."""
    for measured in (*seen.light.values(), *seen.dark.values()):
        ratio, text = measured["contrast"]
        assert ratio >= 4.5, text
        assert measured["smallest"] >= 12


def test_dark_is_dark(seen: Seen) -> None:
    """The reader's scheme decides."""
    assert (seen.light[DESK]["page"], seen.dark[DESK]["page"]) == ("rgb(245, 246, 248)", "rgb(15, 18, 23)")


def test_no_browser_runs_what_a_name_says(seen: Seen) -> None:
    """A vault that is called like a script is just called so."""
    assert not any(measured["pwned"] for measured in (*seen.light.values(), *seen.dark.values()))


def test_the_page_prints(chromium: Chromium, showcased: Report) -> None:
    """A PDF on a few sheets, though the reader's scheme is dark."""
    pdf = chromium.pdf(render_page(showcased), scheme=DARK)
    assert pdf.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 4


def test_a_list_that_was_cut_says_so(showcased: Report) -> None:
    """The newest syncs are there, and no number of all of them."""
    page = render_page(showcased.model_copy(update={"history_omitted": 7}))
    assert "The newest 14 syncs: 14 succeeded" in page
    assert "syncs in the last" not in page.replace("No syncs in the last", "")
