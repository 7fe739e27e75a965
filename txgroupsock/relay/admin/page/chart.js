// Charts of the last 300 intervals, as SVG: the style sheet colours them, light or dark.

import { element, setAttribute, setText } from "./dom.js";
import { duration } from "./format.js";
import { LENGTH } from "./history.js";

/** The largest value that is known; 0 if none is. */
export function highest(values) {
  let most = 0;
  for (const value of values) if (value > most) most = value;
  return most;
}

/** The value that is known last; 0 if none is. */
function newest(values) {
  const last = values[LENGTH - 1];
  return Number.isNaN(last) ? 0 : last;
}

/** The time that a chart spans: "5 min". */
function spanOf(interval) {
  return duration(LENGTH * interval).replace(/ 0 \w+$/, "");
}

/** SVG paths, line and area, of values in a box of LENGTH × height units; nothing where nothing is known. */
function pathsOf(values, top, height) {
  let line = "";
  let area = "";
  let start = -1;
  for (let x = 0; x <= LENGTH; x++) {
    const isKnown = x < LENGTH && !Number.isNaN(values[x]);
    if (isKnown) {
      const y = (height - 1 - (top > 0 ? values[x] / top : 0) * (height - 2)).toFixed(1);
      line += start < 0 ? `M${x} ${y}` : `L${x} ${y}`;
      if (start < 0) {
        start = x;
        area += `M${x} ${height}`;
      }
      area += `L${x} ${y}`;
    } else if (start >= 0) {
      area += `L${x - 1} ${height}Z`;
      // A single value is a dot: a line of no length has round ends.
      if (start === x - 1) line += "h0";
      start = -1;
    }
  }
  return { line, area };
}

/** A small chart without axes. */
export class Sparkline {
  /**
   * @param {string} what it shows, in words
   * @param {function(number): string} format a value
   * @param {number} height in units; the width is LENGTH
   */
  constructor(what, format, height = 32) {
    this.what = what;
    this.format = format;
    this.height = height;
    this.area = element("svg:path", { class: "area" });
    this.line = element("svg:path", { class: "line" });
    this.element = element(
      "svg:svg",
      {
        class: "spark",
        role: "img",
        "aria-label": what,
        viewBox: `0 0 ${LENGTH} ${height}`,
        preserveAspectRatio: "none",
      },
      this.area,
      this.line,
    );
  }

  /** @param {Float32Array} values */
  draw(values, interval) {
    const most = highest(values);
    const { line, area } = pathsOf(values, most, this.height);
    setAttribute(this.line, "d", line);
    setAttribute(this.area, "d", area);
    const now = this.format(newest(values));
    const text = `${this.what} over ${spanOf(interval)}: now ${now}, at most ${this.format(most)}`;
    setAttribute(this.element, "aria-label", text);
    return most;
  }
}

/** A chart with a title, its highest value and its span of time. */
export class Chart {
  constructor(what, format, kind = "") {
    this.spark = new Sparkline(what, format, 80);
    this.format = format;
    this.most = element("span");
    this.span = element("span");
    const title = element("figcaption", {}, element("span", { text: what }), this.most);
    const axis = element(
      "p",
      { class: "axis", "aria-hidden": "true" },
      this.span,
      element("span", { text: "now" }),
    );
    this.element = element("figure", { class: `chart ${kind}` }, title, this.spark.element, axis);
  }

  draw(values, interval) {
    setText(this.most, `at most ${this.format(this.spark.draw(values, interval))}`);
    setText(this.span, `${spanOf(interval)} ago`);
  }
}
