// What needs attention, in words, with the remedy: found in one status and in what the one before said.

import { clock, packetRate } from "./format.js";
import { healthOf, isHealthStage, partsOf } from "./history.js";
import { alarmMeaning, dropMeaning, dropRemedy } from "./words.js";

/** Seconds that drops stay on the page after the last one, so that single ones can be read. */
const LINGER = 10;

/** Finds which reasons datagrams are dropped for now, as the API has only sums of them. */
export class Drops {
  constructor() {
    this.places = new Map();
    this.uptime = 0;
  }

  /**
   * Take note of a status.
   *
   * @returns {Map<string, Array>} for each route that drops: [kind, reason, packets a second]
   */
  update(status) {
    // By the time that the relay has run: the server's clock may be set.
    const now = status.uptime;
    const before = now < this.uptime ? new Map() : this.places; // it was started again
    this.uptime = now;
    this.places = new Map();
    const found = new Map();
    for (const route of status.routes) {
      const earlier = before.get(route.name) ?? [];
      const places = partsOf(route).map(([kind, part], index) => {
        const same = earlier[index]?.name === part.name ? earlier[index] : undefined;
        const place = {
          name: part.name,
          time: now,
          counts: part.dropped,
          reasons: reasonsOf(part, same, now),
        };
        for (const [reason, { last, rate }] of place.reasons) {
          if (now - last >= LINGER) continue;
          if (!found.has(route.name)) found.set(route.name, []);
          found.get(route.name).push([kind, reason, rate]);
        }
        return place;
      });
      this.places.set(route.name, places);
    }
    return found;
  }
}

const NONE = new Map();

/**
 * When a part last dropped something for each reason, and how many a second.
 *
 * @param {Object|undefined} earlier what was found the last time
 */
function reasonsOf(part, earlier, time) {
  const counts = Object.entries(part.dropped);
  if (counts.length === 0) return NONE;
  const reasons = new Map();
  const passed = earlier === undefined ? 0 : time - earlier.time;
  for (const [reason, sum] of counts) {
    if (earlier === undefined) {
      // Nothing to compare with: then the rate says whether anything is dropped at all.
      const rate = counts.length === 1 ? part.rate.dropped : null;
      if (part.rate.dropped > 0) reasons.set(reason, { last: time, rate });
      continue;
    }
    const more = sum - (Object.hasOwn(earlier.counts, reason) ? earlier.counts[reason] : 0);
    const known = earlier.reasons.get(reason);
    if (more > 0 && passed > 0) reasons.set(reason, { last: time, rate: more / passed });
    else if (known !== undefined)
      reasons.set(reason, { last: known.last, rate: passed > 0 ? 0 : known.rate });
  }
  return reasons;
}

/**
 * The things that need attention, the worst first. What is the same for several routes is one thing.
 *
 * @param {Map<string, Array>} drops by route
 * @returns {Array<Object>} each with a key, its level ("bad" or "warn"), title, remedy, and items:
 *     the routes that it is about, with a note
 */
export function troubleOf(status, drops) {
  const found = new Map();
  if (status.change !== null && !status.change.isDone) {
    found.set("change", {
      key: "change",
      level: "bad",
      title: `The last change was not made (${clock(status.change.time)})`,
      remedy: status.change.text,
      isVerbatim: true, // it begins with the name of a file
      items: [],
    });
  }
  if (!status.isReady) {
    found.set("ready", {
      key: "ready",
      level: "bad",
      title: "The relay is not ready",
      remedy: "Not all that is configured is open; the warnings and the log say what, and why.",
      items: [],
    });
  }
  for (const [route, reasons] of drops) {
    for (const [kind, reason, rate] of reasons) addDrops(found, route, kind, reason, rate);
  }
  for (const route of status.routes) {
    const health = healthOf(route);
    for (const alarm of health?.alarms ?? []) addAlarm(found, route.name, alarm);
    for (const [kind, part] of partsOf(route)) {
      if (health !== null && isHealthStage(kind, part)) continue;
      for (const text of part.warnings) addWarning(found, route.name, kind, part.name, text);
    }
  }
  return [...found.values()].sort((a, b) => (a.level > b.level) - (a.level < b.level));
}

function addDrops(found, route, kind, reason, rate) {
  const key = `${kind} drops ${reason}`;
  if (!found.has(key)) {
    const title = `Dropping at the ${kind}: ${dropMeaning(reason)} (${reason})`;
    // Of two routes that bridge two groups, each rightly drops what the other sends.
    const level = reason === "loop" ? "warn" : "bad";
    found.set(key, { key, level, title, remedy: dropRemedy(reason), items: [] });
  }
  const { items } = found.get(key);
  // Parts of one route come one after the other.
  const same = items.at(-1)?.route === route ? items.pop().rate : 0;
  const sum = rate === null || same === null ? null : same + rate;
  const note = sum === null ? "" : sum === 0 ? "stopped" : packetRate(sum);
  items.push({ route, rate: sum, note });
}

function addAlarm(found, route, { name, text }) {
  const key = `alarm ${name}`;
  const at = text.indexOf("; ");
  const [note, remedy] = at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 2)];
  if (!found.has(key)) {
    const title = `Alarm: ${alarmMeaning(name)}`;
    found.set(key, { key, level: "bad", title, remedy, items: [] });
  }
  found.get(key).items.push({ route, note });
}

function addWarning(found, route, kind, name, text) {
  // The same but for numbers is the same: "came back: ECONNREFUSED 12" counts up.
  const key = `${kind} warns ${text.replace(/\d[\d,.]*/g, "#")}`;
  const [title, remedy] = halvesOf(text);
  let entry = found.get(key);
  if (entry === undefined) {
    entry = { key, level: "warn", title, remedy, items: [] };
    found.set(key, entry);
  }
  if (entry.title !== title || entry.remedy !== remedy) {
    // Then each says for itself what differs.
    if (entry.remedy !== "") {
      for (const item of entry.items) item.note = `${item.note} ${entry.remedy}`.trim();
    }
    entry.remedy = "";
  }
  const isApart = entry.remedy === "" && remedy !== "";
  const note = kind === "output" ? name : "";
  entry.items.push({ route, note: isApart ? `${note} ${remedy}`.trim() : note });
}

/** "What is wrong: what to do", apart. */
function halvesOf(text) {
  const at = text.indexOf(": ");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 2)];
}
