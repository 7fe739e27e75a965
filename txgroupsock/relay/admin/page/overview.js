// The figures at the top: whether all is well, and sums over all routes.

import { Sparkline } from "./chart.js";
import { byId, element, setAttribute, setHidden, setText } from "./dom.js";
import { bitRate, clock, count, duration, many, packetRate } from "./format.js";
import { droppedRate, LENGTH } from "./history.js";

export class Overview {
  constructor() {
    this.sum = new Float32Array(LENGTH);
    this.spark = new Sparkline("Bit rate of all inputs", bitRate, 40);
    this.tiles = {};
    for (const [key, name] of [
      ["in", "In"],
      ["out", "Out"],
      ["dropped", "Dropped now"],
      ["routes", "Routes"],
      ["viewers", "Viewers"],
      ["uptime", "Uptime"],
    ]) {
      const [value, unit] = [element("span"), element("span", { class: "unit" })];
      const note = element("dd", { class: "note" });
      const figure = element("dd", { class: "value" }, value, " ", unit);
      const tile = element(
        "div",
        { class: `tile ${key}` },
        element("dt", { text: name }),
        figure,
        note,
      );
      if (key === "in") tile.append(element("dd", { class: "tilechart" }, this.spark.element));
      this.tiles[key] = { tile, value, unit, note };
      byId("overview").append(tile);
    }
  }

  /** @param {string} figure with its unit, if it has one: "10.5 Mbit/s" */
  set(key, figure, note = "", level = null) {
    const tile = this.tiles[key];
    const [value, unit] = figure.endsWith("/s") ? figure.split(" ") : [figure, ""];
    setText(tile.value, value);
    setText(tile.unit, unit);
    setText(tile.note, note);
    setAttribute(tile.tile, "data-level", level);
  }

  update(status) {
    const { inputs, incoming, outgoing, dropped, enabled } = sumsOf(status.routes);
    const disabled = status.routes.length - enabled;
    this.inputs = inputs;
    this.set("in", bitRate(incoming.bits), packetRate(incoming.datagrams));
    this.set("out", bitRate(outgoing.bits), packetRate(outgoing.datagrams));
    this.set("dropped", packetRate(dropped), "at all routes", dropped > 0 ? "bad" : null);
    this.set(
      "routes",
      count(status.routes.length),
      disabled > 0 ? `${count(disabled)} disabled` : enabled > 0 ? "all enabled" : "",
    );
    const since = `since ${clock(status.time - status.uptime)}`;
    const turn = Math.round(1000 * status.reactor.longestTurn);
    // Streams waited for so long: a frame of video, or more.
    const isLong = turn >= 50;
    const note = isLong ? `${since}; streams lately waited up to ${turn} ms` : since;
    this.set("uptime", duration(status.uptime), note, isLong ? "bad" : null);
    setHidden(this.tiles.viewers.tile, status.viewers === null);
    if (status.viewers !== null) {
      const { watching, channels } = status.viewers;
      this.set("viewers", count(watching), many(channels.length, "channel"));
    }
    setText(byId("version"), status.version);
    const { change } = status;
    setHidden(byId("change"), change === null || !change.isDone);
    if (change !== null)
      setText(byId("change"), `Last change, ${clock(change.time)}: ${change.text}`);
  }

  /** @param {History} history */
  draw(history) {
    this.sum.fill(NaN);
    for (const name of this.inputs) {
      const { bits } = history.of(name);
      for (let i = 0; i < LENGTH; i++) {
        const value = bits[i];
        if (value === value) this.sum[i] = (this.sum[i] || 0) + value; // not NaN
      }
    }
    this.spark.draw(this.sum, history.interval);
  }
}

/** Sums over routes. An input that several of them share is received once, and counted once. */
function sumsOf(routes) {
  const shared = new Set();
  const sums = {
    inputs: [], // a route for each input
    incoming: { bits: 0, datagrams: 0 },
    outgoing: { bits: 0, datagrams: 0 },
    dropped: 0,
    enabled: 0,
  };
  for (const route of routes) {
    if (!route.isEnabled) continue;
    sums.enabled++;
    sums.dropped += droppedRate(route);
    if (shared.has(route.input.name)) {
      sums.dropped -= route.input.rate.dropped;
    } else {
      shared.add(route.input.name);
      sums.inputs.push(route.name);
      sums.incoming.bits += route.input.rate.bits;
      sums.incoming.datagrams += route.input.rate.datagrams;
    }
    for (const { rate } of route.outputs) {
      sums.outgoing.bits += rate.bits;
      sums.outgoing.datagrams += rate.datagrams;
    }
  }
  return sums;
}
