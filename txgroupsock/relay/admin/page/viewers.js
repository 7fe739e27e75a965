// Who watches: addresses, named streams, channels with their viewers, limits, and who was refused.

import { byId, element, setAttribute, setHidden, setText, textViews, Views } from "./dom.js";
import { bitRate, count, duration, many, packetRate, size } from "./format.js";
import { dropMeaning, refusalMeaning } from "./words.js";

/** Viewers of one channel that are listed; those that are behind, and the oldest, first. */
const MOST = 200;

const ANYWHERE = new Set(["0.0.0.0", "[::]", "::", ""]);

/** The address at which a browser here may find a path; null if that is no address. */
export function addressOf(listening, path, here = location.hostname) {
  const [, host, port] = /^(.*):(\d+)$/.exec(listening ?? "") ?? [];
  if (port === undefined) return null;
  try {
    const url = new URL(`http://${ANYWHERE.has(host) ? here : host}:${port}/`);
    url.pathname = path;
    return url.href;
  } catch {
    return null;
  }
}

export class Viewers {
  constructor() {
    this.before = null;
    this.tiles = new Views(byId("viewersBody"), () => this.body());
  }

  /**
   * @param {Object|null} viewers of a status, or null if it serves none
   * @param {number} time seconds that the relay has run
   */
  update(viewers, time) {
    setHidden(byId("viewers"), viewers === null);
    setHidden(byId("toViewers"), viewers === null);
    this.rate = null;
    if (viewers === null) {
      this.before = null;
      return;
    }
    const { before } = this;
    this.before = { time, bytes: viewers.totals.bytes };
    if (before !== null && time > before.time) {
      this.rate = Math.max(0, (8 * (viewers.totals.bytes - before.bytes)) / (time - before.time));
    }
    setText(byId("viewersCount"), count(viewers.watching));
    this.tiles.update([viewers]);
  }

  body() {
    const facts = new Facts();
    const streams = new Streams();
    const channels = element("div", { class: "channels" });
    const views = new Views(
      channels,
      () => channelView(),
      (channel) => channel.name,
    );
    const none = element("p", { class: "empty", text: "No channel is open: nobody watches." });
    return {
      element: element(
        "div",
        {},
        facts.element,
        streams.element,
        element("h3", { text: "Channels" }),
        none,
        channels,
      ),
      update: (viewers) => {
        facts.update(viewers, this.rate);
        streams.update(viewers);
        views.update(viewers.channels);
        setHidden(none, viewers.channels.length > 0);
      },
    };
  }
}

class Facts {
  constructor() {
    this.element = element("dl", { class: "facts" });
    this.views = new Views(
      this.element,
      ([name]) => {
        const value = element("dd");
        const made = element("div", {}, element("dt", { text: name }), value);
        return { element: made, update: ([, text]) => setText(value, text) };
      },
      ([name]) => name,
    );
  }

  update({ listening, watching, limits, channels, totals, refused }, rate) {
    const reasons = Object.entries(refused)
      .filter(([, number]) => number > 0)
      .sort((a, b) => b[1] - a[1]);
    const meaning = (reason) =>
      refusalMeaning(reason) ? `${reason} (${refusalMeaning(reason)})` : reason;
    this.views.update([
      ["Listening on", listening.join(", ") || "nothing"],
      [
        "Watching",
        `${count(watching)} of at most ${count(limits.viewers)}, ${count(limits.viewersPerChannel)} a channel`,
      ],
      ["Open channels", `${count(channels.length)} of at most ${count(limits.channels)}`],
      ["Given now", rate === null ? "–" : bitRate(rate)],
      [
        "Since the start",
        `${many(totals.viewers, "viewer")}, ${many(totals.channels, "channel")}, ${many(totals.bytes, "byte")}`,
      ],
      [
        "Skipped",
        totals.skips === 0
          ? "nothing"
          : `${many(totals.skips, "gap")}: ${many(totals.skippedDatagrams, "packet")}, ${many(totals.skippedBytes, "byte")}`,
      ],
      ["Closed as stalled", many(totals.stalled, "viewer")],
      [
        "Refused",
        reasons.map(([reason, number]) => `${count(number)} × ${meaning(reason)}`).join(", ") ||
          "nobody",
      ],
    ]);
  }
}

