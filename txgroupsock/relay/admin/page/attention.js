// The list of what needs attention, and what a screen reader is told of it.

import { byId, element, setAttribute, setHidden, setText, Views } from "./dom.js";
import { count, many } from "./format.js";

/** Things that are shown at first; the worst come first. */
const FIRST = 8;

/** Routes that are named under one thing. */
const MOST = 6;

const LEVELS = { bad: "Fault", warn: "Warning" };

export class Attention {
  /**
   * @param {function(string)} openRoute shows a route
   * @param {function()} showAll shows all routes with trouble
   * @param {function(string)} announce tells a screen reader
   */
  constructor(openRoute, showAll, announce) {
    this.openRoute = openRoute;
    this.announce = announce;
    this.showAll = showAll;
    this.titles = null;
    this.views = new Views(
      byId("trouble"),
      () => this.entryView(),
      (entry) => entry.key,
    );
    this.isWhole = false;
    this.entries = [];
    byId("allTrouble").addEventListener("click", () => {
      this.isWhole = !this.isWhole;
      this.draw();
    });
  }

  draw() {
    const { entries } = this;
    this.views.update(this.isWhole ? entries : entries.slice(0, FIRST));
    const button = byId("allTrouble");
    setHidden(button, entries.length <= FIRST);
    setText(button, this.isWhole ? "Show fewer" : `Show all ${count(entries.length)}`);
  }

  update(entries) {
    this.entries = entries;
    this.draw();
    setHidden(byId("allIsWell"), entries.length > 0);
    setText(byId("attentionCount"), entries.length > 0 ? count(entries.length) : "");
    this.tell(entries);
  }

  tell(entries) {
    const before = this.titles;
    this.titles = new Map(entries.map((entry) => [entry.key, entry.title]));
    if (before === null) return;
    const come = [...this.titles].filter(([key]) => !before.has(key));
    const gone = [...before].filter(([key]) => !this.titles.has(key));
    const said = [
      ...come.map(([, title]) => `New: ${title}.`),
      ...gone.map(([, title]) => `Over: ${title}.`),
    ];
    if (said.length > 3) said.splice(2, said.length, `And ${said.length - 2} other changes.`);
    if (said.length > 0) this.announce(said.join(" "));
  }

  entryView() {
    const level = element("span", { class: "level" });
    const title = element("strong");
    const remedy = element("p", { class: "remedy" });
    const where = element("ul", { class: "where" });
    const more = element("button", { type: "button", class: "link" });
    more.addEventListener("click", () => this.showAll());
    const body = element(
      "div",
      {},
      element("p", { class: "what" }, level, title),
      remedy,
      where,
      more,
    );
    const made = element("li", {}, body);
    const items = new Views(where, () => this.itemView());
    return {
      element: made,
      update: (entry) => {
        setAttribute(made, "data-level", entry.level);
        setAttribute(made, "class", entry.isVerbatim ? "verbatim" : null);
        setText(level, LEVELS[entry.level]);
        setText(title, entry.title);
        setText(remedy, entry.remedy);
        setHidden(remedy, entry.remedy === "");
        items.update(entry.items.slice(0, MOST));
        setHidden(where, entry.items.length === 0);
        const rest = entry.items.length - MOST;
        setHidden(more, rest <= 0);
        if (rest > 0) setText(more, `and ${many(rest, "other")}: show all routes with trouble`);
      },
    };
  }

  itemView() {
    let route = "";
    const name = element("button", { type: "button", class: "link" });
    const note = element("span", { class: "note" });
    name.addEventListener("click", () => this.openRoute(route));
    return {
      element: element("li", {}, name, note),
      update: (item) => {
        route = item.route;
        setText(name, item.route);
        setText(note, item.note);
      },
    };
  }
}
