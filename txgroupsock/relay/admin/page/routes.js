// The table of routes: filtered, sorted, and usable with a thousand of them.

import { Sparkline } from "./chart.js";
import { Detail } from "./detail.js";
import { byId, element, setAttribute, setHidden, setOrder, setText } from "./dom.js";
import { bitRate, count, many, packetRate } from "./format.js";
import { healthOf, LENGTH, namedPartsOf, partsOf } from "./history.js";

/** Seconds between sortings by what changes all the time, so that rows can be read and hit. */
const SORT_PAUSE = 10;

/** Intervals without a packet after which a route has no input. */
const QUIET = 5;

const RANKS = { bad: 0, warn: 1, quiet: 2, good: 3, off: 4 };

const COLUMNS = [
  { key: "name", title: "Route", of: (row) => row.route.name, isText: true },
  { key: "chart", title: "5 minutes" },
  { key: "in", title: "In", of: (row) => row.incoming.bits, isFigure: true },
  { key: "out", title: "Out", of: (row) => row.outgoing, isFigure: true },
  { key: "dropped", title: "Dropped", of: (row) => row.dropped, isFigure: true },
  { key: "state", title: "State", of: (row) => -RANKS[row.level] },
];

const collator = new Intl.Collator("en", { numeric: true });

export class Routes {
  /** @param {History} history */
  constructor(history) {
    this.history = history;
    this.rows = new Map();
    this.sorting = { column: null, isDescending: false };
    this.sortedAt = -Infinity;
    this.time = 0;
    this.inView = new Set();
    // Only rows that are in view, or nearly, draw charts.
    this.observer = new IntersectionObserver((seen) => this.seen(seen), {
      rootMargin: "100px 0px",
    });
    this.heads = COLUMNS.map((column) => this.head(column));
    byId("heads").append(...this.heads.map((head) => head.cell));
    byId("filter").addEventListener("input", () => this.arrange());
    byId("show").addEventListener("change", () => this.arrange());
    byId("tools").addEventListener("submit", (event) => event.preventDefault());
  }

  head(column) {
    const cell = element("div", { role: "columnheader", class: `cell ${column.key}` });
    if (column.of === undefined) {
      cell.textContent = column.title;
      return { column, cell };
    }
    const button = element("button", { type: "button", class: "sort", text: column.title });
    button.addEventListener("click", () => this.sortBy(column));
    cell.append(button);
    return { column, cell };
  }

  /** By a column, then the other way round, then as the configuration has it. */
  sortBy(column) {
    const { sorting } = this;
    // Numbers are looked at from the top, names from A.
    const first = !column.isText;
    if (sorting.column !== column) this.sorting = { column, isDescending: first };
    else if (sorting.isDescending === first) this.sorting = { column, isDescending: !first };
    else this.sorting = { column: null, isDescending: false };
    for (const head of this.heads) {
      const isIt = head.column === this.sorting.column;
      const order = this.sorting.isDescending ? "descending" : "ascending";
      setAttribute(head.cell, "aria-sort", isIt ? order : null);
    }
    this.arrange();
  }

  /**
   * @param {Map<string, Array>} drops of the routes that drop now
   */
  update(status, drops) {
    this.time = status.uptime;
    const before = this.rows;
    this.rows = new Map();
    let isOther = before.size !== status.routes.length;
    status.routes.forEach((route, index) => {
      let row = before.get(route.name);
      if (row === undefined) {
        row = new Row(route.name, () => this.drawRow(row));
        this.observer.observe(row.element);
        isOther = true;
      }
      if (row.index !== index) isOther = true;
      this.rows.set(route.name, row);
      row.update(route, index, drops.get(route.name) ?? [], this.history);
    });
    for (const [name, row] of before) {
      if (this.rows.has(name)) continue;
      this.observer.unobserve(row.element);
      this.inView.delete(row);
    }
    const isDue = this.sorting.column !== null && Math.abs(this.time - this.sortedAt) >= SORT_PAUSE;
    if (isOther || (isDue && !this.isInUse())) this.arrange();
    else this.filter();
    for (const row of this.inView) this.drawRow(row);
    for (const row of this.rows.values())
      if (row.isOpen && !this.inView.has(row)) this.drawRow(row);
  }

  /** Whether somebody is about to click a row, or stands on it with the keyboard. */
  isInUse() {
    const rows = byId("rows");
    return rows.matches(":hover") || rows.contains(document.activeElement);
  }

  arrange() {
    const rows = [...this.rows.values()];
    const { column, isDescending } = this.sorting;
    rows.sort((a, b) => a.index - b.index);
    if (column !== null) {
      const sign = isDescending ? -1 : 1;
      const compare = column.isText ? collator.compare : (a, b) => a - b;
      rows.sort((a, b) => sign * compare(column.of(a), column.of(b)));
    }
    this.sortedAt = this.time;
    setOrder(
      byId("rows"),
      rows.flatMap((row) => row.elements),
    );
    this.filter();
  }

  filter() {
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const show = byId("show").value;
    let shown = 0;
    for (const row of this.rows.values()) {
      const isShown = row.matches(words, show);
      row.setShown(isShown);
      if (isShown) shown++;
    }
    const all = this.rows.size;
    setText(byId("routesCount"), shown === all ? count(all) : `${count(shown)} of ${count(all)}`);
    setHidden(byId("noRoutes"), shown > 0);
    setText(byId("noRoutes"), all === 0 ? "There are no routes." : "No route is like that.");
    setHidden(byId("table"), all === 0);
  }

  seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const row = this.rows.get(target.dataset.route);
      if (row?.element !== target) continue;
      if (isIntersecting) {
        this.inView.add(row);
        this.drawRow(row);
      } else {
        this.inView.delete(row);
      }
    }
  }

  drawRow(row) {
    row.draw(this.history.of(row.route.name), this.history.interval);
  }

  /** Draw again what is in view. */
  draw() {
    for (const row of this.inView) this.drawRow(row);
  }

  /** Show a route, opened, whatever is filtered. */
  open(name) {
    const row = this.rows.get(name);
    if (row === undefined) return;
    if (row.element.hidden) {
      byId("filter").value = "";
      byId("show").value = "all";
      this.filter();
    }
    if (!row.isOpen) row.toggle();
    row.button.focus({ preventScroll: true });
    row.element.scrollIntoView({ block: "start" });
  }

  showTrouble() {
    byId("filter").value = "";
    byId("show").value = "trouble";
    this.filter();
    byId("show").focus({ preventScroll: true });
    byId("routes").scrollIntoView({ block: "start" });
  }
}

function cell(kind, ...children) {
  const made = element("div", { role: "cell", class: `cell ${kind}` }, ...children);
  // Where there is no room for columns, each figure has its heading beside it.
  const column = COLUMNS.find((each) => each.key === kind);
  if (column?.isFigure) made.dataset.head = column.title;
  return made;
}

class Row {
  constructor(name, draw) {
    this.redraw = draw;
    this.detail = null;
    this.button = element("button", {
      type: "button",
      class: "name",
      "aria-expanded": "false",
      text: name,
    });
    this.button.addEventListener("click", () => this.toggle());
    this.source = element("span", { class: "source" });
    this.spark = new Sparkline("Bit rate", bitRate);
    [this.inBits, this.inPackets, this.outBits, this.outCount, this.lost, this.losing, this.word] =
      Array.from({ length: 7 }, () => element("span"));
    this.element = element(
      "div",
      { role: "row", class: "row" },
      cell("name", this.button, this.source),
      cell("chart", this.spark.element),
      cell("in", this.inBits, this.inPackets),
      cell("out", this.outBits, this.outCount),
      cell("dropped", this.lost, this.losing),
      cell("state", this.word),
    );
    this.element.dataset.route = name;
  }

  get isOpen() {
    return this.detail !== null;
  }

  get elements() {
    return this.detail === null ? [this.element] : [this.element, this.detail.element];
  }

  update(route, index, drops, history) {
    const isSame = this.route?.isEnabled === route.isEnabled;
    Object.assign(this, { route, index });
    const rates = route.isEnabled ? route.input.rate : { bits: 0, datagrams: 0 };
    this.incoming = rates;
    this.outgoing = 0;
    this.dropped = 0;
    // A loop that is stopped is no loss; nor are its copies.
    const isDropping = drops.some(([, reason]) => reason !== "loop");
    let isWarning = drops.length > 0;
    let losing = 0;
    for (const [kind, part] of partsOf(route)) {
      if (kind === "output") this.outgoing += part.rate.bits;
      for (const reason in part.dropped) this.dropped += part.dropped[reason];
      losing += part.rate.dropped;
      isWarning ||= part.warnings.length > 0;
    }
    const isQuiet = () =>
      history
        .of(route.name)
        .datagrams.subarray(LENGTH - QUIET)
        .every((rate) => !(rate > 0));
    if (!route.isEnabled) [this.level, this.state] = ["off", "Disabled"];
    else if (healthOf(route)?.alarms.length > 0) [this.level, this.state] = ["bad", "Alarm"];
    else if (isDropping) [this.level, this.state] = ["bad", "Dropping"];
    else if (isWarning) [this.level, this.state] = ["warn", "Warning"];
    else if (isQuiet()) [this.level, this.state] = ["quiet", "No input"];
    else [this.level, this.state] = ["good", "Running"];

    setAttribute(this.element, "data-level", this.level);
    setAttribute(this.element, "data-dropping", isDropping && route.isEnabled ? "yes" : null);
    setText(this.word, this.state);
    setText(this.source, route.input?.name ?? "");
    const isOn = route.isEnabled;
    setText(this.inBits, isOn ? bitRate(rates.bits) : "–");
    setText(this.inPackets, isOn ? packetRate(rates.datagrams) : "");
    setText(this.outBits, isOn ? bitRate(this.outgoing) : "–");
    setText(this.outCount, isOn ? many(route.outputs.length, "output") : "");
    setText(this.lost, isOn ? count(this.dropped) : "–");
    setText(
      this.losing,
      isOn && losing > 0 ? packetRate(losing) : isOn && this.dropped > 0 ? "not now" : "",
    );
    setAttribute(this.element, "data-lost", this.dropped > 0 ? "yes" : null);
    if (!isSame) this.spark.element.classList.toggle("off", !isOn);
    this.detail?.update(route);
  }

  matches(words, show) {
    if (show === "trouble" && !(this.level === "bad" || this.level === "warn")) return false;
    if (show === "enabled" && !this.route.isEnabled) return false;
    if (show === "disabled" && this.route.isEnabled) return false;
    if (words.length === 0) return true;
    const text = this.text();
    return words.every((word) => text.includes(word));
  }

  /** What the filter looks at: names, and what is open. */
  text() {
    const parts = namedPartsOf(this.route).map(([, part]) => [part.name, ...(part.state ?? [])]);
    return [this.route.name, ...parts.flat()].join(" ").toLowerCase();
  }

  setShown(isShown) {
    for (const each of this.elements) setHidden(each, !isShown);
  }

  draw(series, interval) {
    this.spark.draw(series.bits, interval);
    this.detail?.draw(series, interval);
  }

  toggle() {
    if (this.isOpen) {
      this.detail.element.remove();
      this.detail = null;
    } else {
      this.detail = new Detail(this.route);
      this.element.after(this.detail.element);
      this.redraw();
    }
    setAttribute(this.button, "aria-expanded", String(this.isOpen));
  }
}
