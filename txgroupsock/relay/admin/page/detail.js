// Everything about one route: what is under its row when it is opened.

import { Chart } from "./chart.js";
import { element, setAttribute, setHidden, setText, textViews, Views } from "./dom.js";
import { bitRate, count, many, packetRate, size } from "./format.js";
import { Health } from "./health.js";
import { healthOf, isHealthStage, namedPartsOf } from "./history.js";
import { Legs } from "./legs.js";
import { dropMeaning, dropRemedy } from "./words.js";

const TITLES = { input: "Input", stage: "Stage", output: "Output" };

export class Detail {
  constructor(route) {
    this.charts = [
      ["bits", new Chart("Bit rate in", bitRate)],
      ["datagrams", new Chart("Packets in", packetRate)],
      ["dropped", new Chart("Dropped, all parts", packetRate, "loss")],
    ];
    this.figures = element(
      "div",
      { class: "charts" },
      ...this.charts.map(([, chart]) => chart.element),
    );
    this.off = element("p", {
      class: "empty",
      text: "This route is disabled in the configuration (enabled = false).",
    });
    const parts = element("div", { class: "parts" });
    this.parts = new Views(
      parts,
      ([kind]) => new Part(kind),
      // A view is of one kind of part, and keeps it while the configuration does.
      ([kind, part], index) => `${kind} ${index} ${part.name}`,
    );
    const health = element("div");
    this.health = new Views(health, () => new Health());
    const cell = element(
      "div",
      { role: "cell", class: "cell", "aria-colspan": "6" },
      this.off,
      this.figures,
      health,
      parts,
    );
    this.element = element(
      "div",
      { role: "row", class: "detail", "aria-label": `Details of ${route.name}` },
      cell,
    );
    this.update(route);
  }

  update(route) {
    setHidden(this.off, route.isEnabled);
    setHidden(this.figures, !route.isEnabled);
    const health = healthOf(route);
    this.health.update(health === null ? [] : [health]);
    // What its stage warns of are the alarms, and it gives on all that comes.
    this.parts.update(
      namedPartsOf(route).filter(([kind, part]) => health === null || !isHealthStage(kind, part)),
    );
  }

  draw(series, interval) {
    for (const [kind, chart] of this.charts) chart.draw(series[kind], interval);
  }
}

/** What the values are called, by what it is. */
const VALUES = {
  input: ["Receives", "Received", "Dropped", "Buffer"],
  stage: ["Passes", "Passed", "Dropped", "Buffer"],
  output: ["Sends", "Sent", "Dropped", "Buffer"],
};

/** An input, a stage or an output. */
class Part {
  constructor(kind) {
    this.name = element("span", { class: "url" });
    this.closed = element("p", { class: "empty", text: "Nothing is open." });
    this.lists = ["state", "warnings", "drops"].map((name) => element("ul", { class: name }));
    const [state, warnings, drops] = this.lists;
    this.state = textViews(state, "li");
    this.warnings = textViews(warnings, "li");
    this.drops = new Views(drops, dropView, ([reason]) => reason);
    this.values = VALUES[kind].map(() => element("dd"));
    this.table = element(
      "dl",
      { class: "values" },
      ...VALUES[kind].map((name, index) =>
        element("div", {}, element("dt", { text: name }), this.values[index]),
      ),
    );
    this.legs = kind === "input" ? new Legs() : null;
    const title = element(
      "h3",
      {},
      element("span", { class: "kind", text: TITLES[kind] }),
      " ",
      this.name,
    );
    this.element = element(
      "section",
      { class: `part ${kind}` },
      ...[title, state, this.closed, warnings, this.table, drops],
      ...(this.legs ? [this.legs.element] : []),
    );
  }

  update([, part]) {
    setText(this.name, part.name);
    const isOn = part.rate !== undefined;
    setHidden(this.table, !isOn);
    const reasons = isOn ? Object.entries(part.dropped).filter(([, number]) => number > 0) : [];
    const lines = [part.state ?? [], part.warnings ?? [], reasons.sort((a, b) => b[1] - a[1])];
    [this.state, this.warnings, this.drops].forEach((views, index) => views.update(lines[index]));
    this.lists.forEach((list, index) => setHidden(list, lines[index].length === 0));
    // A part of one's own may have nothing to tell of its state.
    setHidden(this.closed, !isOn || part.state.length > 0 || part.rate.datagrams > 0);
    if (isOn) this.count(part, reasons);
    this.legs?.update(part.redundancy ?? null);
    setAttribute(this.element, "data-legs", part.redundancy ? "" : null);
  }

  count({ rate, datagrams, bytes, buffer }, reasons) {
    const [now, all, lost, memory] = this.values;
    const sum = reasons.reduce((total, [, number]) => total + number, 0);
    setText(now, `${bitRate(rate.bits)}, ${packetRate(rate.datagrams)}`);
    setText(all, `${many(datagrams, "packet")}, ${many(bytes, "byte")}`);
    setText(lost, sum === 0 ? "none" : `${many(sum, "packet")}, now ${packetRate(rate.dropped)}`);
    setAttribute(lost, "data-level", rate.dropped > 0 ? "bad" : null);
    setText(memory, bufferText(buffer));
    setHidden(memory.parentNode, buffer === null);
  }
}

function bufferText(buffer) {
  if (buffer === null) return "";
  const { granted, requested } = buffer;
  return granted < requested ? `${size(granted)} of ${size(requested)} wanted` : size(granted);
}

function dropView() {
  const reason = element("code");
  const number = element("span", { class: "number" });
  const meaning = element("span");
  const made = element("li", {}, number, " ", reason, ": ", meaning);
  return {
    element: made,
    update: ([name, sum]) => {
      setText(number, count(sum));
      setText(reason, name);
      setText(meaning, `${dropMeaning(name)}. ${dropRemedy(name)}`.trim());
    },
  };
}