/** The streams that have a name, each a link for a player. */
class Streams {
  constructor() {
    const list = element("ul", { class: "streams" });
    this.element = element("div", {}, element("h3", { text: "Streams with a name" }), list);
    this.views = new Views(list, () => {
      const link = element("a", { rel: "noreferrer" });
      const name = element("span", { class: "url" });
      return {
        element: element("li", {}, link, " ", name),
        update: (stream) => {
          setAttribute(link, "href", stream.address);
          setText(link, stream.path);
          setText(name, stream.name);
        },
      };
    });
  }

  update({ streams, listening }) {
    setHidden(this.element, streams.length === 0);
    this.views.update(
      streams.map((stream) => ({ ...stream, address: addressOf(listening[0], stream.path) })),
    );
  }
}

function channelView() {
  const name = element("span", { class: "url" });
  const [rate, watching, given] = Array.from({ length: 3 }, () =>
    element("span", { class: "number" }),
  );
  const details = element("details", { class: "channel" });
  details.append(element("summary", {}, name, rate, watching, given));
  const lines = element("ul", { class: "state" });
  const lineViews = textViews(lines, "li");
  const table = viewerTable();
  details.append(lines, table.element);
  let last;
  const fill = () => {
    lineViews.update([...alarmsOf(last).map(({ text }) => `Alarm: ${text}`), ...linesOf(last)]);
    table.update(last.viewers);
  };
  details.addEventListener("toggle", () => details.open && fill());
  return {
    element: details,
    update: (channel) => {
      last = channel;
      setText(name, channel.name);
      setText(rate, bitRate(channel.rate.bits));
      setText(watching, many(channel.viewers.length, "viewer"));
      const behind = channel.viewers.filter((viewer) => viewer.isBehind).length;
      const behindText = behind > 0 ? `${count(behind)} behind` : "none behind";
      setText(given, alarmsOf(channel).length > 0 ? many(alarmsOf(channel).length, "alarm") : behindText);
      const isWarned = behind > 0 || alarmsOf(channel).length > 0;
      setAttribute(details, "data-level", isWarned ? "warn" : null);
      if (details.open) fill();
    },
  };
}

/** The alarms of what a channel receives. */
function alarmsOf({ health }) {
  return health?.alarms ?? [];
}

function linesOf({ datagrams, bytes, dropped, rate, given, viewersBefore, stalled, backlog }) {
  const drops = Object.entries(dropped).filter(([, number]) => number > 0);
  const lost = drops.map(
    ([reason, number]) => `${count(number)} ${reason} (${dropMeaning(reason)})`,
  );
  return [
    `Came in: ${many(datagrams, "packet")}, ${many(bytes, "byte")}, now ${packetRate(rate.datagrams)}`,
    `Dropped: ${lost.join(", ") || "none"}`,
    `Given: ${many(given.bytes, "byte")}; skipped ${many(given.skippedDatagrams, "packet")} in ${many(given.skips, "gap")}`,
    `Kept for those behind: ${size(backlog)}; gone before: ${many(viewersBefore, "viewer")}, ${count(stalled)} of them stalled`,
  ];
}

const HEADS = ["Viewer", "Time", "Given", "Skips", "State"];

function viewerTable() {
  const head = element("tr", {}, ...HEADS.map((text) => element("th", { scope: "col", text })));
  const body = element("tbody");
  const caption = element("caption");
  const table = element("table", { class: "who" }, caption, element("thead", {}, head), body);
  const rows = new Views(
    body,
    () => {
      const cells = HEADS.map((text, index) =>
        index === 0
          ? element("th", { scope: "row", class: "url" })
          : element("td", { "data-head": text }),
      );
      const made = element("tr", {}, ...cells);
      return {
        element: made,
        update: (viewer) => {
          const skips =
            viewer.skips === 0
              ? "none"
              : `${count(viewer.skips)}: ${many(viewer.skippedDatagrams, "packet")}`;
          const texts = [viewer.peer, duration(viewer.seconds), many(viewer.bytes, "byte"), skips];
          [...texts, viewer.isBehind ? "behind" : "up to date"].forEach((text, index) =>
            setText(cells[index], text),
          );
          setAttribute(made, "data-level", viewer.isBehind ? "warn" : null);
        },
      };
    },
    (viewer) => viewer.peer,
  );
  return {
    element: table,
    update: (viewers) => {
      const first = [...viewers].sort((a, b) => b.isBehind - a.isBehind || b.seconds - a.seconds);
      rows.update(first.slice(0, MOST));
      const rest = viewers.length - MOST;
      setText(
        caption,
        rest > 0
          ? `The first ${count(MOST)} of ${many(viewers.length, "viewer")}`
          : many(viewers.length, "viewer"),
      );
      setHidden(table, viewers.length === 0);
    },
  };
}
