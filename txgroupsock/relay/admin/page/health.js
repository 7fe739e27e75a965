// The health of a route's input: alarms, and figures of the stream, of RTP and of a transport stream.

import { element, setAttribute, setHidden, setText, textViews, Views } from "./dom.js";
import { bitRate, count, duration, many, milliseconds, packetRate } from "./format.js";

/** PIDs that are listed; those with errors, then the busiest, come first. */
const MOST = 16;

const STREAM_TYPES = {
  1: "MPEG-1 video",
  2: "MPEG-2 video",
  3: "MPEG-1 audio",
  4: "MPEG-2 audio",
  6: "private data",
  15: "AAC",
  17: "AAC (LATM)",
  27: "H.264",
  36: "H.265",
  129: "AC-3",
};

/** Of a route that is opened. */
export class Health {
  constructor() {
    this.alarms = element("ul", { class: "warnings" });
    this.alarmViews = textViews(this.alarms, "li");
    this.none = element("p", { class: "empty", text: "No alarm." });
    this.lists = ["Stream", "RTP", "Transport stream"].map((title) => new Figures(title));
    this.pids = pidTable();
    const figures = element(
      "div",
      { class: "healthfigures" },
      ...this.lists.map((list) => list.element),
    );
    this.element = element(
      "section",
      { class: "part health" },
      element("h3", { text: "Health" }),
      this.alarms,
      this.none,
      figures,
      this.pids.element,
    );
  }

  update({ stream, rtp, ts, alarms }) {
    this.alarmViews.update(alarms.map((alarm) => `${alarm.text} (for ${duration(alarm.seconds)})`));
    setHidden(this.alarms, alarms.length === 0);
    setHidden(this.none, alarms.length > 0);
    const [first, second, third] = this.lists;
    first.update(streamFigures(stream));
    second.update(rtp === null ? [] : rtpFigures(rtp));
    third.update(ts === null ? [] : tsFigures(ts));
    this.pids.update(ts);
  }
}

/** A list of names and values; hidden while it is empty. */
class Figures {
  constructor(title) {
    const list = element("dl", { class: "values" });
    this.element = element("div", {}, element("h4", { text: title }), list);
    this.views = new Views(
      list,
      ([name]) => {
        const value = element("dd");
        const made = element("div", {}, element("dt", { text: name }), value);
        return {
          element: made,
          update: ([, text, isBad]) => {
            setText(value, text);
            setAttribute(value, "data-level", isBad ? "bad" : null);
          },
        };
      },
      ([name]) => name,
    );
  }

  update(figures) {
    setHidden(this.element, figures.length === 0);
    this.views.update(figures);
  }
}

function streamFigures(stream) {
  const { least, mean, most } = stream;
  const gaps =
    most === null
      ? "none"
      : `${milliseconds(1000 * least)} to ${milliseconds(1000 * most)}, mean ${milliseconds(1000 * mean)}`;
  return [
    ["Comes in", `${bitRate(stream.bitRate)}, ${packetRate(stream.datagramRate)}`],
    ["Gaps now", gaps],
    ["Longest gap", milliseconds(1000 * stream.longest)],
    [
      "Silences",
      stream.silence > 0
        ? `${count(stream.silences)}, now for ${duration(stream.silence)}`
        : count(stream.silences),
      stream.silence > 0,
    ],
    ...(stream.kernelDrops === null
      ? []
      : [["No room", many(stream.kernelDrops, "packet"), stream.recentKernelDrops > 0]]),
  ];
}

function rtpFigures(rtp) {
  const share = rtp.expected > 0 ? (100 * rtp.lost) / rtp.expected : 0;
  return [
    ["Lost", `${count(rtp.lost)} of ${count(rtp.expected)} (${percent(share)})`, rtp.recentLost > 0],
    ["Jitter", `${milliseconds(rtp.jitter)}, at most ${milliseconds(rtp.mostJitter)}`],
    ["Order", `${count(rtp.reordered)} late, ${count(rtp.duplicates)} twice`],
    ["Source", `SSRC ${hexadecimal(rtp.ssrc, 8)}, type ${rtp.payloadType}, ${count(rtp.clockRate)} Hz`],
    ["Changes", `${many(rtp.ssrcChanges, "source")}, ${many(rtp.restarts, "restart")}`],
  ];
}

function tsFigures(ts) {
  const errors = [
    [ts.patErrors, "PAT"],
    [ts.pmtErrors, "PMT"],
    [ts.pidErrors, "PID"],
    [ts.transportErrors, "transport"],
    [ts.crcErrors, "CRC"],
    [ts.pcrRepetitionErrors + ts.pcrDiscontinuityErrors, "PCR"],
  ].filter(([number]) => number > 0);
  return [
    [
      "Sync",
      `${ts.isInSync ? "in sync" : "lost now"}, ${many(ts.syncLosses, "loss", "losses")}, ${many(ts.syncByteErrors, "wrong byte")}`,
      !ts.isInSync || ts.recentSyncByteErrors > 0,
    ],
    ["Continuity", many(ts.continuityErrors, "error"), ts.recentContinuityErrors > 0],
    ["Missing", ts.missing.join(", ") || "nothing", ts.missing.length > 0],
    ["Errors", errors.map(([number, name]) => `${count(number)} ${name}`).join(", ") || "none"],
    ["PCR jitter", ts.pcrJitter === null ? "no PCR" : milliseconds(ts.pcrJitter)],
    ["Packets", `${count(ts.packets)} on ${ts.carrier}, ${percent(100 * ts.nullShare)} null`],
  ];
}

const HEADS = ["PID", "Kind", "Packets", "Continuity errors", "Scrambled", "PCR jitter"];

function pidTable() {
  const head = element("tr", {}, ...HEADS.map((text) => element("th", { scope: "col", text })));
  const body = element("tbody");
  const caption = element("caption");
  const table = element("table", { class: "pids" }, caption, element("thead", {}, head), body);
  const rows = new Views(body, pidRow, ({ pid }) => pid);
  return {
    element: table,
    update: (ts) => {
      setHidden(table, ts === null);
      const shown = ts === null ? [] : ts.busiest.slice(0, MOST);
      rows.update(shown);
      if (ts === null) return;
      const all = many(ts.pids, "PID");
      setText(caption, ts.pids > shown.length ? `${count(shown.length)} of ${all}` : all);
    },
  };
}

function pidRow() {
  const cells = HEADS.map((text, index) =>
    index === 0 ? element("th", { scope: "row" }) : element("td", { "data-head": text }),
  );
  const made = element("tr", {}, ...cells);
  return {
    element: made,
    update: ({ pid, streamType, packets, continuityErrors, scrambled, pcrJitter }) => {
      [
        `${pid} (${hexadecimal(pid, 4)})`,
        kindOf(pid, streamType),
        count(packets),
        count(continuityErrors),
        count(scrambled),
        pcrJitter === null ? "–" : milliseconds(pcrJitter),
      ].forEach((text, index) => setText(cells[index], text));
      setAttribute(made, "data-level", continuityErrors > 0 ? "warn" : null);
    },
  };
}

function kindOf(pid, streamType) {
  if (streamType !== null) return STREAM_TYPES[streamType] ?? `stream type ${streamType}`;
  return { 0: "PAT", 8191: "null packets" }[pid] ?? "–";
}

function hexadecimal(number, digits) {
  return `0x${number.toString(16).toUpperCase().padStart(digits, "0")}`;
}

function percent(share) {
  return `${share > 0 && share < 0.01 ? "under 0.01" : Number(share.toFixed(2))} %`;
}
